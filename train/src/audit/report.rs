//! The result of an audit, as it is written to `importance.json`.

use serde::{Deserialize, Serialize};

use super::importance::{Importance, Score};
use super::select::Choice;
use crate::config::AuditConfig;

/// Everything that later stages and readers need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Blocks of the network.
    pub blocks: usize,
    /// Held-out clips measured, each once in every stratum.
    pub clips: usize,
    /// Strata of time.
    pub strata: usize,
    /// The configuration, in words: weight, estimator, criterion, selection.
    pub method: [String; 4],
    /// Loss of the whole network.
    pub loss: f64,
    /// What ranks, one a block.
    pub importance: Vec<Score>,
    /// Rise of the flow-matching loss, one a block.
    pub flow_matching: Vec<Score>,
    /// Rise of the evidence lower bound, one a block.
    pub elbo: Vec<Score>,
    /// `[block][stratum]`, the noisiest stratum last.
    pub by_stratum: Vec<Vec<f64>>,
    /// Spearman correlation with the distance from the middle.
    pub u_shape: Score,
    /// Blocks, the least important first.
    pub ranked: Vec<usize>,
    /// Blocks to remove, ascending.
    pub removed: Vec<usize>,
    /// What removing them all at once costs before any training.
    pub joint: f64,
}

impl Audit {
    pub(super) fn new(config: &AuditConfig, importance: &Importance, choice: Choice, clips: usize) -> Self {
        let word = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
        Audit {
            blocks: importance.ranking.len(),
            clips,
            strata: importance.by_stratum.first().map_or(0, Vec::len),
            method: [word(&config.weight), word(&config.estimator), word(&config.criterion), word(&config.selection)],
            loss: importance.loss,
            importance: importance.ranking.clone(),
            flow_matching: importance.flow_matching.clone(),
            elbo: importance.elbo.clone(),
            by_stratum: importance.by_stratum.clone(),
            u_shape: importance.u_shape,
            ranked: choice.ranked,
            removed: choice.removed,
            joint: choice.joint,
        }
    }
}
