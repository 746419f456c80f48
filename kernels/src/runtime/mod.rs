//! Where kernels run.

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;

use crate::simd::Isa;

/// A device that kernels run on. The CPU is one variant; every kernel's entry point matches on it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Runtime {
    /// The host, on the current rayon pool, with the given instruction set.
    Cpu(Isa),
    /// An NVIDIA GPU. Calls return when the work is in its stream; what fails later shows when the host waits.
    #[cfg(feature = "cuda")]
    Cuda(&'static cuda::Gpu),
    /// A rehearsal: operands are checked, and neither read nor written. What a computation allocates can be found out
    /// so, in no time and without the memory.
    Dry,
}

/// For tests within this crate: with the feature `cuda` the first GPU, real or emulated.
#[cfg(test)]
pub(crate) fn gpu_of_tests() -> Option<Runtime> {
    #[cfg(feature = "cuda")]
    return Some(Runtime::cuda(0).expect("tests with the feature `cuda` need a GPU or the emulated driver"));
    #[cfg(not(feature = "cuda"))]
    None
}

impl Runtime {
    /// The host with the best instruction set that it has.
    pub fn cpu() -> Self {
        Runtime::Cpu(Isa::detect())
    }

    /// GPU number `ordinal`.
    ///
    /// # Errors
    /// No driver, no such GPU, or one that is too old.
    #[cfg(feature = "cuda")]
    pub fn cuda(ordinal: u32) -> crate::Result<Self> {
        cuda::Gpu::open(ordinal).map(Runtime::Cuda)
    }

    /// The host without any instruction set that is not on every machine of its architecture.
    pub fn portable() -> Self {
        Runtime::Cpu(Isa::Portable)
    }
}
