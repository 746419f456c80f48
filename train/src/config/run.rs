//! What all stages share.

use super::Result;
use super::range::{count, number};

/// Number format of activations. Weights, statistics, losses and gradients are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionKind {
    /// f32 throughout.
    #[default]
    F32,
    /// bf16 activations and weight copies, f32 accumulation.
    Bf16,
}

/// Seed, checkpoints and guard.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Every random number of a run is a function of this, a purpose and a step.
    pub seed: u64,
    /// Steps between checkpoints; 0 saves only at the end.
    pub save_every: u64,
    /// Checkpoints kept in the run folder: the newest ones.
    pub keep: usize,
    /// Number format of activations.
    pub precision: PrecisionKind,
    /// Steps over which the guard's running median of the loss is taken.
    pub guard_window: usize,
    /// The run stops when the loss exceeds this many times its running median; 0 turns the test off. A loss that is
    /// not finite always stops it.
    pub guard_factor: f64,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self { seed: 0, save_every: 500, keep: 3, precision: PrecisionKind::F32, guard_window: 50, guard_factor: 20.0 }
    }
}

impl RunConfig {
    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::Range`](super::Error::Range).
    pub fn check(&self) -> Result<()> {
        // TOML has no larger integers, and the configuration must survive being written.
        count("run.seed", self.seed).within(0.0, i64::MAX as f64)?;
        count("run.keep", self.keep).at_least(1.0)?;
        count("run.guard_window", self.guard_window).within(1.0, 100_000.0)?;
        number("run.guard_factor", self.guard_factor).not_negative()
    }
}
