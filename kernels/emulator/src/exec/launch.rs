//! A launch: what its blocks have in common, and how they are spread over threads.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rayon::prelude::*;

use super::address::Region;
use super::block::Block;
use super::counters::{Class, Counters, classes};
use super::registers::{LANES, Registers};
use super::{Launch, Options, Outcome};
use crate::check::findings::Findings;
use crate::check::grid::Grid;
use crate::memory::Memory;
use crate::ptx::op::{Op, Special};
use crate::ptx::{Entry, Space, Value};
use crate::report::{Kind, Report};

/// Threads that a block may have.
const THREADS: u64 = 1024;
/// Shared memory that a block may have, whatever the host asked for: that of an A100.
const SHARED: usize = 163 << 10;

/// What the blocks of a launch have in common.
pub(crate) struct Plan<'l> {
    pub launch: Launch<'l>,
    pub options: Options,
    memory: &'l Memory,
    pub global: Region,
    params: Vec<u64>,
    /// Threads and warps of a block.
    pub threads: usize,
    pub warps: usize,
    /// Static and dynamic shared memory.
    pub shared_bytes: usize,
    dynamic_start: usize,
    /// Bytes of a granule of the search for races, as powers of two.
    pub shared_shift: u32,
    pub global_shift: u32,
    pub classes: Vec<(Class, u8)>,
    pub started: Instant,
}

impl<'l> Plan<'l> {
    fn new(launch: Launch<'l>, memory: &'l Memory, options: Options) -> Plan<'l> {
        let window = memory.window();
        let threads = launch.block.iter().map(|extent| *extent as usize).product();
        let dynamic_start = launch.entry.shared.next_multiple_of(16);
        let shared_bytes =
            if launch.dynamic_shared > 0 { dynamic_start + launch.dynamic_shared } else { launch.entry.shared };
        let (shared_shift, global_shift) = granules(launch.entry);
        let mut params = vec![0u64; launch.params.len().div_ceil(8) + 1];
        for (i, byte) in launch.params.iter().enumerate() {
            params[i / 8] |= u64::from(*byte) << (8 * (i % 8));
        }
        Plan {
            launch,
            options,
            memory,
            global: Region {
                start: window.device_base,
                bytes: window.bytes as u64,
                host: window.host,
                shadow: window.shadow,
                stride: 0,
            },
            params,
            threads,
            warps: threads.div_ceil(LANES),
            shared_bytes,
            dynamic_start,
            shared_shift,
            global_shift,
            classes: classes(launch.entry),
            started: Instant::now(),
        }
    }

    /// The parameter space. Nothing writes to it: the decoder knows no stores there, and generic ones are refused.
    pub fn params_region(&self) -> Region {
        Region {
            start: 0,
            bytes: self.launch.params.len() as u64,
            host: self.params.as_ptr().cast_mut().cast(),
            shadow: std::ptr::null_mut(),
            stride: 0,
        }
    }

    /// Index of a thread in its block.
    pub fn thread(&self, warp: usize, lane: usize) -> [u32; 3] {
        let thread = (warp * LANES + lane) as u32;
        let [x, y, _] = self.launch.block;
        [thread % x, thread / x % y, thread / x / y]
    }

    /// The allocation nearest to an address, in words.
    pub fn nearby(&self, address: u64) -> String {
        match self.memory.nearest(address) {
            Some(near) if address >= near.address => format!(
                "byte {} of an allocation of {} bytes at {:#x}",
                address - near.address,
                near.bytes,
                near.address
            ),
            Some(near) => format!("{} bytes before an allocation of {} bytes", near.address - address, near.bytes),
            None => "nothing is allocated".into(),
        }
    }

    /// Sets the rows that no instruction writes.
    pub fn constants(&self, registers: &mut Registers, block: [u32; 3], warp: usize) {
        for constant in &self.launch.entry.constants {
            let value = match constant.value {
                Value::Bits(bits) => bits,
                Value::Global(index, offset) => {
                    self.launch.globals.get(index).copied().unwrap_or(0).wrapping_add_signed(offset)
                }
                Value::DynamicShared(offset) => (self.dynamic_start as u64).wrapping_add_signed(offset),
                Value::Special(special) => {
                    let values: [u64; LANES] = std::array::from_fn(|lane| self.special(special, block, warp, lane));
                    if constant.wide {
                        *registers.get_mut::<u64>(constant.row) = values;
                    } else {
                        *registers.lanes_mut(constant.row) = values.map(|value| value as u32);
                    }
                    continue;
                }
            };
            registers.fill(constant.row, constant.wide, value);
        }
    }

    fn special(&self, special: Special, block: [u32; 3], warp: usize, lane: usize) -> u64 {
        let axis = |values: [u32; 3], axis: u8| u64::from(values[usize::from(axis) % 3]);
        match special {
            Special::Tid(a) => axis(self.thread(warp, lane), a),
            Special::Ntid(a) => axis(self.launch.block, a),
            Special::Ctaid(a) => axis(block, a),
            Special::Nctaid(a) => axis(self.launch.grid, a),
            Special::LaneId => lane as u64,
            Special::WarpId => warp as u64,
            Special::NwarpId => self.warps as u64,
            Special::NsmId => 1,
            Special::LaneMaskEq => 1 << lane,
            Special::LaneMaskLt => (1 << lane) - 1,
            Special::LaneMaskLe => (2 << lane) - 1,
            Special::LaneMaskGt => 0xffff_ffff & !((2u64 << lane) - 1),
            Special::LaneMaskGe => 0xffff_ffff & !((1u64 << lane) - 1),
            Special::DynamicShared => self.launch.dynamic_shared as u64,
            Special::TotalShared => self.shared_bytes as u64,
            // One multiprocessor, one grid; clocks are read by an instruction.
            _ => 0,
        }
    }
}

