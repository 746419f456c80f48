//! What a stream can be asked to do, and how it is done.

use std::ffi::c_void;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::clock::Clock;
use super::controls::settings;
use super::error::{Answer, Code};
use super::journal;
use super::pointer::HostRange;
use crate::exec;
use crate::memory::{Fault, Memory};
use crate::ptx;
use crate::report::Kind;

/// The work of one operation.
#[derive(Debug)]
pub(super) enum Work {
    /// Copies and fills, one after another.
    Transfers(Vec<Transfer>),
    /// A kernel.
    Kernel(Box<Kernel>),
    /// A mark in the stream.
    Record(Arc<Record>),
    /// Nothing: something to be waited for, or to wait with.
    Marker,
    /// A function of the host.
    Host(HostFunction),
    /// The start of an allocation's life, in the order of the stream.
    Allocate(Range<u64>),
    /// The end of an allocation's life, in the order of the stream.
    Free(Range<u64>),
}

/// A copy or a fill of contiguous bytes.
#[derive(Debug)]
pub(super) enum Transfer {
    /// Host to device, of bytes that were taken when the copy was asked for.
    Staged { to: u64, bytes: Vec<u8> },
    /// Pinned host memory to device, with what the bytes were when the copy was asked for.
    Upload { to: u64, from: HostRange, sum: Option<u64> },
    /// Device to host.
    Download { from: u64, to: HostRange },
    /// Within the device.
    Move { from: u64, to: u64, bytes: usize },
    /// Host to host.
    Host { from: HostRange, to: HostRange },
    /// Repetitions of 1, 2 or 4 bytes.
    Fill { to: u64, pattern: [u8; 4], width: usize, bytes: usize },
}

/// A launch.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) module: Arc<ptx::Module>,
    /// Index of the entry.
    pub(super) entry: usize,
    pub(super) globals: Arc<Vec<u64>>,
    pub(super) grid: [u32; 3],
    pub(super) block: [u32; 3],
    pub(super) dynamic_shared: usize,
    /// Bytes of shared memory that a block may have.
    pub(super) shared_limit: usize,
    pub(super) params: Vec<u8>,
}

/// What an event remembers of the last time it was recorded.
#[derive(Debug)]
pub(super) struct Record {
    /// The operation.
    pub(super) operation: u64,
    /// What is over when it is done.
    pub(super) clock: Clock,
    /// When it was done.
    pub(super) time: OnceLock<Instant>,
}

/// A function of the host, to be called in the order of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostFunction {
    pub(super) function: unsafe extern "C" fn(*mut c_void),
    pub(super) data: usize,
}

/// What an operation touched: device and pinned host memory.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) reads: Vec<Range<u64>>,
    pub(super) writes: Vec<Range<u64>>,
}

impl Work {
    /// Bytes that the operation holds until it is done.
    pub(super) fn staged_bytes(&self) -> usize {
        let Work::Transfers(transfers) = self else { return 0 };
        let bytes = |transfer: &Transfer| match transfer {
            Transfer::Staged { bytes, .. } => bytes.len(),
            _ => 0,
        };
        transfers.iter().map(bytes).sum()
    }

    /// Does it. `seed` says in which order, where there is a choice; `name` is what reports call it.
    pub(super) fn run(self, memory: &Memory, seed: u64, name: &str) -> (Touched, Answer) {
        let mut touched = Touched::default();
        let answer = match self {
            Work::Transfers(transfers) => {
                transfers.into_iter().try_for_each(|transfer| transfer.run(memory, name, &mut touched))
            }
            Work::Kernel(kernel) => kernel.run(memory, seed, &mut touched),
            Work::Record(record) => {
                record.time.get_or_init(Instant::now);
                Ok(())
            }
            Work::Marker => Ok(()),
            Work::Host(function) => {
                function.call();
                Ok(())
            }
            Work::Allocate(range) => {
                touched.writes.push(range);
                Ok(())
            }
            Work::Free(range) => {
                let answer = memory.free(range.start).map_err(|fault| blame(fault, name));
                touched.writes.push(range);
                answer
            }
        };
        (touched, answer)
    }
}

impl Transfer {
    fn run(self, memory: &Memory, name: &str, touched: &mut Touched) -> Answer {
        let done = match self {
            Transfer::Staged { to, bytes } => {
                touched.writes.push(span(to, bytes.len()));
                memory.write(to, &bytes)
            }
            Transfer::Upload { to, from, sum } => {
                touched.reads.push(span(from.address, from.bytes));
                touched.writes.push(span(to, from.bytes));
                if sum.is_some_and(|sum| sum != checksum(from.bytes())) {
                    let detail = format!("the host changed pinned memory that {name} had still to read");
                    journal::report_host(Kind::StreamRace, Some(from.address), detail);
                }
                memory.write(to, from.bytes())
            }
            Transfer::Download { from, to } => {
                touched.reads.push(span(from, to.bytes));
                touched.writes.push(span(to.address, to.bytes));
                download(memory, from, to, name)
            }
            Transfer::Move { from, to, bytes } => {
                touched.reads.push(span(from, bytes));
                touched.writes.push(span(to, bytes));
                memory.copy(from, to, bytes)
            }
            Transfer::Host { from, to } => {
                touched.reads.push(span(from.address, from.bytes));
                touched.writes.push(span(to.address, to.bytes));
                to.copy_from(from);
                Ok(())
            }
            Transfer::Fill { to, pattern, width, bytes } => {
                touched.writes.push(span(to, bytes));
                memory.fill(to, &pattern[..width], bytes)
            }
        };
        done.map_err(|fault| blame(fault, name))
    }
}

