//! The least time that counts allow: the busiest unit of a GPU, working without a pause.

use super::launches::{Class, Launch};

/// What a GPU can do at most, by its maker's data sheets and programming guide.
#[derive(Debug)]
pub(super) struct Gpu {
    pub(super) name: &'static str,
    /// The architecture whose registers ptxas counted.
    pub(super) arch: &'static str,
    multiprocessors: f64,
    /// Cycles a second, boosted.
    clock: f64,
    /// Warp instructions a cycle and multiprocessor: f32, integer, conversion, special function.
    fp32: f64,
    integer: f64,
    conversion: f64,
    special: f64,
    /// Multiplications and additions by `mma.sync` in bf16, a second.
    tensor_flops: f64,
    /// Bytes a second from device memory.
    memory: f64,
    /// Bytes a cycle and multiprocessor between its first cache and the rest.
    cache: f64,
    /// Registers, shared memory, threads and blocks of a multiprocessor.
    registers: usize,
    shared: usize,
    threads: usize,
    blocks: usize,
}

/// SXM, 40 GB.
pub(super) const A100: Gpu = Gpu {
    name: "A100",
    arch: "sm_80",
    multiprocessors: 108.0,
    clock: 1.41e9,
    fp32: 2.0,
    integer: 2.0,
    conversion: 0.5,
    special: 0.5,
    tensor_flops: 312e12,
    memory: 1.555e12,
    cache: 64.0,
    registers: 65536,
    shared: 164 << 10,
    threads: 2048,
    blocks: 32,
};

/// SXM. `mma.sync` does not reach the rate of `wgmma` there: folklore says about 62 %.
pub(super) const H100: Gpu = Gpu {
    name: "H100",
    arch: "sm_90",
    multiprocessors: 132.0,
    clock: 1.755e9,
    fp32: 4.0,
    integer: 2.0,
    conversion: 2.0,
    special: 0.5,
    tensor_flops: 0.62 * 989e12,
    memory: 3.35e12,
    cache: 64.0,
    registers: 65536,
    shared: 228 << 10,
    threads: 2048,
    blocks: 32,
};

/// A bound and the unit that it comes from.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) seconds: f64,
    pub(super) unit: &'static str,
    /// The share of the bound that tensor cores are busy for.
    pub(super) tensor_share: f64,
    /// Warps of a multiprocessor that can be there at once, of those that it has room for.
    pub(super) occupancy: f64,
}

impl Gpu {
    /// The least time of a launch.
    pub(super) fn bound(&self, launch: &Launch) -> Bound {
        let cycles =
            |warp_instructions: u64, rate: f64| warp_instructions as f64 / rate / self.multiprocessors / self.clock;
        let of = |class| launch.of(class);
        let tensor = launch.tensor_flops as f64 / self.tensor_flops;
        let sectors = launch.global_sectors as f64 * 32.0;
        // Of a multiprocessor, which blocks may keep busy unevenly; memory serves those that there are.
        let own = [
            ("tensor cores", tensor),
            ("issue", cycles(launch.warp_instructions, 4.0)),
            ("fp32", cycles(of(Class::Fp32), self.fp32)),
            ("integer", cycles(of(Class::Integer), self.integer)),
            ("conversion", cycles(of(Class::Conversion), self.conversion)),
            ("special functions", cycles(of(Class::SpecialFunction), self.special)),
            ("shared memory", cycles(launch.shared_wavefronts, 1.0)),
            ("cache", sectors / self.cache / self.multiprocessors / self.clock),
        ];
        let resident = self.resident_blocks(launch);
        let uneven = self.uneven(launch.blocks(), resident);
        let units = own.map(|(unit, busy)| (unit, busy * uneven)).into_iter();
        let units = units.chain([("memory", launch.bytes as f64 / self.memory)]);
        let (unit, seconds) = units.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or(("nothing", 0.0));
        Bound {
            seconds,
            unit,
            tensor_share: if seconds > 0.0 { tensor / seconds } else { 0.0 },
            occupancy: (resident * launch.threads().div_ceil(32)) as f64 / (self.threads / 32) as f64,
        }
    }

    /// How much longer the blocks take than if all multiprocessors were busy all the time: the last wave of blocks may
    /// leave most of them idle, and where there is but one wave, the busiest has all blocks that fall to it.
    fn uneven(&self, blocks: usize, resident: usize) -> f64 {
        let (each, together) = (blocks as f64 / self.multiprocessors, resident.max(1) as f64);
        let at_once = if each < together { 1.0 } else { together };
        (each / at_once).ceil() / (each / at_once)
    }

    /// Blocks of a launch that a multiprocessor has room for.
    fn resident_blocks(&self, launch: &Launch) -> usize {
        let warps = launch.threads().div_ceil(32);
        // Registers are given to warps, 256 at a time; each block takes 1 KiB of shared memory for itself.
        let registers = launch.registers(self.arch).max(1);
        let a_warp = (registers * 32).next_multiple_of(256);
        let by_registers = self.registers / a_warp / warps.max(1);
        let by_shared = self.shared / (launch.shared + 1024);
        let by_threads = self.threads / (warps * 32).max(1);
        by_registers.min(by_shared).min(by_threads).min(self.blocks)
    }
}
