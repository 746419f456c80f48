//! The machine that a run ran on, for whoever compares its times.

use serde::{Deserialize, Serialize};

/// What `env.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of this program.
    pub version: String,
    /// Operating system.
    pub os: String,
    /// Processor family.
    pub arch: String,
    /// The processor's own name, where the system tells.
    pub cpu: Option<String>,
    /// Hardware threads.
    pub cores: usize,
    /// Threads that this run computes with.
    pub threads: usize,
    /// Kernels' instruction set.
    pub runtime: String,
    /// Whether the program was built with optimisation.
    pub optimised: bool,
}

impl Environment {
    /// Looks at this machine. `runtime` describes the device's kernels.
    pub fn here(runtime: impl Into<String>) -> Self {
        Environment {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cpu: cpu_name(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: rayon::current_num_threads(),
            runtime: runtime.into(),
            optimised: !cfg!(debug_assertions),
        }
    }
}

/// The first `model name` of Linux's list of processors.
fn cpu_name() -> Option<String> {
    let list = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = list.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
