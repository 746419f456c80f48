//! What the emulated driver has to say. Its functions are found by name while the program runs: a real driver has none
//! of them, and then there is nothing to ask.

use std::ffi::{CStr, c_void};

fn find(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name ends with a zero.
    let function = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!function.is_null()).then_some(function)
}

/// Defects that were found since the process began; `None` on a real driver.
pub fn report_count() -> Option<u64> {
    let function = find(c"flgEmulatorReportCount")?;
    // SAFETY: the emulated driver declares it so.
    let count: extern "C" fn() -> u64 = unsafe { std::mem::transmute(function) };
    Some(count())
}

/// Turns counters beyond instructions on; `None` on a real driver.
pub fn count_everything() -> Option<()> {
    let function = find(c"flgEmulatorSetCounted")?;
    // SAFETY: the emulated driver declares it so.
    let set: extern "C" fn(u32) = unsafe { std::mem::transmute(function) };
    set(1);
    Some(())
}

/// What kernels did since the last call, a JSON object a launch.
pub fn take_counters() -> Vec<String> {
    take(c"flgEmulatorTakeCounters")
}

/// The defects found since the last call.
pub fn take_reports() -> Vec<String> {
    take(c"flgEmulatorTakeReports")
}

fn take(name: &CStr) -> Vec<String> {
    let Some(function) = find(name) else { return Vec::new() };
    // SAFETY: the emulated driver declares it so.
    let take: unsafe extern "C" fn(*mut u8, usize) -> usize = unsafe { std::mem::transmute(function) };
    let mut text = Vec::new();
    loop {
        // SAFETY: `text` has room for as many bytes as it says.
        let needed = unsafe { take(text.as_mut_ptr(), text.len()) };
        if needed <= text.len() {
            text.truncate(needed);
            return String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        }
        text.resize(needed, 0);
    }
}
