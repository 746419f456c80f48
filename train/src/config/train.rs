//! Training of the teacher by flow matching.

use super::range::{count, number};
use super::{Error, OptimizerConfig, OptimizerKind, PrecisionKind, Result};

/// How the unshifted time `u` is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeDensity {
    /// `u_b = (b + U) / B`: uniform, and spread evenly over the batch.
    #[default]
    Stratified,
    /// Uniform and independent.
    Uniform,
    /// The logistic function of a normal with `logit_mean` and `logit_std`.
    LogitNormal,
}

/// The loss's weight as a function of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeWeight {
    /// 1.
    #[default]
    Uniform,
    /// A bell around the middle, of mean 1 over the shifted times (`bsmntw` of Self-Forcing).
    Bell,
}

/// Every switch of `flg train`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Updates.
    pub steps: u64,
    /// Clips an update.
    pub batch: usize,
    /// Parts that a batch is computed in, side by side where there are threads; divides the batch.
    pub micro_batches: usize,
    /// Timestep shift: `t = s u / (1 + (s - 1) u)`.
    pub shift: f64,
    /// How `u` is drawn.
    pub density: TimeDensity,
    /// Mean of the normal of [`TimeDensity::LogitNormal`].
    pub logit_mean: f64,
    /// Standard deviation of the normal of [`TimeDensity::LogitNormal`].
    pub logit_std: f64,
    /// The loss's weight as a function of time.
    pub weight: TimeWeight,
    /// Probability that a clip's caption is replaced by the null caption.
    pub text_drop: f64,
    /// Share of each batch whose first frame is given: clean, its tokens at time 0, outside the loss.
    pub first_frame: f64,
    /// Optimiser, schedule, clipping.
    pub optimizer: OptimizerConfig,
    /// Decay rate of the moving average of the weights, reached over a warm-up `(1 + k) / (10 + k)`.
    pub ema: f64,
    /// Whether blocks recompute their activations in the backward pass instead of keeping them.
    pub recompute_blocks: bool,
    /// What activations are kept as for the backward pass: bf16 takes half of f32's memory, and rounds.
    pub saved_activations: PrecisionKind,
    /// Steps between evaluations of the validation loss; 0 for none.
    pub validate_every: u64,
    /// Held-out clips in the validation loss.
    pub validation_clips: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 7000,
            batch: 8,
            micro_batches: 2,
            shift: 5.0,
            density: TimeDensity::Stratified,
            logit_mean: 0.0,
            logit_std: 1.0,
            weight: TimeWeight::Uniform,
            text_drop: 0.15,
            first_frame: 0.25,
            optimizer: OptimizerConfig {
                kind: OptimizerKind::Muon,
                lr: 3e-3,
                warmup: 200,
                ..OptimizerConfig::default()
            },
            ema: 0.999,
            recompute_blocks: false,
            saved_activations: PrecisionKind::F32,
            validate_every: 250,
            validation_clips: 64,
        }
    }
}

impl TrainConfig {
    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::Range`].
    pub fn check(&self) -> Result<()> {
        count("train.batch", self.batch).within(1.0, 65536.0)?;
        divides("train.micro_batches", self.micro_batches, self.batch)?;
        number("train.shift", self.shift).positive()?;
        number("train.logit_mean", self.logit_mean).within(-20.0, 20.0)?;
        number("train.logit_std", self.logit_std).positive()?;
        number("train.text_drop", self.text_drop).within(0.0, 1.0)?;
        number("train.first_frame", self.first_frame).within(0.0, 1.0)?;
        self.optimizer.check("train.optimizer")?;
        number("train.ema", self.ema).below(0.0, 1.0)?;
        count("train.validation_clips", self.validation_clips).at_least(1.0)
    }
}

/// A batch is computed in equal parts.
pub(super) fn divides(key: &str, parts: usize, batch: usize) -> Result<()> {
    if parts > 0 && batch.is_multiple_of(parts) {
        return Ok(());
    }
    let allowed = format!("a divisor of the batch, {batch}");
    Err(Error::Range { key: key.to_owned(), got: parts.to_string(), allowed })
}
