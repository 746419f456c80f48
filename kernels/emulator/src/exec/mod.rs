//! Running a kernel: grid, blocks, warps, lanes.
//!
//! | file | what it says |
//! |---|---|
//! | `launch.rs` | what blocks have in common, and how they are spread over threads |
//! | `block.rs`, `barrier.rs` | the warps of a block in turn, and where they wait for each other |
//! | `warp.rs` | groups of lanes that go together, and the loop over instructions |
//! | `registers.rs` | rows of 32 lanes, and the loops over them |
//! | `integer.rs`, `float.rs`, `convert.rs`, `select.rs` | instructions on registers |
//! | `rounding.rs`, `directed.rs`, `transcendental.rs` | numbers |
//! | `shuffle.rs`, `matrix.rs` | instructions in which lanes take part together |
//! | `address.rs`, `load_store.rs`, `ldmatrix.rs`, `atomics.rs`, `async_copy.rs` | memory |
//! | `counters.rs` | what is counted |

mod address;
mod async_copy;
mod atomics;
mod barrier;
mod block;
mod collective;
mod convert;
mod counters;
mod directed;
mod float;
mod integer;
mod launch;
mod ldmatrix;
mod load_store;
mod matrix;
pub(crate) mod registers;
mod rounding;
mod select;
mod shuffle;
mod transcendental;
mod warp;

#[cfg(test)]
pub(crate) mod tests;

pub use self::counters::{Class, Counters};
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

/// Runs a launch to its end, blocks over the threads of the current rayon pool.
pub fn run(launch: Launch<'_>, memory: &Memory, options: Options) -> Outcome {
    launch::run(launch, memory, options)
}
