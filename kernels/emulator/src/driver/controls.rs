//! How the emulator is told what to do, and asked what it saw.
//!
//! # Environment, read once, when the driver is first used
//!
//! | variable | default | what it says |
//! |---|---|---|
//! | `FLG_EMULATOR_SEED` | 0 | which of the legal orders of streams, blocks and warps: a whole number below 2^64 |
//! | `FLG_EMULATOR_CHECKED` | 1 | 0: no checks but those that stop a kernel (bounds, alignment); faster |
//! | `FLG_EMULATOR_COUNTED` | 0 | 1: count what kernels do beyond instructions |
//! | `FLG_EMULATOR_UNWRITTEN` | 1 | 0: copies to the host of bytes that nobody wrote are no defect |
//! | `FLG_EMULATOR_MEMORY` | `8GiB` | memory of a device: bytes, or a number with `KiB`, `MiB` or `GiB` |
//! | `FLG_EMULATOR_DEVICES` | 1 | devices, at most 8; 0: `cuInit` says that there is none |
//! | `FLG_EMULATOR_MULTIPROCESSORS` | 108 | that a device claims, 1 to 1024: with few, grids that follow from it are small |
//!
//! A value that can not be read is said on stderr, and `cuInit` answers `CUDA_ERROR_INVALID_VALUE`.
//!
//! # Functions that a real driver does not have
//!
//! Programs find them with `dlsym`, and know by that which driver they run on. Texts are UTF-8, a line for each item,
//! without a zero at the end. They are written, and forgotten, when all fits into `room` bytes; either way the bytes
//! that are needed are answered.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::device::MULTIPROCESSORS;
use super::journal;
use super::pointer::HostRange;

/// The environment, and what was set since.
#[derive(Debug)]
pub(super) struct Settings {
    seed: AtomicU64,
    checked: AtomicBool,
    counted: AtomicBool,
    /// Whether copies of unwritten bytes to the host are reported.
    pub(super) unwritten: bool,
    /// Bytes of a device's memory.
    pub(super) memory: usize,
    /// Devices.
    pub(super) devices: usize,
    /// Multiprocessors of a device.
    pub(super) multiprocessors: u32,
    /// Whether all of the environment could be read.
    pub(super) valid: bool,
}

impl Settings {
    pub(super) fn seed(&self) -> u64 {
        self.seed.load(Relaxed)
    }

    pub(super) fn checked(&self) -> bool {
        self.checked.load(Relaxed)
    }

    pub(super) fn counted(&self) -> bool {
        self.counted.load(Relaxed)
    }

    /// Settings by the variables that `get` knows.
    fn read(get: impl Fn(&str) -> Option<String>) -> Settings {
        let mut valid = true;
        let mut value = |name: &str, default: u64, read: fn(&str) -> Option<u64>| match get(name) {
            None => default,
            Some(text) => read(&text).unwrap_or_else(|| {
                journal::say_once(&format!("{name}={text} can not be read"));
                valid = false;
                default
            }),
        };
        let seed = value("FLG_EMULATOR_SEED", 0, |text| text.parse().ok());
        let checked = value("FLG_EMULATOR_CHECKED", 1, switch) == 1;
        let counted = value("FLG_EMULATOR_COUNTED", 0, switch) == 1;
        let unwritten = value("FLG_EMULATOR_UNWRITTEN", 1, switch) == 1;
        let memory = value("FLG_EMULATOR_MEMORY", 8 << 30, bytes) as usize;
        let devices = value("FLG_EMULATOR_DEVICES", 1, |text| text.parse().ok().filter(|&n| n <= 8)) as usize;
        let within = |text: &str| text.parse().ok().filter(|n| (1..=1024).contains(n));
        let multiprocessors = value("FLG_EMULATOR_MULTIPROCESSORS", MULTIPROCESSORS.into(), within) as u32;
        let (checked, counted) = (AtomicBool::new(checked), AtomicBool::new(counted));
        Settings { seed: AtomicU64::new(seed), checked, counted, unwritten, memory, devices, multiprocessors, valid }
    }
}

/// The settings of this process.
pub(super) fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| Settings::read(|name| std::env::var(name).ok()))
}

fn switch(text: &str) -> Option<u64> {
    text.parse().ok().filter(|&value| value <= 1)
}

/// Bytes, from 1 MiB to 1 TiB.
fn bytes(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let unit = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    let bytes = number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)?;
    (1 << 20..=1 << 40).contains(&bytes).then_some(bytes)
}

/// The version of these functions, from 1.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn flgEmulatorVersion() -> u32 {
    1
}

/// Defects reported since the process began, also those that were taken.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn flgEmulatorReportCount() -> u64 {
    journal::count()
}

/// Takes the reports: see the top of this file.
///
/// # Safety
/// `text` is null, or `room` bytes can be written there.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub unsafe extern "C" fn flgEmulatorTakeReports(text: *mut u8, room: usize) -> usize {
    give(journal::take_reports(if text.is_null() { 0 } else { room }), text)
}

/// Takes what kernels did since, a JSON object for each launch: `kernel`, `grid`, `block`, `shared` (bytes, static and
/// dynamic), and the counters by the names of `exec::Counters`; all but `warp_instructions` are 0 unless it is counted.
/// `global_bytes_read` and `global_bytes_written` are those of sectors that were touched, however often; they are 0 unless
/// it is checked.
///
/// # Safety
/// `text` is null, or `room` bytes can be written there.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub unsafe extern "C" fn flgEmulatorTakeCounters(text: *mut u8, room: usize) -> usize {
    give(journal::take_launches(if text.is_null() { 0 } else { room }), text)
}

/// Whether what follows is checked beyond what stops a kernel: 0 or 1.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn flgEmulatorSetChecked(on: u32) {
    settings().checked.store(on != 0, Relaxed);
}

/// Whether kernels that follow count more than instructions: 0 or 1.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn flgEmulatorSetCounted(on: u32) {
    settings().counted.store(on != 0, Relaxed);
}

/// Which of the legal orders what follows takes.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn flgEmulatorSetSeed(seed: u64) {
    settings().seed.store(seed, Relaxed);
}

fn give((lines, needed): (Option<String>, usize), text: *mut u8) -> usize {
    if let (Some(lines), false) = (lines, text.is_null()) {
        HostRange { address: text as u64, bytes: needed }.write(0, lines.as_bytes());
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read() {
        let settings = Settings::read(|name| match name {
            "FLG_EMULATOR_SEED" => Some("18446744073709551615".into()),
            "FLG_EMULATOR_CHECKED" => Some("0".into()),
            "FLG_EMULATOR_MEMORY" => Some("3MiB".into()),
            _ => None,
        });
        assert!(settings.valid && !settings.checked() && !settings.counted() && settings.unwritten);
        assert_eq!((settings.seed(), settings.memory, settings.devices), (u64::MAX, 3 << 20, 1));
        assert_eq!(settings.multiprocessors, 108);
    }

    #[test]
    fn what_can_not_be_read_is_no_default() {
        for (variable, text) in [
            ("SEED", "x"),
            ("CHECKED", "2"),
            ("MEMORY", "1"),
            ("MEMORY", "9TiB"),
            ("DEVICES", "9"),
            ("MULTIPROCESSORS", "0"),
        ] {
            let settings = Settings::read(|name| name.ends_with(variable).then(|| text.into()));
            assert!(!settings.valid, "{variable}={text}");
        }
        assert_eq!(bytes("2097152"), Some(2 << 20));
    }
}
