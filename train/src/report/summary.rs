//! The numbers of a demo, as `summary.json` holds them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audit::Audit;
use crate::eval::{self, Condition, Cost};

/// Whether the numbers can be taken for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figures {
    /// Measured on networks that were trained to their end.
    Measured,
    /// From a run of a few steps that only shows that everything works.
    Meaningless,
}

/// One line of the table: a network and a way of sampling from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    #[serde(flatten)]
    pub measured: eval::Row,
    /// The sampler in full; empty of real clips.
    pub sampler: String,
    /// Whether it was trained for its steps by Stage III.
    pub distilled: bool,
    /// What a reader must know of this line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The flow-matching loss on fixed held-out clips.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Losses {
    /// The teacher, whole.
    pub teacher: f64,
    /// The teacher without the removed blocks, before any training.
    pub untrained: f64,
    /// The same blocks removed after the first phase of Stage II (random masks), where that was measured.
    pub random_masks: Option<f64>,
    /// The same after Stage II.
    pub pruned: f64,
}

/// A clip on the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// What was asked for.
    pub caption: String,
    /// What was given.
    pub condition: Condition,
    /// The teacher's file, in the folder of the list.
    pub teacher: String,
    /// The student's, from the same noise.
    pub student: String,
    /// The real clip whose first frame was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<String>,
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Version of this program.
    pub version: String,
    /// The world and the configuration.
    pub preset: String,
    /// Whether the numbers can be taken for anything.
    pub figures: Figures,
    /// Seed of everything.
    pub seed: u64,
    /// Measured sampling time of the teacher over that of the student.
    pub sampling_speedup: f64,
    /// The same if only transformer blocks took time: block evaluations over block evaluations.
    pub sampling_speedup_theory: f64,
    /// Parameters of the student over those of the teacher.
    pub parameter_ratio: f64,
    /// Captions of each line of the table.
    pub prompts: usize,
    /// Name of the line that the student is compared with.
    pub teacher: String,
    /// Name of the student's line.
    pub student: String,
    /// The table.
    pub rows: Vec<Row>,
    /// Validation losses of the stages.
    pub validation: Losses,
    /// Stage I.
    pub audit: Audit,
    /// How good the measure is: the evaluation network on held-out real clips, its hash, and so on.
    pub evaluation: serde_json::Map<String, serde_json::Value>,
    /// Wall-clock seconds of each part. Of a demo that was interrupted: since it was resumed.
    pub seconds: BTreeMap<String, f64>,
    /// What was done otherwise than the configuration makes one expect.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Summary {
    /// The line of a name under a condition.
    pub fn row(&self, name: &str, condition: Condition) -> Option<&Row> {
        self.under(condition).find(|row| row.measured.name == name)
    }

    /// The lines under a condition.
    pub fn under(&self, condition: Condition) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.measured.condition == condition)
    }

    /// Teacher and student under a condition, where both were measured.
    pub fn pair(&self, condition: Condition) -> Option<(&Row, &Row)> {
        self.row(&self.teacher, condition).zip(self.row(&self.student, condition))
    }
}

/// Block evaluations for one clip: what sampling would cost if nothing else took time.
pub fn block_calls(cost: &Cost) -> usize {
    cost.network_calls * cost.blocks
}
