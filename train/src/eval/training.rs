//! Training the evaluation network on real clips, deterministic for a seed.
//!
//! The clips are shown as they are. Brightness and noise drawn anew for every clip would make the network read unseen
//! handwriting a little better, but also teach its features to overlook the very faults that distances in them are to
//! show: pale, smeared and speckled digits.

use std::ops::ControlFlow;

use flg_engine::{Cx, Grads, Key};

use super::architecture::Unit;
use super::network::{EvalNetwork, argmax};
use crate::Result;
use crate::config::EvalConfig;
use crate::data::{Split, World};
use crate::optim::{Optimizer, Progress, Trained};
use crate::task::{Batch, Task};

/// What training clips are drawn under, and those that accuracy is measured on.
const TRAINING_STREAM: u32 = 6;
const ACCURACY_STREAM: u32 = 7;
const ACCURACY_BATCH: usize = 64;

/// A network's share of right readings on real clips.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Accuracy {
    /// What is read: `digit`, `direction`.
    pub label: String,
    /// 0 to 1.
    pub share: f64,
}

impl EvalNetwork {
    /// Trains a network from scratch on clips of the training split. `on_step` gets the update's number (from 1) and
    /// its loss.
    ///
    /// # Errors
    /// A world without training clips; [`flg_model::Error::Stopped`] where `on_step` stops it.
    pub fn train(
        task: &Task,
        config: &EvalConfig,
        seed: u64,
        on_step: &mut dyn FnMut(u64, f64) -> ControlFlow<()>,
    ) -> Result<Self> {
        let key = Key::new(seed).name("evaluation network");
        let world = task.world("evaluation")?;
        let mut network = EvalNetwork::init(world, task.device(), key.name("init"))?;
        let mut optimizer = Optimizer::new(&config.network_optimizer, network.weights())?;
        for step in 0..config.network_steps {
            let size = config.network_batch;
            let batch = task.batch(Split::Training, seed, TRAINING_STREAM, step * size as u64, size)?;
            let (grads, loss) = network.gradients(world, &batch)?;
            let (number, total) = (step + 1, config.network_steps);
            optimizer.update(Trained::alone(network.weights_mut()), &grads, Progress { number, total })?;
            if on_step(number, loss).is_break() {
                return Err(flg_model::Error::Stopped { done: number as usize, steps: total as usize }.into());
            }
        }
        Ok(network)
    }

    /// Gradients and value of the sum of the heads' cross-entropies.
    fn gradients(&self, world: &dyn World, batch: &Batch) -> Result<(Grads, f64)> {
        let rows = self.rows(&batch.latents)?;
        let labels = self.labels(world, &batch.captions);
        let mut grads = Grads::new(self.weights());
        let cx = Cx::training(self.weights());
        let output = self.forward(&cx, rows)?;
        let mut loss = None;
        for (logits, classes) in output.logits.iter().zip(&labels) {
            let term = cx.cross_entropy(logits, classes)?;
            loss = Some(match loss {
                None => term,
                Some(sum) => cx.combine(1.0, &sum, 1.0, &term)?,
            });
        }
        // A world always has a head: its labels, its frames' digits or its captions.
        let Some(loss) = loss else { return Ok((grads, 0.0)) };
        let value = f64::from(loss.value().item()?);
        cx.backward(&loss, 1.0, &mut grads)?;
        Ok((grads, value))
    }

    /// The right class of every unit, by head.
    pub(super) fn labels(&self, world: &dyn World, captions: &[usize]) -> Vec<Vec<usize>> {
        if self.architecture().unit == Unit::Frame {
            let frames = world.geometry().frames;
            let digits = |&caption: &usize| (0..frames).map(move |f| world.frame_digit(caption, f).unwrap_or(0));
            return vec![captions.iter().flat_map(digits).collect()];
        }
        if world.label_kinds().is_empty() {
            return vec![captions.to_vec()];
        }
        let of_kind = |kind| captions.iter().map(|&caption| world.captions()[caption].labels[kind]).collect();
        (0..world.label_kinds().len()).map(of_kind).collect()
    }

    /// The share of units that each head reads rightly, on real clips of a part.
    ///
    /// # Errors
    /// A part without clips.
    pub fn accuracy(&self, task: &Task, split: Split, clips: usize) -> Result<Vec<Accuracy>> {
        let world = task.world("evaluation")?;
        let mut right = vec![0usize; self.architecture().heads.len()];
        let mut units = 0;
        for first in (0..clips).step_by(ACCURACY_BATCH) {
            let size = ACCURACY_BATCH.min(clips - first);
            let batch = task.batch(split, 0, ACCURACY_STREAM, first as u64, size)?;
            let seen = self.see(&batch.latents)?;
            units += seen.features.len();
            let labels = self.labels(world, &batch.captions);
            for ((right, read), labels) in right.iter_mut().zip(&seen.log_probabilities).zip(&labels) {
                *right += read.iter().zip(labels).filter(|(p, label)| argmax(p) == **label).count();
            }
        }
        let heads = self.architecture().heads.iter().zip(right);
        Ok(heads.map(|(h, n)| Accuracy { label: h.name.clone(), share: n as f64 / units.max(1) as f64 }).collect())
    }
}
