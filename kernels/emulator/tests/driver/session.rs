//! A context for one test, and short forms of the functions that all tests call.

use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cuda::driver::*;

/// Answers of the API that tests expect.
pub const OK: i32 = 0;
pub const INVALID_VALUE: i32 = 1;
pub const OUT_OF_MEMORY: i32 = 2;
pub const INVALID_HANDLE: i32 = 400;
pub const NOT_READY: i32 = 600;
pub const ILLEGAL_ADDRESS: i32 = 700;
pub const NOT_PERMITTED: i32 = 800;
pub const NOT_SUPPORTED: i32 = 801;
/// `CU_STREAM_NON_BLOCKING`.
pub const NON_BLOCKING: u32 = 1;

/// Reports and seeds belong to the process: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

pub struct Session {
    _one: MutexGuard<'static, ()>,
    context: u64,
}

impl Session {
    pub fn new() -> Session {
        Session::with_seed(0)
    }

    pub fn with_seed(seed: u64) -> Session {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut context = 0;
        flgEmulatorSetSeed(seed);
        flgEmulatorSetChecked(1);
        ok(unsafe { cuInit(0) });
        ok(unsafe { cuCtxCreate_v2((&mut context).into(), 0, 0) });
        reports();
        Session { _one: one, context }
    }

    pub fn context(&self) -> u64 {
        self.context
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        unsafe { cuCtxDestroy_v2(self.context) };
    }
}

/// Asserts success.
#[track_caller]
pub fn ok(code: i32) {
    assert_eq!(code, OK);
}

/// Takes the reports.
pub fn reports() -> Vec<String> {
    let needed = unsafe { flgEmulatorTakeReports(std::ptr::null_mut(), 0) };
    let mut text = vec![0; needed];
    assert_eq!(unsafe { flgEmulatorTakeReports(text.as_mut_ptr(), needed) }, needed);
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

/// Asserts that there is one report, of a kind and with words.
#[track_caller]
pub fn one_report(kind: &str, words: &[&str]) {
    let all = reports();
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0].starts_with(kind), "{all:#?}");
    words.iter().for_each(|word| assert!(all[0].contains(word), "{word} in {all:#?}"));
}

#[track_caller]
pub fn no_report() {
    assert_eq!(reports(), [""; 0]);
}

pub fn allocate(bytes: usize) -> u64 {
    let mut address = 0;
    ok(unsafe { cuMemAlloc_v2((&mut address).into(), bytes) });
    address
}

/// Pinned memory, zeros; never freed by itself.
pub fn pinned(bytes: usize) -> &'static mut [u8] {
    let mut address = 0;
    ok(unsafe { cuMemAllocHost_v2((&mut address).into(), bytes) });
    unsafe { std::slice::from_raw_parts_mut(address as *mut u8, bytes) }
}

pub fn stream(flags: u32) -> u64 {
    let mut stream = 0;
    ok(unsafe { cuStreamCreate((&mut stream).into(), flags) });
    stream
}

pub fn event() -> u64 {
    let mut event = 0;
    ok(unsafe { cuEventCreate((&mut event).into(), 0) });
    event
}

pub fn record(event: u64, stream: u64) {
    ok(unsafe { cuEventRecord(event, stream) });
}

pub fn wait(stream: u64, event: u64) {
    ok(unsafe { cuStreamWaitEvent(stream, event, 0) });
}

pub fn fill(to: u64, value: u8, bytes: usize, stream: u64) {
    ok(unsafe { cuMemsetD8Async(to, value, bytes, stream) });
}

pub fn copy(to: u64, from: u64, bytes: usize, stream: u64) {
    ok(unsafe { cuMemcpyDtoDAsync_v2(to, from, bytes, stream) });
}

pub fn upload(to: u64, from: &[u8], stream: u64) -> i32 {
    unsafe { cuMemcpyHtoDAsync_v2(to, from.as_ptr() as u64, from.len(), stream) }
}

pub fn download_late(to: &mut [u8], from: u64, stream: u64) -> i32 {
    unsafe { cuMemcpyDtoHAsync_v2(to.as_mut_ptr() as u64, from, to.len(), stream) }
}

/// Copies to the host and waits.
pub fn download(from: u64, bytes: usize) -> Vec<u8> {
    let mut to = vec![0; bytes];
    ok(unsafe { cuMemcpyDtoH_v2(to.as_mut_ptr() as u64, from, bytes) });
    to
}

pub fn synchronize(stream: u64) {
    ok(unsafe { cuStreamSynchronize(stream) });
}

pub fn synchronize_all() {
    ok(unsafe { cuCtxSynchronize() });
}

/// Counts its calls in the `u32` that it is given.
pub unsafe extern "C" fn count(data: *mut c_void) {
    unsafe { *data.cast::<u32>() += 1 };
}
