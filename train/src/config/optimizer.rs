//! How gradients become updates.

use super::range::{count, number};
use super::{Error, Result};

/// The update rule of the 2-D block weights. Everything else always uses AdamW.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// AdamW.
    #[default]
    Adamw,
    /// Momentum, orthogonalised by a Newton-Schulz iteration.
    Muon,
}

/// What the learning rate does after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Stays.
    Constant,
    /// Falls along a half cosine to `floor` times the peak at the last step.
    #[default]
    Cosine,
}

/// Optimiser, learning-rate schedule and clipping of one network.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Update rule of the 2-D block weights.
    pub kind: OptimizerKind,
    /// Peak learning rate of AdamW.
    pub lr: f64,
    /// Peak learning rate of Muon.
    pub muon_lr: f64,
    /// Momentum of Muon.
    pub muon_momentum: f64,
    /// AdamW's decay rates of the first and the second moment.
    pub betas: [f64; 2],
    /// Added to AdamW's denominator.
    pub eps: f64,
    /// Decoupled weight decay, multiplied by the learning rate.
    pub weight_decay: f64,
    /// Largest Euclidean norm of all gradients together; 0 turns clipping off.
    pub clip: f64,
    /// Steps over which the learning rate rises linearly from 0.
    pub warmup: u64,
    /// What it does after.
    pub decay: Decay,
    /// Learning rate at the last step over the peak, for [`Decay::Cosine`].
    pub floor: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::Adamw,
            lr: 1e-3,
            muon_lr: 3e-2,
            muon_momentum: 0.95,
            betas: [0.9, 0.99],
            eps: 1e-8,
            weight_decay: 0.01,
            clip: 1.0,
            warmup: 0,
            decay: Decay::Cosine,
            floor: 0.0,
        }
    }
}

impl OptimizerConfig {
    /// Checks ranges; `table` is the dotted name of this table in messages.
    ///
    /// # Errors
    /// [`Error::Range`].
    pub fn check(&self, table: &str) -> Result<()> {
        self.ranges().map_err(|error| match error {
            Error::Range { key, got, allowed } => Error::Range { key: format!("{table}.{key}"), got, allowed },
            other => other,
        })
    }

    fn ranges(&self) -> Result<()> {
        number("lr", self.lr).positive()?;
        number("muon_lr", self.muon_lr).positive()?;
        number("muon_momentum", self.muon_momentum).below(0.0, 1.0)?;
        number("betas", self.betas[0]).below(0.0, 1.0)?;
        number("betas", self.betas[1]).below(0.0, 1.0)?;
        number("eps", self.eps).positive()?;
        number("weight_decay", self.weight_decay).not_negative()?;
        number("clip", self.clip).not_negative()?;
        count("warmup", self.warmup).not_negative()?;
        number("floor", self.floor).within(0.0, 1.0)
    }
}