/// Copies to the host in parts, so that it takes no memory of its own size.
fn download(memory: &Memory, from: u64, to: HostRange, name: &str) -> Result<(), Fault> {
    const PART: usize = 1 << 20;
    memory.check(from, to.bytes)?;
    if settings().checked()
        && settings().unwritten
        && let Err(Fault::Uninitialised(address)) = memory.check_written(from, to.bytes)
    {
        journal::report_host(Kind::Uninitialised, Some(address), format!("{name} copies bytes that nobody wrote"));
    }
    let mut part = vec![0; PART.min(to.bytes)];
    for first in (0..to.bytes).step_by(PART) {
        let part = &mut part[..PART.min(to.bytes - first)];
        memory.read(from + first as u64, part)?;
        to.write(first, part);
    }
    Ok(())
}

impl Kernel {
    fn run(&self, memory: &Memory, seed: u64, touched: &mut Touched) -> Answer {
        let entry = &self.module.entries[self.entry];
        let launch = exec::Launch {
            module: &self.module,
            entry,
            globals: &self.globals,
            grid: self.grid,
            block: self.block,
            dynamic_shared: self.dynamic_shared,
            shared_limit: self.shared_limit,
            params: &self.params,
        };
        let options = exec::Options { seed, checked: settings().checked(), counted: settings().counted() };
        let outcome = exec::run(launch, memory, options);
        outcome.reports.iter().for_each(journal::report);
        journal::launch(self.line(entry, &outcome));
        let sectors = |list: &[(u64, u64)]| list.iter().map(|&(first, n)| first..first + 32 * n).collect();
        touched.reads = sectors(&outcome.touched.reads);
        touched.writes = sectors(&outcome.touched.writes);
        match outcome.stopped {
            false => Ok(()),
            true => {
                Err(outcome.reports.iter().rev().find_map(|report| fatal(report.kind)).unwrap_or(Code::LAUNCH_FAILED))
            }
        }
    }

    /// The launch as a line of JSON. Names of kernels have no character that JSON would have to escape.
    fn line(&self, entry: &ptx::Entry, outcome: &exec::Outcome) -> String {
        let counters = &outcome.counters;
        let bytes = |sectors: &[(u64, u64)]| sectors.iter().map(|(_, count)| 32 * count).sum();
        let (grid, block, shared) = (self.grid, self.block, entry.shared + self.dynamic_shared);
        let name = &entry.name;
        let counts = [
            ("warp_instructions", counters.warp_instructions),
            ("partial_instructions", counters.partial_instructions),
            ("flops", counters.flops),
            ("tensor_flops", counters.tensor_flops),
            ("global_load_bytes", counters.global_load_bytes),
            ("global_store_bytes", counters.global_store_bytes),
            ("global_sectors", counters.global_sectors),
            ("global_sectors_ideal", counters.global_sectors_ideal),
            ("shared_wavefronts", counters.shared_wavefronts),
            ("shared_wavefronts_ideal", counters.shared_wavefronts_ideal),
            ("atomics", counters.atomics),
            ("global_bytes_read", bytes(&outcome.touched.reads)),
            ("global_bytes_written", bytes(&outcome.touched.writes)),
        ];
        let counts: String = counts.iter().map(|(name, count)| format!(r#""{name}":{count},"#)).collect();
        let classes = &counters.classes;
        let shape = format!(r#""kernel":"{name}","grid":{grid:?},"block":{block:?},"shared":{shared}"#);
        format!(r#"{{{shape},{counts}"classes":{classes:?}}}"#)
    }
}

/// What the driver answers for a kernel that was stopped by a defect.
fn fatal(kind: Kind) -> Option<Code> {
    match kind {
        Kind::OutOfBounds | Kind::UseAfterFree => Some(Code::ILLEGAL_ADDRESS),
        Kind::Misaligned => Some(Code::MISALIGNED_ADDRESS),
        Kind::Trap | Kind::Divergence => Some(Code::LAUNCH_FAILED),
        _ => None,
    }
}

impl HostFunction {
    fn call(self) {
        IN_HOST_FUNCTION.with(|inside| inside.set(true));
        // SAFETY: who called `cuLaunchHostFunc` promised that the function takes the data; it does not unwind, being
        // `extern "C"`.
        unsafe { (self.function)(self.data as *mut c_void) };
        IN_HOST_FUNCTION.with(|inside| inside.set(false));
    }
}

thread_local! {
    /// Whether this thread is in a function that a stream called: it may not call the driver.
    pub(super) static IN_HOST_FUNCTION: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Reports a fault of an operation, and says what the driver answers once it happened.
fn blame(fault: Fault, name: &str) -> Code {
    let (kind, address) = kind_of(fault);
    journal::report_host(kind, Some(address), format!("{name}: {fault}"));
    Code::ILLEGAL_ADDRESS
}

/// The kind of defect that a fault is, and its address.
pub(super) fn kind_of(fault: Fault) -> (Kind, u64) {
    match fault {
        Fault::OutOfBounds(address) => (Kind::OutOfBounds, address),
        Fault::UseAfterFree(address) => (Kind::UseAfterFree, address),
        Fault::Uninitialised(address) => (Kind::Uninitialised, address),
    }
}

/// The addresses of `bytes` bytes.
pub(super) fn span(address: u64, bytes: usize) -> Range<u64> {
    address..address.saturating_add(bytes as u64)
}

/// A sum that differs when bytes do, but by a chance of 2^-64 or so: FNV-1a over words of eight.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    let words = bytes.chunks_exact(8);
    let rest = words.remainder().iter().fold(bytes.len() as u64, |sum, &byte| mix(sum, u64::from(byte)));
    words.fold(rest, |sum, word| mix(sum, u64::from_le_bytes(word.try_into().expect("chunks of eight"))))
}
