//! Where kernels run.

pub mod cpu;

use crate::simd::Isa;

/// A device that kernels run on. The CPU is one variant; every kernel's entry point matches on it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Runtime {
    /// The host, on the current rayon pool, with the given instruction set.
    Cpu(Isa),
    /// A rehearsal: operands are checked, and neither read nor written. What a computation allocates can be found out
    /// so, in no time and without the memory.
    Dry,
}

impl Runtime {
    /// The host with the best instruction set that it has.
    pub fn cpu() -> Self {
        Runtime::Cpu(Isa::detect())
    }

    /// The host without any instruction set that is not on every machine of its architecture.
    pub fn portable() -> Self {
        Runtime::Cpu(Isa::Portable)
    }
}
