//! Stage I: what each block is worth, and which ones to remove.

use super::range::{count, number};
use super::{Error, Result};

/// Weight of the squared velocity error in the importance, as a function of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossWeight {
    /// 1, over shifted times: the flow-matching loss.
    #[default]
    Fm,
    /// `(1 - t) / t` times `dt/du`, with `t` at least `elbo_floor`: the evidence lower bound.
    Elbo,
    /// `t^2`: squared error of the predicted clip.
    X0,
}

/// How a block's importance is estimated from a pair of forward passes, with and without the block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// Squared difference of the two predictions: the same mean for an ideal teacher, far less variance.
    #[default]
    Surrogate,
    /// Difference of the two losses, as in the paper.
    Paired,
}

/// What ranks the blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// The rise of the weighted loss without the block.
    #[default]
    Importance,
    /// Block influence: one minus the cosine between a block's input and output.
    BlockInfluence,
    /// Norm of what a block adds over the norm of its input.
    RelativeChange,
    /// Norm of the block's weights.
    Magnitude,
    /// Blocks spread evenly over the depth, without measuring.
    Even,
    /// Drawn at random, as a control.
    Random,
}

/// How a set is chosen from scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// One after the other, each time measuring the rest anew without those removed.
    #[default]
    Greedy,
    /// The lowest scores of skipping one block alone.
    Rank,
    /// [`Selection::Rank`], then at most ten exchanges of one block that lower the joint loss.
    RankSwap,
}

/// Every switch of `flg audit`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// Held-out clips.
    pub clips: usize,
    /// Clips, of these, that sets of blocks are compared on: greedy choice and exchanges measure many sets.
    pub selection_clips: usize,
    /// Strata of time; every clip is measured once in each.
    pub strata: usize,
    /// Clips computed at once.
    pub batch: usize,
    /// Timestep shift of the times measured.
    pub shift: f64,
    /// Share of the clips whose first frame is given.
    pub first_frame: f64,
    /// Weight that ranks; the report has all of them.
    pub weight: LossWeight,
    /// Smallest time in the weight of [`LossWeight::Elbo`].
    pub elbo_floor: f64,
    /// Estimator that ranks; the report has both.
    pub estimator: Estimator,
    /// What ranks the blocks.
    pub criterion: Criterion,
    /// How the set is chosen.
    pub selection: Selection,
    /// Share of the blocks to remove, rounded to the nearest whole number of blocks.
    pub fraction: f64,
    /// Blocks at the beginning and at the end that are never removed.
    pub protect: [usize; 2],
    /// Resamples of the bootstrap over clips.
    pub bootstrap: usize,
    /// Confidence of the intervals.
    pub confidence: f64,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            clips: 96,
            selection_clips: 32,
            strata: 6,
            batch: 16,
            shift: 5.0,
            first_frame: 0.25,
            weight: LossWeight::Fm,
            elbo_floor: 0.02,
            estimator: Estimator::Surrogate,
            criterion: Criterion::Importance,
            selection: Selection::Greedy,
            fraction: 0.3,
            protect: [1, 1],
            bootstrap: 2000,
            confidence: 0.95,
        }
    }
}

impl AuditConfig {
    /// Blocks to remove of `layers`.
    ///
    /// # Errors
    /// [`Error::Range`] if the protected blocks leave too few.
    pub fn removals(&self, layers: usize) -> Result<usize> {
        let wanted = (self.fraction * layers as f64).round() as usize;
        let free = layers.saturating_sub(self.protect[0].saturating_add(self.protect[1]));
        if wanted <= free {
            return Ok(wanted);
        }
        Err(Error::Range {
            key: "audit.fraction".to_owned(),
            got: format!("{} ({wanted} of {layers} blocks)", self.fraction),
            allowed: format!("at most {free} blocks with audit.protect = {:?}", self.protect),
        })
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::Range`].
    pub fn check(&self) -> Result<()> {
        // An interval needs at least two clips to resample.
        count("audit.clips", self.clips).at_least(2.0)?;
        count("audit.selection_clips", self.selection_clips).at_least(1.0)?;
        count("audit.strata", self.strata).at_least(1.0)?;
        count("audit.batch", self.batch).at_least(1.0)?;
        number("audit.shift", self.shift).positive()?;
        number("audit.first_frame", self.first_frame).within(0.0, 1.0)?;
        number("audit.elbo_floor", self.elbo_floor).within(1e-6, 0.5)?;
        number("audit.fraction", self.fraction).below(0.0, 1.0)?;
        count("audit.bootstrap", self.bootstrap).at_least(1.0)?;
        number("audit.confidence", self.confidence).within(0.5, 0.9999)
    }
}
