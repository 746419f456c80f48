//! Algorithms that change weights: one file (or folder) each, all behind [`crate::method::Method`].
//!
//! What they share has a file of its own: a noised batch ([`drawing`]), a network with its optimiser ([`learner`]), which
//! may train low-rank factors only ([`adapters`]), parts of a batch side by side ([`micro_batch`]), a fixed loss to
//! compare by ([`validation`]).

pub mod adapters;
pub mod distill;
pub mod drawing;
pub mod flow_matching;
pub mod learner;
pub mod mask;
pub mod micro_batch;
pub mod prune;
pub mod validation;

pub use distill::Distill;
pub use flow_matching::FlowMatching;
pub use prune::Prune;

use flg_engine::{Precision, SavedAs};

use crate::config::PrecisionKind;
use crate::levels::Levels;
use crate::task::Task;

/// What every method is given beside its own configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Clips and captions.
    pub task: Task,
    /// Every random number is a function of this, a purpose and a step.
    pub seed: u64,
    /// Of recorded passes.
    pub precision: Precision,
    /// Noise levels that the network is asked at.
    pub levels: Levels,
}

impl From<PrecisionKind> for SavedAs {
    fn from(kind: PrecisionKind) -> Self {
        match kind {
            PrecisionKind::F32 => SavedAs::Computed,
            PrecisionKind::Bf16 => SavedAs::Bf16,
        }
    }
}

impl From<PrecisionKind> for Precision {
    fn from(kind: PrecisionKind) -> Self {
        match kind {
            PrecisionKind::F32 => Precision::F32,
            PrecisionKind::Bf16 => Precision::Bf16,
        }
    }
}
