//! Running a kernel: grid, blocks, warps, lanes.

use crate::memory::Memory;
use crate::ptx::{Entry, Module};
use crate::report::Report;

/// One launch.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The module.
    pub module: &'a Module,
    /// A kernel of it.
    pub entry: &'a Entry,
    /// Device addresses of the module's variables, in the order of `Module::globals`.
    pub globals: &'a [u64],
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: usize,
    /// Bytes of shared memory, static and dynamic, that a block may have: 48 KiB unless the host asked for more.
    pub shared_limit: usize,
    /// The parameter space.
    pub params: &'a [u8],
}

/// How a launch is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which of the legal orders of warps and blocks.
    pub seed: u64,
    /// Whether defects other than those that stop a kernel anyway (bounds, alignment) are looked for.
    pub checked: bool,
    /// Whether to count ([`Outcome::counters`]); instructions are always counted.
    pub counted: bool,
}

/// What a launch did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Defects, at most a few of each kind and line. Empty is the goal.
    pub reports: Vec<Report>,
    /// Whether the kernel was stopped by one of them.
    pub stopped: bool,
    /// What it did, counted.
    pub counters: Counters,
    /// Global memory that it touched.
    pub touched: Touched,
}

/// Global memory that a launch touched, in sectors of 32 bytes: `(first address, sectors)`, sorted, not overlapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Read.
    pub reads: Vec<(u64, u64)>,
    /// Written, atomically or not.
    pub writes: Vec<(u64, u64)>,
}

/// What a launch did, counted over all its warps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Instructions that warps issued.
    pub warp_instructions: u64,
}

/// Runs a launch to its end, blocks over the threads of the current rayon pool.
pub fn run(_launch: Launch<'_>, _memory: &Memory, _options: Options) -> Outcome {
    Outcome::default()
}
