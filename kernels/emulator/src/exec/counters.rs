//! What a launch did, counted.

use super::registers::LANES;
use super::shuffle::lanes;
use crate::ptx::op::{FloatUnary, Op};
use crate::ptx::{Entry, Space};

/// What a launch did, counted over all its warps. Reproducible: sums that do not depend on the order of blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Instructions that warps issued.
    pub warp_instructions: u64,
    /// Of these, with fewer than all lanes.
    pub partial_instructions: u64,
    /// Warp instructions by class, as [`Class`] numbers them.
    pub classes: [u64; Class::COUNT],
    /// Floating-point operations of threads outside of [`Counters::tensor_flops`]; a fused multiply-add is two.
    pub flops: u64,
    /// Multiplications and additions of products of matrices.
    pub tensor_flops: u64,
    /// Bytes that threads asked global memory for.
    pub global_load_bytes: u64,
    /// Bytes that threads gave to global memory.
    pub global_store_bytes: u64,
    /// Sectors of 32 bytes that accesses of warps touched, summed over accesses.
    pub global_sectors: u64,
    /// The least number of sectors that so many bytes could lie in.
    pub global_sectors_ideal: u64,
    /// Passes over the banks of shared memory.
    pub shared_wavefronts: u64,
    /// The least number of passes.
    pub shared_wavefronts_ideal: u64,
    /// Read-modify-writes of threads.
    pub atomics: u64,
}

/// Classes of instructions, by the unit of a GPU that executes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Class {
    /// Single precision.
    Fp32,
    /// 16-bit formats.
    Fp16,
    /// Double precision.
    Fp64,
    /// Integers, bits, comparisons, moves.
    Integer,
    /// Between formats.
    Conversion,
    /// Square roots, exponentials, quotients.
    SpecialFunction,
    GlobalLoad,
    GlobalStore,
    SharedLoad,
    SharedStore,
    /// Local, parameter and generic memory.
    OtherMemory,
    AsyncCopy,
    Atomic,
    Tensor,
    /// Exchanges between lanes.
    Exchange,
    Control,
    Barrier,
}

impl Class {
    /// How many there are.
    pub const COUNT: usize = Class::Barrier as usize + 1;

    fn of(op: &Op) -> (Class, u8) {
        use crate::ptx::op::{Float, FloatOp};
        let format = |ty: Float| match ty {
            Float::F32 => Class::Fp32,
            Float::F64 => Class::Fp64,
            _ => Class::Fp16,
        };
        let pair = |ty: Float| if matches!(ty, Float::F16x2 | Float::Bf16x2) { 2 } else { 1 };
        match op {
            Op::Fma { ty, .. } => (format(*ty), 2 * pair(*ty)),
            Op::Float { op: FloatOp::Div, .. } => (Class::SpecialFunction, 1),
            Op::Float { op: FloatOp::Min | FloatOp::Max | FloatOp::CopySign, ty, .. } => (format(*ty), 0),
            Op::Float { ty, .. } => (format(*ty), pair(*ty)),
            Op::FloatUnary { op: FloatUnary::Neg | FloatUnary::Abs, ty, .. } => (format(*ty), 0),
            Op::FloatUnary { .. } => (Class::SpecialFunction, 1),
            Op::Cvt { .. } | Op::CvtPair { .. } => (Class::Conversion, 0),
            Op::Ld(access) => (
                match access.what.space {
                    Space::Global => Class::GlobalLoad,
                    Space::Shared => Class::SharedLoad,
                    _ => Class::OtherMemory,
                },
                0,
            ),
            Op::St(access) => (
                match access.what.space {
                    Space::Global => Class::GlobalStore,
                    Space::Shared => Class::SharedStore,
                    _ => Class::OtherMemory,
                },
                0,
            ),
            Op::Ldmatrix { .. } => (Class::SharedLoad, 0),
            Op::Stmatrix { .. } => (Class::SharedStore, 0),
            Op::CpAsync(_) | Op::CpCommit | Op::CpWait { .. } => (Class::AsyncCopy, 0),
            Op::Atom(_) => (Class::Atomic, 0),
            Op::Mma { .. } => (Class::Tensor, 0),
            Op::Shfl { .. }
            | Op::Vote { .. }
            | Op::Match { .. }
            | Op::Redux { .. }
            | Op::Elect { .. }
            | Op::Movmatrix(_)
            | Op::ActiveMask { .. } => (Class::Exchange, 0),
            Op::Bra { .. } | Op::Exit | Op::Trap | Op::Hint => (Class::Control, 0),
            Op::Bar(_) | Op::WarpSync { .. } | Op::Fence { .. } => (Class::Barrier, 0),
            _ => (Class::Integer, 0),
        }
    }
}

