//! An emulated CUDA driver: `libcuda.so.1` whose device is the host.
//!
//! Programs that load the driver by its name get this library instead when it stands first in `LD_LIBRARY_PATH`. It
//! takes the PTX that nvcc made, executes it warp by warp on the CPU, and reports what a GPU would let pass: races,
//! reads of what nobody wrote, accesses out of bounds, missing waits, work in an order that nothing promises. What it
//! can not say is how long a GPU would take; it counts instead.
//!
//! | folder | what it says |
//! |---|---|
//! | `ptx/` | text to instructions: lexer, parser, decoder |
//! | `memory/` | the device's memory, with a shadow that knows what is allocated and what was written |
//! | `exec/` | warps, blocks, grids: how instructions change registers and memory |
//! | `check/` | what is wrong although it ran: races, missing waits |
//! | `driver/` | the functions of the driver: contexts, modules, streams, events, copies |
//!
//! Dependencies run down this list only: `ptx` and `memory` know nothing of the others.

#![cfg_attr(not(test), warn(missing_docs))]

pub(crate) mod check;
pub mod driver;
pub mod exec;
pub mod memory;
pub mod ptx;
pub mod report;
