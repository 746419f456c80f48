//! Time and memory of this process.

use std::time::{Duration, Instant};

/// What passes while a step runs.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// Processor time of all threads of the process: on one thread, what the step costs, whatever else the machine does.
    Cpu,
    /// The time on the wall, since the clock was made.
    Wall(Instant),
}

impl Clock {
    /// Processor time for one thread, where the system tells it, and wall time for more.
    pub fn for_threads(threads: usize) -> Self {
        if threads == 1 && cpu_time().is_some() { Clock::Cpu } else { Clock::Wall(Instant::now()) }
    }

    /// `cpu` or `wall`.
    pub fn name(&self) -> &'static str {
        match self {
            Clock::Cpu => "cpu",
            Clock::Wall(_) => "wall",
        }
    }

    /// Since some moment before.
    pub fn now(&self) -> Duration {
        match self {
            Clock::Cpu => cpu_time().unwrap_or_default(),
            Clock::Wall(start) => start.elapsed(),
        }
    }
}

/// The middle one; 0 if there is none.
pub fn median(times: impl IntoIterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(unix)]
fn cpu_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a place for one `timespec`, which is all that the call writes.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0;
    (!failed).then(|| Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
}

#[cfg(not(unix))]
fn cpu_time() -> Option<Duration> {
    None
}

/// The most bytes of memory that the process ever held at once, where the system tells it.
#[cfg(unix)]
pub fn peak_memory() -> Option<u64> {
    const UNIT: u64 = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is a place for one `rusage`, which is all that the call writes.
    let failed = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0;
    // SAFETY: a `rusage` is integers, for which zeros are values, whatever the call has written.
    let usage = unsafe { usage.assume_init() };
    (!failed).then(|| usage.ru_maxrss.unsigned_abs() * UNIT)
}

/// The most bytes of memory that the process ever held at once, where the system tells it.
#[cfg(not(unix))]
pub fn peak_memory() -> Option<u64> {
    None
}

/// Bytes of memory that the system could still give, where it tells.
pub fn available_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_advance() {
        for clock in [Clock::for_threads(1), Clock::for_threads(2)] {
            let before = clock.now();
            let work: f64 = (0..1_000_000).map(|i| f64::from(i).sqrt()).sum();
            assert!(work > 0.0 && clock.now() > before, "{}", clock.name());
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let seconds = |times: &[u64]| median(times.iter().map(|&s| Duration::from_secs(s))).as_secs();
        assert_eq!([seconds(&[]), seconds(&[9, 1, 5]), seconds(&[2, 1])], [0, 5, 2]);
    }
}
