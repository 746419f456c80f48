//! NVIDIA GPUs. Nothing outside this folder and the kernels' `cuda.rs` knows that there is a driver.
//!
//! | file | what it says |
//! |---|---|
//! | `compiled.rs` | a table of everything that nvcc made |
//! | `driver.rs` | the functions of the driver that are called directly, whose answers stay integers |
//! | `failure.rs` | what the driver refused, as data |
//! | `gpu.rs` | a GPU: its context, its one stream, its loaded modules |
//! | `launch.rs` | one launch of a kernel: grid, shared memory, parameters |
//! | `memory.rs` | memory of a GPU, and the parts of it that kernels read and write |
//! | `rows.rs` | how rows are shared out to threads and blocks |
//! | `row_sums.rs` | sums over the rows of groups: how `row_sums.cuh` cuts the work |
//! | `staging.rs` | copies through pinned host memory |
//!
//! `cust` opens the device and owns context, stream, events and pinned memory. Where an answer of the driver matters
//! (loading, launching, copying, waiting) the driver is called directly: `cust` turns its answer into an enum that
//! newer drivers' codes are not in, and gives no log of the PTX compiler.
//!
//! All work of a GPU goes through one stream, so it runs in the order in which it was asked for, and memory may be
//! reused as soon as the last call that needs it has been made. The host waits only where it reads.

mod compiled;
mod driver;
mod failure;
mod gpu;
mod launch;
mod memory;
mod row_sums;
mod rows;
mod staging;

pub use compiled::{COMPILED, Compiled};
pub use failure::Failure;
pub use gpu::Gpu;
pub use launch::{Grid, Launch, Source};
pub use memory::{Memory, Operand, Slice, SliceMut};
pub use row_sums::RowSums;
pub(crate) use rows::{Chunks, Pieces, SLOT, Teams, by_slots, row_width};
