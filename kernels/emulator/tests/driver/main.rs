//! The driver from outside: what programs that link to it can do, and what is said of programs that are wrong.

#![expect(clippy::undocumented_unsafe_blocks, reason = "all call the driver with places that outlive the call")]

mod device;
mod kernels;
mod memory;
mod order;
mod session;
mod streams;
