//! The critic: a network that keeps learning what the student's clips look like, by flow matching.

use flg_engine::{Cx, Grads, Key, ParamStore, Tensor, Var};
use flg_model::{Checkpointing, Wan};

use super::adversary::{Adversary, Origin};
use crate::condition::Condition;
use crate::config::{Critic as CriticKind, DistillConfig};
use crate::error::Result;
use crate::methods::Setup;
use crate::methods::learner::{Learner, trainable};
use crate::methods::micro_batch;
use crate::optim::Progress;
use crate::perturb::Perturbed;

/// A network of its own, started from the Stage II weights, as large as the teacher or as the student.
#[derive(Debug)]
pub struct Critic {
    /// The network and its optimiser, without an average.
    pub learner: Learner,
    /// The discriminator on its features, where the student is trained against one.
    pub adversary: Option<Adversary>,
    /// Weight of the discriminator's loss beside the critic's own.
    share: f32,
    /// Updates in the whole run, for the learning rate.
    total: u64,
}

/// What a part of an update learns from.
#[derive(Debug)]
pub struct Example<'a> {
    /// The student's clips, noised.
    pub made: Perturbed,
    /// Real clips of the same captions, noised to the same levels; the discriminator looks at them.
    pub real: Option<Perturbed>,
    /// What both are of.
    pub condition: &'a Condition,
}

