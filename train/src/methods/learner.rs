//! A network that is being trained: its weights, their moving average, and what updates them.

use flg_engine::{Cx, DType, Grads, Key, ParamStore, Precision, SavedAs};
use flg_model::wan::reads_low_precision;
use flg_model::{BlockMask, Checkpointing, Wan, WanConfig};

use super::adapters::Adapters;
use crate::config::OptimizerConfig;
use crate::error::Result;
use crate::optim::{Optimizer, Progress, Trained, Updated};

/// Architecture, weights, average, optimiser.
#[derive(Debug)]
pub struct Learner {
    /// The architecture.
    pub wan: Wan,
    /// What gradients change.
    pub weights: ParamStore,
    /// What is evaluated and exported; empty without [`Learner::with_average`].
    pub average: ParamStore,
    /// The moments.
    pub optimizer: Optimizer,
    /// What the optimiser changes, where that is not the weights themselves.
    pub adapters: Option<Adapters>,
    precision: Precision,
    saved_as: SavedAs,
}

impl Learner {
    /// A learner that starts from `weights`, f32.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn new(wan: Wan, weights: ParamStore, config: &OptimizerConfig, precision: Precision) -> Result<Self> {
        let optimizer = Optimizer::new(config, &weights)?;
        Self::with(wan, weights, (optimizer, None), precision)
    }

    /// A learner of which only low-rank adapters of the blocks are trained; `key` draws them.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn adapted(
        wan: Wan,
        weights: ParamStore,
        (rank, key): (usize, Key),
        config: &OptimizerConfig,
        precision: Precision,
    ) -> Result<Self> {
        let adapters = Adapters::new(&weights, rank, key)?;
        let optimizer = Optimizer::new(config, adapters.factors())?;
        Self::with(wan, weights, (optimizer, Some(adapters)), precision)
    }

    fn with(
        wan: Wan,
        weights: ParamStore,
        (optimizer, adapters): (Optimizer, Option<Adapters>),
        precision: Precision,
    ) -> Result<Self> {
        let average = ParamStore::new(weights.device());
        let saved_as = SavedAs::Computed;
        let mut learner = Learner { wan, weights, average, optimizer, adapters, precision, saved_as };
        learner.refresh()?;
        Ok(learner)
    }

    /// The same learner with a moving average, f32, that starts from its weights.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn with_average(self) -> Result<Self> {
        Ok(Learner { average: trainable(&self.weights)?, ..self })
    }

    /// The same learner with another choice of what its recorded passes keep of blocks.
    pub fn with_checkpointing(self, checkpointing: Checkpointing) -> Self {
        Learner { wan: self.wan.with_checkpointing(checkpointing), ..self }
    }

    /// The same learner with another choice of what its recorded passes keep activations as.
    pub fn with_saved(self, saved_as: SavedAs) -> Self {
        Learner { saved_as, ..self }
    }

    /// The architecture's configuration.
    pub fn config(&self) -> &WanConfig {
        self.wan.config()
    }

    /// The mask that keeps every block.
    pub fn all_blocks(&self) -> BlockMask {
        BlockMask::all(self.config().num_layers)
    }

    /// A recorded pass with these weights.
    pub fn training(&self) -> Cx<'_> {
        Cx::training(&self.weights).with_precision(self.precision).with_saved(self.saved_as)
    }

    /// A table of the gradients of what is trained, for backward passes.
    pub fn no_gradients(&self) -> Grads {
        self.adapters.as_ref().map_or_else(|| Grads::new(&self.weights), Adapters::no_gradients)
    }

    /// Clips `grads`, which began as [`Learner::no_gradients`], and updates the weights; `follow` is the decay with which the average then follows them, where it
    /// does.
    ///
    /// # Errors
    /// Gradients of another network.
    pub fn update(&mut self, grads: Grads, progress: Progress, follow: Option<f64>) -> Result<Updated> {
        let Some(adapters) = &mut self.adapters else {
            let average = follow.map(|decay| (&mut self.average, decay));
            let trained = Trained { weights: &mut self.weights, average };
            let updated = self.optimizer.update(trained, &grads, progress)?;
            self.refresh()?;
            return Ok(updated);
        };
        let grads = grads.detached();
        let updated = self.optimizer.update(Trained::alone(adapters.factors_mut()), &grads, progress)?;
        if let Some(decay) = follow {
            adapters.average(&mut self.average, decay)?;
        }
        self.refresh()?;
        Ok(updated)
    }

    /// Makes anew what follows from what is trained: adapted weights, and the bf16 copies where passes read those. After
    /// every change.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn refresh(&mut self) -> Result<()> {
        if let Some(adapters) = &self.adapters {
            adapters.merge(&mut self.weights, self.precision)?;
        }
        if self.precision == Precision::Bf16 {
            // Adapted matrices are bf16 themselves, and their copy is no copy.
            self.weights.refresh_shadows(reads_low_precision)?;
        }
        Ok(())
    }
}

/// Weights to train that began as these: f32, and sharing nothing.
///
/// # Errors
/// None of the caller's making.
pub fn trainable(weights: &ParamStore) -> Result<ParamStore> {
    let mut wide = ParamStore::new(weights.device());
    for (_, name, value) in weights.iter() {
        wide.insert(name, if value.dtype() == DType::F32 { value.copy()? } else { value.cast(DType::F32)? })?;
    }
    Ok(wide)
}
