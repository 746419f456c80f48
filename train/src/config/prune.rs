//! Stage II: the network learns to do without some of its blocks.

use super::range::{count, number};
use super::train::divides;
use super::{OptimizerConfig, OptimizerKind, Result};

/// Which blocks run in a training step of the first phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskSampler {
    /// Each unimportant block runs with probability `keep`.
    #[default]
    Bernoulli,
    /// With probability `end` the blocks that will remain in the end, else as [`MaskSampler::Bernoulli`].
    Sandwich,
}

/// What the network with skipped blocks imitates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The teacher that this stage began with: cannot drift.
    #[default]
    Frozen,
    /// A moving average of the network, with all blocks.
    EmaSelf,
    /// The network itself with all blocks, without gradient, as in the paper.
    SelfSg,
}

/// Every switch of `flg prune`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneConfig {
    /// Updates of the first phase: random masks.
    pub random_steps: u64,
    /// Updates of the second phase: exactly the blocks to be removed are skipped.
    pub fixed_steps: u64,
    /// Clips an update.
    pub batch: usize,
    /// Parts of a batch, each with a mask of its own; divides the batch.
    pub micro_batches: usize,
    /// Timestep shift.
    pub shift: f64,
    /// Probability that a caption is replaced by the null caption, for both passes alike.
    pub text_drop: f64,
    /// Share of each batch whose first frame is given.
    pub first_frame: f64,
    /// Weight of the target's prediction against the data: `alpha` and `1 - alpha`.
    pub alpha: f64,
    /// Weight of the squared distance between the residual streams of both passes, behind the blocks that ran; 0 turns
    /// it off.
    pub feature: f64,
    /// Probability that an unimportant block runs.
    pub keep: f64,
    /// Which blocks run in a step of the first phase.
    pub sampler: MaskSampler,
    /// Probability of the final mask in [`MaskSampler::Sandwich`].
    pub end: f64,
    /// Share of all blocks that count as unimportant in the first phase, the lowest scores; at least those to be
    /// removed.
    pub unimportant: f64,
    /// What the network imitates.
    pub target: Target,
    /// Decay rate of the average of [`Target::EmaSelf`].
    pub target_ema: f64,
    /// Optimiser, schedule (over both phases), clipping.
    pub optimizer: OptimizerConfig,
    /// Whether blocks recompute their activations in the backward pass instead of keeping them.
    pub recompute_blocks: bool,
    /// Decay rate of the moving average of the weights, reached over a warm-up `(1 + k) / (10 + k)`.
    pub ema: f64,
    /// Steps between evaluations of the validation loss, with and without the removed blocks; 0 for none.
    pub validate_every: u64,
    /// Held-out clips in the validation loss.
    pub validation_clips: usize,
}

impl Default for PruneConfig {
    fn default() -> Self {
        Self {
            random_steps: 300,
            fixed_steps: 500,
            batch: 16,
            micro_batches: 4,
            shift: 5.0,
            text_drop: 0.15,
            first_frame: 0.25,
            alpha: 1.0,
            feature: 0.0,
            keep: 0.5,
            sampler: MaskSampler::Bernoulli,
            end: 0.5,
            unimportant: 0.3,
            target: Target::Frozen,
            target_ema: 0.999,
            optimizer: OptimizerConfig {
                kind: OptimizerKind::Muon,
                lr: 1e-3,
                muon_lr: 0.02,
                betas: [0.9, 0.999],
                ..OptimizerConfig::default()
            },
            recompute_blocks: false,
            ema: 0.99,
            validate_every: 100,
            validation_clips: 64,
        }
    }
}

impl PruneConfig {
    /// Updates of both phases.
    pub fn steps(&self) -> u64 {
        self.random_steps.saturating_add(self.fixed_steps)
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::Range`](super::Error::Range).
    pub fn check(&self) -> Result<()> {
        count("prune.batch", self.batch).within(1.0, 65536.0)?;
        divides("prune.micro_batches", self.micro_batches, self.batch)?;
        number("prune.shift", self.shift).positive()?;
        number("prune.text_drop", self.text_drop).within(0.0, 1.0)?;
        number("prune.first_frame", self.first_frame).within(0.0, 1.0)?;
        number("prune.alpha", self.alpha).within(0.0, 1.0)?;
        number("prune.feature", self.feature).not_negative()?;
        number("prune.keep", self.keep).within(0.0, 1.0)?;
        number("prune.end", self.end).within(0.0, 1.0)?;
        number("prune.unimportant", self.unimportant).within(0.0, 1.0)?;
        number("prune.target_ema", self.target_ema).below(0.0, 1.0)?;
        self.optimizer.check("prune.optimizer")?;
        number("prune.ema", self.ema).below(0.0, 1.0)?;
        count("prune.validation_clips", self.validation_clips).at_least(1.0)
    }
}
