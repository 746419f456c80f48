//! A network that is being trained: its weights, their moving average, and what updates them.

use flg_engine::{Cx, Grads, Key, ParamStore, Precision, SavedAs};
use flg_model::{BlockMask, Wan, WanConfig};

use super::adapters::Adapters;
use crate::config::OptimizerConfig;
use crate::error::Result;
use crate::optim::{self, Optimizer, Update, lr_factor};

/// Architecture, weights, average, optimiser.
#[derive(Debug)]
pub struct Learner {
    /// The architecture.
    pub wan: Wan,
    /// What gradients change.
    pub weights: ParamStore,
    /// What is evaluated and exported.
    pub average: ParamStore,
    /// The moments.
    pub optimizer: Optimizer,
    /// What the optimiser changes, where that is not the weights themselves.
    pub adapters: Option<Adapters>,
    config: OptimizerConfig,
    precision: Precision,
    saved_as: SavedAs,
}

/// What one update did.
#[derive(Clone, Copy, Debug)]
pub struct Updated {
    /// Norm of the gradient before clipping. Not finite: nothing was updated.
    pub norm: f64,
    /// Learning rate over its peak.
    pub lr_factor: f64,
}

impl Learner {
    /// A learner that starts from `weights`; its average starts there too.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn new(wan: Wan, weights: ParamStore, config: &OptimizerConfig, precision: Precision) -> Result<Self> {
        let optimizer = Optimizer::new(config, &weights)?;
        Self::with(wan, weights, (optimizer, None), config, precision)
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
        Self::with(wan, weights, (optimizer, Some(adapters)), config, precision)
    }

    fn with(
        wan: Wan,
        weights: ParamStore,
        (optimizer, adapters): (Optimizer, Option<Adapters>),
        config: &OptimizerConfig,
        precision: Precision,
    ) -> Result<Self> {
        let average = weights.deep_copy()?;
        let mut learner = Learner {
            wan,
            weights,
            average,
            optimizer,
            adapters,
            config: config.clone(),
            precision,
            saved_as: SavedAs::Computed,
        };
        learner.refresh()?;
        Ok(learner)
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

    /// Clips `grads` and updates the weights; update `number` (from 1) out of `total`.
    ///
    /// # Errors
    /// Gradients of another network.
    pub fn update(&mut self, grads: &Grads, number: u64, total: u64) -> Result<Updated> {
        let adapted = self.adapters.as_ref().map(|adapters| adapters.gradients(grads)).transpose()?;
        let grads = adapted.as_ref().unwrap_or(grads);
        let clipped = optim::clip(grads, self.config.clip)?;
        let lr_factor = lr_factor(&self.config, number, total);
        if clipped.norm.is_finite() {
            let update = Update { number, lr_factor, grad_scale: clipped.scale };
            let trained = self.adapters.as_mut().map_or(&mut self.weights, Adapters::factors_mut);
            self.optimizer.step(trained, grads, update)?;
            self.refresh()?;
        }
        Ok(Updated { norm: clipped.norm, lr_factor })
    }

    /// Moves the average towards the weights.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn follow(&mut self, decay: f64) -> Result<()> {
        Ok(optim::update_ema(&mut self.average, &self.weights, decay)?)
    }

    /// Makes anew what follows from what is trained: adapted weights, and the bf16 copies where passes read those. After
    /// every change.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn refresh(&mut self) -> Result<()> {
        if let Some(adapters) = &self.adapters {
            adapters.merge(&mut self.weights)?;
        }
        if self.precision == Precision::Bf16 {
            self.weights.refresh_shadows(flg_model::wan::reads_low_precision)?;
        }
        Ok(())
    }
}