/// The narrowest access of a kernel to shared and to global memory, as powers of two.
fn granules(entry: &Entry) -> (u32, u32) {
    let (mut shared, mut global) = (2, 2);
    for instruction in &entry.code {
        let (space, bytes) = match &instruction.op {
            Op::Ld(access) | Op::St(access) => (access.what.space, usize::from(access.what.bytes)),
            Op::Atom(atom) => (atom.space, atom.ty.bytes()),
            _ => continue,
        };
        let shift = bytes.trailing_zeros();
        if matches!(space, Space::Shared | Space::Generic) {
            shared = shift.min(shared);
        }
        if matches!(space, Space::Global | Space::Generic) {
            global = shift.min(global);
        }
    }
    (shared, global)
}

/// Why a launch can not begin.
fn limit(launch: &Launch<'_>) -> Option<String> {
    let threads: u64 = launch.block.iter().map(|extent| u64::from(*extent)).product();
    let blocks: u64 = launch.grid.iter().map(|extent| u64::from(*extent)).fold(1, u64::saturating_mul);
    let shared = launch.entry.shared + launch.dynamic_shared;
    let most = launch.shared_limit.min(SHARED);
    if threads == 0 || threads > THREADS || launch.block[2] > 64 {
        return Some(format!("blocks of {threads} threads, 1 to {THREADS} are possible"));
    }
    if let Some(most) = launch.entry.max_threads.filter(|most| threads > u64::from(*most)) {
        return Some(format!("blocks of {threads} threads, the kernel was compiled for at most {most}"));
    }
    if blocks == 0 || blocks >= 1 << 31 || launch.grid[1] > 65535 || launch.grid[2] > 65535 {
        return Some(format!("a grid of {:?} blocks", launch.grid));
    }
    if shared > most {
        return Some(format!("{shared} bytes of shared memory, {most} are allowed"));
    }
    let end = launch.entry.params.last().map_or(0, |param| param.offset + param.size);
    if launch.params.len() < end {
        return Some(format!("{} bytes of parameters, the kernel has {end}", launch.params.len()));
    }
    None
}

/// What blocks leave behind.
#[derive(Default)]
struct Sum {
    counters: Counters,
    /// By number of the block.
    reports: Vec<(u32, Vec<Report>)>,
}

/// Runs a launch to its end.
pub(crate) fn run(launch: Launch<'_>, memory: &Memory, options: Options) -> Outcome {
    if let Some(detail) = limit(&launch) {
        let kernel = launch.entry.name.clone();
        let report = Report { kernel, ..Report::without_place(Kind::LaunchLimit, detail) };
        return Outcome { reports: vec![report], stopped: true, ..Outcome::default() };
    }
    let plan = Plan::new(launch, memory, options);
    let blocks: u32 = launch.grid.iter().product();
    let grid = options.checked.then(|| Grid::new(plan.global_shift));
    let sum = Mutex::new(Sum::default());
    // Blocks behind the first that stopped do not begin; those before it run, so that its reports are reproducible.
    let stop = AtomicU32::new(u32::MAX);
    (0..blocks).into_par_iter().with_max_len(1).for_each(|number| {
        if number > stop.load(Relaxed) {
            return;
        }
        let mut block = Block::new(&plan, number);
        block.run();
        if block.stopped {
            stop.fetch_min(number, Relaxed);
        }
        if let (Some(grid), Some(races)) = (&grid, &block.races) {
            grid.add(number, races);
        }
        // Sums are complete whoever panicked while adding to them.
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.counters.add(&block.counters);
        if !block.findings.reports.is_empty() {
            sum.reports.push((number, block.findings.reports));
        }
    });
    let stop = stop.into_inner();
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.reports.sort_by_key(|(number, _)| *number);
    let mut findings = Findings::default();
    for (_, reports) in sum.reports.into_iter().filter(|(number, _)| *number <= stop) {
        reports.into_iter().for_each(|report| findings.add(report));
    }
    let touched = match grid {
        Some(grid) => block_races(&plan, grid, &mut findings),
        None => super::Touched::default(),
    };
    Outcome { reports: findings.reports, stopped: stop != u32::MAX, counters: sum.counters, touched }
}

fn block_races(plan: &Plan<'_>, grid: Grid, findings: &mut Findings) -> super::Touched {
    let (conflicts, touched) = grid.finish();
    let [x, y, _] = plan.launch.grid;
    let index = |number: u32| [number % x, number / x % y, number / x / y];
    for conflict in conflicts {
        let ((writer, line), (other, other_line)) = (conflict.writer, conflict.other);
        if !findings.wants(Kind::BlockRace, line as usize) {
            continue;
        }
        let verb = if conflict.both { "writes" } else { "reads" };
        let who = if other == writer { "another block".to_owned() } else { format!("block {:?}", index(other)) };
        findings.reports.push(Report {
            kind: Kind::BlockRace,
            kernel: plan.launch.entry.name.clone(),
            line: line as usize,
            instruction: plan.launch.module.instruction(line).to_owned(),
            block: index(writer),
            thread: [0; 3],
            address: Some(conflict.address),
            detail: format!("{who} {verb} it on line {other_line} `{}`", plan.launch.module.instruction(other_line)),
        });
    }
    touched
}