/// Class and flops of a thread, of each instruction of a kernel.
pub(crate) fn classes(entry: &Entry) -> Vec<(Class, u8)> {
    entry.code.iter().map(|instruction| Class::of(&instruction.op)).collect()
}

impl Counters {
    /// Warp instructions of a class.
    pub fn of(&self, class: Class) -> u64 {
        self.classes[class as usize]
    }

    /// Adds what another part of the launch did.
    pub fn add(&mut self, other: &Counters) {
        for (sum, term) in self.classes.iter_mut().zip(other.classes) {
            *sum += term;
        }
        self.warp_instructions += other.warp_instructions;
        self.partial_instructions += other.partial_instructions;
        self.flops += other.flops;
        self.tensor_flops += other.tensor_flops;
        self.global_load_bytes += other.global_load_bytes;
        self.global_store_bytes += other.global_store_bytes;
        self.global_sectors += other.global_sectors;
        self.global_sectors_ideal += other.global_sectors_ideal;
        self.shared_wavefronts += other.shared_wavefronts;
        self.shared_wavefronts_ideal += other.shared_wavefronts_ideal;
        self.atomics += other.atomics;
    }

    /// Counts an instruction.
    #[inline]
    pub(crate) fn instruction(&mut self, (class, flops): (Class, u8), mask: u32) {
        self.classes[class as usize] += 1;
        self.flops += u64::from(flops) * u64::from(mask.count_ones());
        self.partial_instructions += u64::from(mask != u32::MAX);
    }

    /// Counts the sectors of an access to global memory.
    pub(crate) fn global(&mut self, addresses: &[u64; LANES], mask: u32, bytes: usize, store: bool) {
        let asked = u64::from(mask.count_ones()) * bytes as u64;
        *(if store { &mut self.global_store_bytes } else { &mut self.global_load_bytes }) += asked;
        let (mut sectors, mut count, mut ascending) = ([0u64; 2 * LANES], 0, true);
        for lane in lanes(mask) {
            let first = addresses[lane] / 32;
            for sector in [first, (addresses[lane] + bytes as u64 - 1) / 32] {
                if count == 0 || sectors[count - 1] != sector {
                    ascending &= count == 0 || sectors[count - 1] < sector;
                    sectors[count] = sector;
                    count += 1;
                }
            }
        }
        if !ascending {
            sectors[..count].sort_unstable();
            let mut distinct = 1;
            for i in 1..count {
                distinct += usize::from(sectors[i] != sectors[i - 1]);
            }
            count = distinct;
        }
        self.global_sectors += count as u64;
        self.global_sectors_ideal += asked.div_ceil(32).min(count as u64);
    }

    /// Counts the passes of an access to shared memory: 32 banks of 4 bytes; accesses of 8 and 16 bytes are done in
    /// halves and quarters of a warp. Lanes that want the same 4 bytes share them.
    pub(crate) fn shared(&mut self, addresses: &[u64; LANES], mask: u32, bytes: usize) {
        let words = bytes.div_ceil(4).max(1);
        let together = LANES / words.min(4);
        for start in (0..LANES).step_by(together) {
            let part = mask & (u32::MAX >> (LANES - together)) << start;
            if part == 0 {
                continue;
            }
            self.shared_wavefronts += wavefronts(addresses, part, words);
            self.shared_wavefronts_ideal += 1;
        }
    }
}

/// The greatest number of different words in one bank.
fn wavefronts(addresses: &[u64; LANES], mask: u32, words: usize) -> u64 {
    let (mut held, mut used, mut more) = ([0u64; 32], 0u32, false);
    for lane in lanes(mask) {
        for word in addresses[lane] / 4..addresses[lane] / 4 + words as u64 {
            let bank = word as usize % 32;
            more |= used >> bank & 1 != 0 && held[bank] != word;
            held[bank] = word;
            used |= 1 << bank;
        }
    }
    if !more {
        return 1;
    }
    let mut all: Vec<u64> =
        lanes(mask).flat_map(|lane| addresses[lane] / 4..addresses[lane] / 4 + words as u64).collect();
    all.sort_unstable();
    all.dedup();
    let mut depth = [0u64; 32];
    for word in all {
        depth[word as usize % 32] += 1;
    }
    depth.into_iter().max().unwrap_or(1)
}
