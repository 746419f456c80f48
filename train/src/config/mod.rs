//! What a run does, as data: one struct a stage, every switch named, every default written down.
//!
//! A [`Config`] is the defaults, changed by a preset, then by a file, then by `--set` ([`Layers`]). A layer names only
//! what it changes; a key that no stage knows is refused with the nearest one that exists. What results is written to
//! the run folder in full, so that a run can be repeated after the defaults have changed.

mod audit;
mod data;
mod distill;
mod error;
mod eval;
mod layers;
mod model;
mod optimizer;
mod prune;
mod range;
mod run;
mod sample;
mod train;

pub use audit::{AuditConfig, Criterion, Estimator, LossWeight, Selection};
pub use data::DataConfig;
pub use distill::{
    Critic, DistillConfig, Exit, GradientScale, GuidanceForm, Rollout, RolloutInput, Strengths, Student, TimeRange,
    WeakMask, WellGuided,
};
pub use error::{Error, Result};
pub use eval::EvalConfig;
pub use layers::{Layers, PRESETS};
pub use model::ModelConfig;
pub use optimizer::{Decay, OptimizerConfig, OptimizerKind};
pub use prune::{MaskSampler, PruneConfig, Target};
pub use run::{PrecisionKind, RunConfig};
pub use sample::{SampleConfig, SolverKind};
pub use train::{TimeDensity, TimeWeight, TrainConfig};

/// Every switch of every stage. The TOML file has one table a field.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Seed, checkpoints, guard: what all stages share.
    pub run: RunConfig,
    /// Where clips and captions come from.
    pub data: DataConfig,
    /// The teacher's architecture.
    pub model: ModelConfig,
    /// Training of the teacher.
    pub train: TrainConfig,
    /// Stage I: what each block is worth.
    pub audit: AuditConfig,
    /// Stage II: the network learns to do without some blocks.
    pub prune: PruneConfig,
    /// Stage III: the pruned network learns to sample in few steps.
    pub distill: DistillConfig,
    /// How the teacher samples.
    pub sample: SampleConfig,
    /// What is measured, and on how many clips.
    pub eval: EvalConfig,
}

impl Config {
    /// Checks every range that the types do not enforce.
    ///
    /// # Errors
    /// [`Error::Range`], which names the key.
    pub fn check(&self) -> Result<()> {
        self.run.check()?;
        self.data.check()?;
        self.model.check()?;
        self.train.check()?;
        self.audit.check()?;
        self.prune.check()?;
        self.distill.check()?;
        self.sample.check()?;
        self.eval.check()
    }

    /// The whole configuration as a TOML file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a tree of numbers, names and lists can always be written as TOML")
    }
}
