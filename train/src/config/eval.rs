//! What is measured, and on how many clips.

use super::range::{count, number};
use super::{OptimizerConfig, Result};

/// Every switch of `flg eval`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
    /// Captions; every row of the table gets the same ones and the same noise.
    pub prompts: usize,
    /// Clips sampled at once.
    pub batch: usize,
    /// Clips for each caption in the measure of diversity.
    pub diversity_seeds: usize,
    /// Resamples of the bootstrap over captions.
    pub bootstrap: usize,
    /// Confidence of the intervals.
    pub confidence: f64,
    /// Repetitions when time is measured, after one that does not count; the median is reported.
    pub timing_runs: usize,
    /// Updates of the evaluation network, trained on real clips.
    pub network_steps: u64,
    /// Clips an update of the evaluation network.
    pub network_batch: usize,
    /// Optimiser of the evaluation network.
    pub network_optimizer: OptimizerConfig,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            prompts: 256,
            batch: 32,
            diversity_seeds: 4,
            bootstrap: 2000,
            confidence: 0.95,
            timing_runs: 3,
            network_steps: 2000,
            network_batch: 64,
            network_optimizer: OptimizerConfig { lr: 2e-3, warmup: 20, ..OptimizerConfig::default() },
        }
    }
}

impl EvalConfig {
    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::Range`](super::Error::Range).
    pub fn check(&self) -> Result<()> {
        // A covariance and an interval both need at least two clips.
        count("eval.prompts", self.prompts).at_least(2.0)?;
        count("eval.batch", self.batch).at_least(1.0)?;
        count("eval.diversity_seeds", self.diversity_seeds).at_least(2.0)?;
        count("eval.bootstrap", self.bootstrap).at_least(1.0)?;
        number("eval.confidence", self.confidence).within(0.5, 0.9999)?;
        count("eval.timing_runs", self.timing_runs).at_least(1.0)?;
        count("eval.network_batch", self.network_batch).at_least(1.0)?;
        self.network_optimizer.check("eval.network_optimizer")
    }
}