impl Critic {
    /// The critic that the configuration asks for.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn new(
        setup: &Setup,
        teacher: (&Wan, &ParamStore),
        student: (&Wan, &ParamStore),
        config: &DistillConfig,
    ) -> Result<Self> {
        let (wan, weights) = match config.critic {
            CriticKind::Full | CriticKind::Lora => teacher,
            CriticKind::Pruned => student,
        };
        let (wan, optimizer) = (wan.clone(), &config.critic_optimizer);
        let learner = match config.critic {
            CriticKind::Full | CriticKind::Pruned => {
                Learner::new(wan, trainable(weights)?, optimizer, setup.precision)?
            }
            CriticKind::Lora => {
                let adapters = (config.critic_rank, Key::new(setup.seed).name("critic adapters"));
                Learner::adapted(wan, weights.clone(), adapters, optimizer, setup.precision)?
            }
        };
        let checkpointing = if config.recompute_blocks { Checkpointing::PerBlock } else { Checkpointing::Off };
        let learner = learner.with_checkpointing(checkpointing);
        let total = config.steps * config.critic_updates as u64 + config.critic_warmup as u64;
        let width = learner.config().inner_dim();
        let adversary =
            if config.gan > 0.0 { Some(Adversary::new(setup, width, &config.critic_optimizer)?) } else { None };
        Ok(Critic { learner, adversary, share: config.gan_critic as f32, total })
    }

    /// The residual stream behind the last block, and the velocity, with the captions: a critic is never guided.
    /// `joined` are the noised latents as [`Condition::beside`] gives them.
    fn pass(&self, cx: &Cx<'_>, joined: &Var, noised: &Perturbed, condition: &Condition) -> Result<[Var; 2]> {
        let wan = &self.learner.wan;
        let embedded = condition.embed(wan, cx, joined, &noised.time)?;
        let (start, layers, all) = (embedded.tokens.clone(), wan.config().num_layers, self.learner.all_blocks());
        let stream = wan.blocks(cx, &embedded, start, 0..layers, &all)?;
        let v = wan.head(cx, &embedded, &stream)?;
        Ok([stream, v])
    }

    /// Its velocity.
    ///
    /// # Errors
    /// Tensors of different shapes.
    pub fn velocity(&self, noised: &Perturbed, condition: &Condition) -> Result<Tensor> {
        let cx = Cx::inference(&self.learner.weights);
        let [_, v] = self.pass(&cx, &cx.input(condition.beside(&noised.x)?), noised, condition)?;
        Ok(v.value().clone())
    }

    /// The gradient of `L_G`, that the discriminator takes the student's noised clips for real ones, with respect to
    /// these; `None` without a discriminator.
    ///
    /// # Errors
    /// Tensors of different shapes.
    pub fn adversarial_gradient(&self, noised: &Perturbed, condition: &Condition) -> Result<Option<Tensor>> {
        let Some(adversary) = &self.adversary else { return Ok(None) };
        let weights = &self.learner.weights;
        let recorded = Cx::training(weights);
        let cx = recorded.through(weights);
        let x = cx.watched_input(condition.beside(&noised.x)?);
        let [stream, _] = self.pass(&cx, &x, noised, condition)?;
        let loss = adversary.judge(&cx).loss(&cx, &stream, (&noised.first, self.frames(noised)), Origin::Real)?;
        drop(cx);
        let one = Tensor::full(weights.device(), 1.0, [1])?;
        let found = recorded.vjp(&loss, one, &mut Grads::new(weights))?;
        // What stands beside the latents is given, and does not move.
        let channels = noised.x.dims()[1];
        Ok(found.get(&x).map(|gradient| gradient.narrow(1, 0, channels)?.contiguous()).transpose()?)
    }

    /// Rows of tokens of a clip.
    fn frames(&self, noised: &Perturbed) -> usize {
        noised.x.dims()[2] / self.learner.config().patch_size[0]
    }

    /// Update `number` (from 1) on the student's noised clips, in parts; returns its loss, without the discriminator's.
    ///
    /// # Errors
    /// Tensors of different shapes.
    pub fn update(&mut self, parts: &[Example<'_>], number: u64) -> Result<f64> {
        let share = 1.0 / parts.len().max(1) as f32;
        let (found, grads) =
            micro_batch::run(parts.len(), &self.learner, |i, grads| self.accumulate(&parts[i], share, grads))?;
        let progress = Progress { number, total: self.total };
        self.learner.update(grads, progress, None)?;
        let (losses, judges): (Vec<f64>, Vec<Option<Grads>>) = found.into_iter().unzip();
        if let Some(adversary) = &mut self.adversary {
            let mut sum = Grads::new(&adversary.weights);
            judges.into_iter().flatten().try_for_each(|grads| sum.add_all(grads))?;
            adversary.update(&sum, progress)?;
        }
        Ok(losses.iter().sum())
    }

    /// One part: adds the network's gradients, returns its share of the loss and the discriminator's gradients.
    fn accumulate(&self, part: &Example<'_>, share: f32, grads: &mut Grads) -> Result<(f64, Option<Grads>)> {
        let Example { made, real, condition } = part;
        let cx = self.learner.training();
        let [stream, v] = self.pass(&cx, &cx.input(condition.beside(&made.x)?), made, condition)?;
        let mut loss = cx.squared_error(&v, &made.velocity, Some(&made.weights), share)?;
        let value = f64::from(loss.value().item()?);
        let mut judge = None;
        if let (Some(adversary), Some(real)) = (&self.adversary, real) {
            let drawn = adversary.judge(&cx);
            let [real_stream, _] = self.pass(&cx, &cx.input(condition.beside(&real.x)?), real, condition)?;
            let place = (&made.first[..], self.frames(made));
            let told =
                [drawn.loss(&cx, &stream, place, Origin::Made)?, drawn.loss(&cx, &real_stream, place, Origin::Real)?];
            let told = cx.combine(1.0, &told[0], 1.0, &told[1])?;
            loss = cx.combine(1.0, &loss, share * self.share, &told)?;
            judge = Some((adversary, drawn));
        }
        let one = Tensor::full(cx.device(), 1.0, loss.value().shape())?;
        let found = cx.vjp(&loss, one, grads)?;
        let judged = judge.map(|(adversary, drawn)| adversary.gradients(&drawn, &found)).transpose()?;
        Ok((value, judged))
    }
}
