//! Teacher training: flow matching with text drop and, for a part of every batch, a given first frame.
//!
//! `L = E[w(t) mean over generated elements of (v(x_t, t, c) - (eps - x0))^2]`.

use flg_engine::{Grads, Key, ParamStore};
use flg_model::{Checkpointing, Wan, WanConfig};
use serde_json::Value;

use super::Setup;
use super::drawing::Drawing;
use super::learner::Learner;
use super::micro_batch;
use super::validation::Validation;
use crate::config::TrainConfig;
use crate::error::Result;
use crate::method::{Method, Metrics, NetworkRef, State, StateMut};
use crate::optim::{self, Progress};
use crate::perturb::Density;

/// What the samples of training are drawn under, apart from every other use of the world.
const STREAM: u32 = 1;

/// Trains a network from scratch, or goes on with a given one.
#[derive(Debug)]
pub struct FlowMatching {
    setup: Setup,
    config: TrainConfig,
    key: Key,
    learner: Learner,
    validation: Validation,
    record: Value,
}

impl FlowMatching {
    /// A fresh network of shape `model`, its weights drawn from the seed.
    ///
    /// # Errors
    /// A shape that no network can have.
    pub fn new(setup: Setup, model: WanConfig, config: TrainConfig) -> Result<Self> {
        let mut weights = ParamStore::new(setup.task.device());
        let wan = Wan::init(model, &mut weights, Key::new(setup.seed).name("init"))?;
        Self::continued(setup, (wan, weights), config)
    }

    /// Goes on with given weights.
    ///
    /// # Errors
    /// A world without held-out clips.
    pub fn continued(setup: Setup, (wan, weights): (Wan, ParamStore), config: TrainConfig) -> Result<Self> {
        let checkpointing = if config.recompute_blocks { Checkpointing::PerBlock } else { Checkpointing::Off };
        let learner = Learner::new(wan.with_checkpointing(checkpointing), weights, &config.optimizer, setup.precision)?
            .with_average()?
            .with_saved(config.saved_activations.into());
        let clips = if config.validate_every == 0 { 0 } else { config.validation_clips };
        let validation = Validation::new(&setup, clips, config.shift, config.first_frame)?;
        let key = Key::new(setup.seed).name("flow matching");
        Ok(FlowMatching { setup, config, key, learner, validation, record: Value::Null })
    }

    /// The architecture and the averaged weights: what is exported.
    pub fn averaged(&self) -> (&Wan, &ParamStore) {
        (&self.learner.wan, &self.learner.average)
    }

    /// One micro-batch: adds its gradients, returns its part of the loss.
    fn accumulate(&self, step: u64, micro: usize, grads: &mut Grads) -> Result<f64> {
        let c = &self.config;
        let key = self.key.at(step).at(micro as u64);
        let batch = c.batch / c.micro_batches;
        let first = step * c.batch as u64 + (micro * batch) as u64;
        let levels = self.setup.levels;
        let density = Density { kind: c.density, mean: c.logit_mean, std: c.logit_std, shift: c.shift, levels };
        let drawing = Drawing { stream: STREAM, batch, density, text_drop: c.text_drop, first_frame: c.first_frame };
        let drawn = drawing.draw(&self.setup, key, first)?;
        let weights = c.weight.weigh(&drawn.noised, c.shift)?;
        let cx = self.learner.training();
        let v = drawn.forward(&self.learner.wan, &cx, &self.learner.all_blocks())?;
        let loss = cx.squared_error(&v, &drawn.noised.velocity, Some(&weights), 1.0)?;
        let value = f64::from(loss.value().item()?);
        cx.backward(&loss, 1.0 / c.micro_batches as f32, grads)?;
        Ok(value / c.micro_batches as f64)
    }
}

impl Method for FlowMatching {
    fn name(&self) -> &'static str {
        "train"
    }

    fn step(&mut self, step: u64) -> Result<Metrics> {
        let parts = self.config.micro_batches;
        let (losses, grads) = micro_batch::run(parts, &self.learner, |i, grads| self.accumulate(step, i, grads))?;
        let loss = losses.iter().sum::<f64>();
        let number = step + 1;
        let progress = Progress { number, total: self.config.steps };
        let updated = self.learner.update(grads, progress, Some(optim::decay_at(self.config.ema, number)))?;
        let mut metrics = vec![("loss", loss), ("grad_norm", updated.norm), ("lr_factor", updated.lr_factor)];
        if self.config.validate_every > 0 && number.is_multiple_of(self.config.validate_every) {
            let (wan, average) = self.averaged();
            metrics.push(("validation_loss", self.validation.loss(wan, average, &self.learner.all_blocks())?));
        }
        Ok(metrics)
    }

    fn state(&self) -> State<'_> {
        let network = |name, weights| NetworkRef { name, config: self.learner.config(), weights, few_step: None };
        State {
            networks: vec![network("transformer", &self.learner.weights), network("ema", &self.learner.average)],
            moments: vec![("optimizer", self.learner.optimizer.moments())],
            record: self.record.clone(),
        }
    }

    fn state_mut(&mut self) -> StateMut<'_> {
        StateMut {
            networks: vec![("transformer", &mut self.learner.weights), ("ema", &mut self.learner.average)],
            moments: vec![("optimizer", self.learner.optimizer.moments_mut())],
            record: &mut self.record,
        }
    }

    fn restored(&mut self) -> Result<()> {
        self.learner.refresh()
    }
}
