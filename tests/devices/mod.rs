//! What tests of kernels, operations and models run on: the host, and with the feature `cuda` a GPU as well, real or
//! emulated. No test is for one device only.

use flg_kernels::Runtime;

/// With the feature `cuda` the first GPU.
#[allow(clippy::unnecessary_wraps)]
pub fn gpu() -> Option<Runtime> {
    #[cfg(feature = "cuda")]
    return Some(Runtime::cuda(0).expect("tests with the feature `cuda` need a GPU or the emulated driver"));
    #[cfg(not(feature = "cuda"))]
    None
}
