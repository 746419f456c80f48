//! The critic: a network that keeps learning what the student's clips look like, by flow matching.

use flg_engine::{Cx, ParamStore, Tensor};
use flg_model::{Inputs, Wan};

use crate::config::{Critic as CriticKind, DistillConfig};
use crate::error::Result;
use crate::methods::Setup;
use crate::methods::learner::Learner;
use crate::methods::micro_batch;
use crate::perturb::Perturbed;

/// A network of its own, started from the Stage II weights, as large as the teacher or as the student.
#[derive(Debug)]
pub struct Critic {
    /// The network and its optimiser; its average is not used.
    pub learner: Learner,
    /// Updates in the whole run, for the learning rate.
    total: u64,
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
            CriticKind::Full => teacher,
            CriticKind::Pruned => student,
        };
        let learner = Learner::new(wan.clone(), weights.deep_copy()?, &config.critic_optimizer, setup.precision)?;
        let total = config.steps * config.critic_updates as u64 + config.critic_warmup as u64;
        Ok(Critic { learner, total })
    }

    /// Its velocity with the captions; a critic is never guided.
    ///
    /// # Errors
    /// Tensors of different shapes.
    pub fn velocity(&self, noised: &Perturbed, text: &Tensor) -> Result<Tensor> {
        let cx = Cx::inference(&self.learner.weights);
        let (latents, text) = (cx.input(noised.x.clone()), cx.input(text.clone()));
        let inputs = Inputs { latents: &latents, time: &noised.time, text: &text };
        Ok(self.learner.wan.forward(&cx, &inputs, &self.learner.all_blocks())?.value().clone())
    }

    /// Update `number` (from 1) on the student's noised clips, in parts; returns its loss.
    ///
    /// # Errors
    /// Tensors of different shapes.
    pub fn update(&mut self, parts: &[(Perturbed, &Tensor)], number: u64) -> Result<f64> {
        let share = 1.0 / parts.len().max(1) as f32;
        let (losses, grads) = micro_batch::run(parts.len(), &self.learner.weights, |i, grads| {
            let (noised, text) = &parts[i];
            let cx = self.learner.training();
            let (latents, text) = (cx.input(noised.x.clone()), cx.input(Tensor::clone(text)));
            let inputs = Inputs { latents: &latents, time: &noised.time, text: &text };
            let v = self.learner.wan.forward(&cx, &inputs, &self.learner.all_blocks())?;
            let loss = cx.squared_error(&v, &noised.velocity, Some(&noised.weights), share)?;
            let value = f64::from(loss.value().item()?);
            cx.backward(&loss, 1.0, grads)?;
            Ok(value)
        })?;
        self.learner.update(&grads, number, self.total)?;
        Ok(losses.iter().sum())
    }
}
