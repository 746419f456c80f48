//! What tests of kernels, operations and models run on: the host, and with the feature `cuda` a GPU as well, real or
//! emulated. No test is for one device only.

#![allow(dead_code, reason = "each test takes what it needs")]

#[cfg(feature = "cuda")]
pub mod emulator;

use flg_engine::Device;
use flg_kernels::Runtime;

/// The host, and with the feature `cuda` the first GPU.
pub fn all() -> Vec<Device> {
    let gpu = gpu().map(|_| Device::cuda(0).expect("a GPU that is open"));
    [Device::cpu()].into_iter().chain(gpu).collect()
}

/// With the feature `cuda` the first GPU.
pub fn gpu() -> Option<Runtime> {
    #[cfg(feature = "cuda")]
    return Some(Runtime::cuda(0).expect("tests with the feature `cuda` need a GPU or the emulated driver"));
    #[cfg(not(feature = "cuda"))]
    None
}

/// Fails where an emulated driver has found a defect so far, in whatever ran on it.
pub fn assert_no_reports(at: &str) {
    #[cfg(feature = "cuda")]
    if emulator::report_count().is_some_and(|count| count > 0) {
        panic!("{at}, or something before it:\n{}", emulator::take_reports().join("\n"));
    }
    #[cfg(not(feature = "cuda"))]
    let _ = at;
}
