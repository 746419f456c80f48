//! Stage II, dynamic probabilistic pruning: one set of weights that works at any depth.
//!
//! Each micro-batch runs with a random part of the unimportant blocks skipped; its output imitates that of the unpruned
//! network, `L = alpha |f_p - sg f_u|^2 + (1 - alpha) |f_p - v|^2` over generated elements. Both terms are squared
//! distances from constants, so their gradient is that of one distance from `alpha f_u + (1 - alpha) v`. A third term,
//! off by default, compares the residual streams behind the blocks that ran (Fang et al., "TinyFusion", 2024, without
//! their clipping of large activations).
//!
//! The second phase fixes the mask to the blocks that will be removed: small networks need it, because Bernoulli(1/2)
//! hits the full set once in `2^n` draws.

use flg_engine::{Cx, DType, Grads, Key, ParamStore, Tensor, Var};
use flg_model::{BlockMask, Checkpointing, Wan};
use serde_json::{Value, json};

use super::Setup;
use super::drawing::{Drawing, Drawn};
use super::learner::{Learner, trainable};
use super::mask::Masks;
use super::micro_batch;
use super::validation::Validation;
use crate::config::{PruneConfig, Target};
use crate::error::Result;
use crate::method::{Method, Metrics, NetworkRef, State, StateMut};
use crate::optim::{self, Progress};
use crate::perturb::Density;

/// What the samples of this stage are drawn under.
const STREAM: u32 = 2;

/// The network, what it imitates, and its moving average.
#[derive(Debug)]
pub struct Prune {
    setup: Setup,
    config: PruneConfig,
    key: Key,
    masks: Masks,
    learner: Learner,
    /// What the pruned output imitates, where that is not the learner itself: the weights that the stage started from
    /// (a resumed run is given them again), or a second average.
    target: Option<ParamStore>,
    validation: Validation,
    record: Value,
}

/// Which blocks matter, as the audit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// All blocks, the least important first.
    pub ranked: Vec<usize>,
    /// Those that the pruned network will lack.
    pub removed: Vec<usize>,
}

impl Prune {
    /// Starts from a trained network; where that is imitated, its weights stay as they are stored.
    ///
    /// # Errors
    /// Blocks that the network does not have; a world without held-out clips.
    pub fn new(setup: Setup, (wan, weights): (Wan, ParamStore), choice: &Choice, config: PruneConfig) -> Result<Self> {
        let masks = Masks::new(wan.config().num_layers, &choice.ranked, &choice.removed, &config)?;
        let checkpointing = if config.recompute_blocks { Checkpointing::PerBlock } else { Checkpointing::Off };
        let trained = trainable(&weights)?;
        let target = match config.target {
            Target::SelfSg => None,
            Target::Frozen => Some(weights),
            Target::EmaSelf => Some(trainable(&weights)?),
        };
        let learner = Learner::new(wan.with_checkpointing(checkpointing), trained, &config.optimizer, setup.precision)?
            .with_average()?;
        let clips = if config.validate_every == 0 { 0 } else { config.validation_clips };
        let validation = Validation::new(&setup, clips, config.shift, config.first_frame)?;
        let record = json!({ "removed": choice.removed, "ranked": choice.ranked });
        let key = Key::new(setup.seed).name("prune");
        Ok(Prune { setup, config, key, masks, learner, target, validation, record })
    }

    /// The architecture and the averaged weights: unpruned and pruned network in one.
    pub fn averaged(&self) -> (&Wan, &ParamStore) {
        (&self.learner.wan, &self.learner.average)
    }

    /// The blocks that remain in the end.
    pub fn end(&self) -> &BlockMask {
        self.masks.end()
    }

    /// The velocity, and the residual streams where they are compared.
    fn pass(&self, drawn: &Drawn, cx: &Cx<'_>, mask: &BlockMask) -> Result<(Vec<(usize, Var)>, Var)> {
        let wan = &self.learner.wan;
        if self.config.feature > 0.0 {
            drawn.streams(wan, cx, mask)
        } else {
            Ok((Vec::new(), drawn.forward(wan, cx, mask)?))
        }
    }

    /// `alpha f_u + (1 - alpha) v`, and the residual stream of `f_u` behind each block where features are compared.
    fn target(&self, drawn: &Drawn) -> Result<(Tensor, Vec<(usize, Var)>)> {
        let (alpha, velocity) = (self.config.alpha as f32, &drawn.noised.velocity);
        if alpha == 0.0 && self.config.feature == 0.0 {
            return Ok((velocity.clone(), Vec::new()));
        }
        let cx = Cx::inference(self.target.as_ref().unwrap_or(&self.learner.weights));
        let (streams, unpruned) = self.pass(drawn, &cx, self.masks.all())?;
        if alpha == 1.0 {
            return Ok((unpruned.value().clone(), streams));
        }
        Ok((unpruned.value().combine(alpha, velocity, 1.0 - alpha)?, streams))
    }

