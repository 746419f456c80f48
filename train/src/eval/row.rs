//! A line of the table: a way of sampling, what it costs, and what its clips are worth.

use std::collections::BTreeMap;

use super::figures::{Figures, Resampled};
use crate::data::Conditions;
use crate::generate::Sampler;
use flg_model::sampler::Network;

/// What is given to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// A caption.
    Text,
    /// A caption and the first frame of a held-out clip. Where frames count one by one, the given one does not.
    TextImage,
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Condition::Text => "text",
            Condition::TextImage => "text+image",
        })
    }
}

/// A way of sampling that becomes a row.
#[derive(Clone, Debug)]
pub struct SamplerSpec<'a> {
    /// What the table calls it.
    pub name: String,
    /// The network and the blocks that run.
    pub network: Network<'a>,
    /// The network's words and scale.
    pub conditions: &'a Conditions,
    /// How it samples.
    pub sampler: Sampler,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// What the network was given.
    pub condition: Condition,
    /// How it sampled and what that took; real clips took nothing.
    #[serde(flatten)]
    pub cost: Option<Cost>,
    /// What the clips are worth.
    #[serde(flatten)]
    pub figures: Figures<f64>,
    /// Confidence intervals of all figures, by a bootstrap over captions that is the same for all rows.
    pub intervals: Figures<[f64; 2]>,
    /// Confidence intervals of this row's figures less those of other rows under the same condition, by their names: see
    /// [`Row::compare`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub differences: BTreeMap<String, Figures<[f64; 2]>>,
    /// What intervals are made of; not kept in files.
    #[serde(skip)]
    pub(crate) resampled: Resampled,
}

impl Row {
    /// Notes in `differences` how this row differs from those of `others` that were measured under the same condition.
    /// All rows of an evaluation are resampled over the same captions, so the intervals are paired.
    pub fn compare<'r>(&mut self, others: impl IntoIterator<Item = &'r Row>) {
        for other in others.into_iter().filter(|other| other.condition == self.condition) {
            let found = self.resampled.differences(&self.figures, (&other.figures, &other.resampled));
            self.differences.insert(other.name.clone(), found);
        }
    }
}

/// What sampling takes.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    /// Steps.
    pub steps: usize,
    /// Forward passes for one clip.
    pub network_calls: usize,
    /// Strength of guidance as Ho and Salimans count it: 1 is none.
    pub guidance: f64,
    /// Blocks that run.
    pub blocks: usize,
    /// Scalars in the weights that are used.
    pub parameters: usize,
    /// Bytes of those weights.
    pub weight_bytes: usize,
    /// The most that was in use while sampling: those weights and a batch's activations.
    pub memory_bytes: usize,
    /// Wall time, the median over batches.
    pub seconds_per_clip: f64,
}