    /// The mean over the blocks that ran of the squared distance between the residual streams behind them.
    fn feature_loss(&self, cx: &Cx<'_>, pruned: &[(usize, Var)], unpruned: &[(usize, Var)]) -> Result<Option<Var>> {
        let mut sum: Option<Var> = None;
        for (block, stream) in pruned {
            let Some((_, target)) = unpruned.iter().find(|(other, _)| other == block) else { continue };
            let distance = cx.mse(&cx.cast(stream, DType::F32)?, target.value())?;
            sum = Some(match sum {
                None => distance,
                Some(sum) => cx.combine(1.0, &sum, 1.0, &distance)?,
            });
        }
        let share = 1.0 / pruned.len().max(1) as f32;
        Ok(sum.map(|sum| cx.combine(share, &sum, 0.0, &sum)).transpose()?)
    }

    /// One micro-batch with a mask of its own; both passes see the same noise, times and captions.
    fn accumulate(&self, step: u64, micro: usize, grads: &mut Grads) -> Result<f64> {
        let c = &self.config;
        let key = self.key.at(step).at(micro as u64);
        let batch = c.batch / c.micro_batches;
        let first = step * c.batch as u64 + (micro * batch) as u64;
        let density = Density::stratified(c.shift, self.setup.levels);
        let drawing = Drawing { stream: STREAM, batch, density, text_drop: c.text_drop, first_frame: c.first_frame };
        let drawn = drawing.draw(&self.setup, key, first)?;
        let (target, unpruned_streams) = self.target(&drawn)?;
        let mask = self.masks.draw(step, key.name("mask"))?;
        let cx = self.learner.training();
        let (streams, pruned) = self.pass(&drawn, &cx, &mask)?;
        let mut loss = cx.squared_error(&pruned, &target, Some(&drawn.noised.weights), 1.0)?;
        if let Some(distance) = self.feature_loss(&cx, &streams, &unpruned_streams)? {
            loss = cx.combine(1.0, &loss, c.feature as f32, &distance)?;
        }
        let value = f64::from(loss.value().item()?);
        cx.backward(&loss, 1.0 / c.micro_batches as f32, grads)?;
        Ok(value / c.micro_batches as f64)
    }
}

impl Method for Prune {
    fn name(&self) -> &'static str {
        "prune"
    }

    fn step(&mut self, step: u64) -> Result<Metrics> {
        let parts = self.config.micro_batches;
        let (losses, grads) = micro_batch::run(parts, &self.learner, |i, grads| self.accumulate(step, i, grads))?;
        let loss = losses.iter().sum::<f64>();
        let number = step + 1;
        let progress = Progress { number, total: self.config.steps() };
        let updated = self.learner.update(grads, progress, Some(optim::decay_at(self.config.ema, number)))?;
        if let (Target::EmaSelf, Some(target)) = (self.config.target, &mut self.target) {
            optim::update_ema(target, &self.learner.weights, self.config.target_ema)?;
        }
        let mut metrics = vec![("loss", loss), ("grad_norm", updated.norm), ("lr_factor", updated.lr_factor)];
        if self.config.validate_every > 0 && number.is_multiple_of(self.config.validate_every) {
            let (wan, average) = self.averaged();
            metrics.push(("validation_unpruned", self.validation.loss(wan, average, self.masks.all())?));
            metrics.push(("validation_pruned", self.validation.loss(wan, average, self.masks.end())?));
        }
        Ok(metrics)
    }

    fn state(&self) -> State<'_> {
        let network = |name, weights| NetworkRef { name, config: self.learner.config(), weights, few_step: None };
        let mut networks = vec![network("transformer", &self.learner.weights), network("ema", &self.learner.average)];
        if self.config.target == Target::EmaSelf {
            networks.extend(self.target.as_ref().map(|weights| network("target", weights)));
        }
        State { networks, moments: vec![("optimizer", self.learner.optimizer.moments())], record: self.record.clone() }
    }

    fn state_mut(&mut self) -> StateMut<'_> {
        let mut networks = vec![("transformer", &mut self.learner.weights), ("ema", &mut self.learner.average)];
        if self.config.target == Target::EmaSelf {
            networks.extend(self.target.as_mut().map(|weights| ("target", weights)));
        }
        StateMut {
            networks,
            moments: vec![("optimizer", self.learner.optimizer.moments_mut())],
            record: &mut self.record,
        }
    }

    fn restored(&mut self) -> Result<()> {
        self.learner.refresh()
    }
}
