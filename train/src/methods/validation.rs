//! The validation loss: flow matching on fixed held-out clips, noise and levels, so that runs and stages compare.

use flg_engine::{Cx, Key, ParamStore};
use flg_model::{BlockMask, Wan};

use super::Setup;
use super::drawing::Drawn;
use crate::config::TimeWeight;
use crate::data::Split;
use crate::error::Result;
use crate::perturb::{Density, FirstFrame, Perturbed, noise_levels, perturb};

/// What validation clips are drawn under; the seed is fixed too, so that all runs see the same ones.
const STREAM: u32 = 5;
const SEED: u64 = 20_260_301;
/// Clips computed at once.
const BATCH: usize = 16;

/// Fixed batches, already noised.
#[derive(Debug)]
pub struct Validation {
    batches: Vec<Drawn>,
}

impl Validation {
    /// `clips` clips (rounded up to whole batches of 16) with their own captions, noised with levels spread evenly.
    ///
    /// # Errors
    /// A world without held-out clips.
    pub fn new(setup: &Setup, clips: usize, shift: f64, first_frame: f64) -> Result<Self> {
        let task = &setup.task;
        let draw = |i: usize| {
            let key = Key::new(SEED).name("validation").at(i as u64);
            let batch = task.batch(Split::HeldOut, SEED, STREAM, (i * BATCH) as u64, BATCH)?;
            let first = FirstFrame::draw(key.name("first frame"), first_frame, BATCH);
            let noise = key.name("noise").normal(task.device(), batch.latents.shape())?;
            let t = noise_levels(key.name("t"), BATCH, Density::stratified(shift));
            let text = task.text(batch.captions.iter().map(|&caption| Some(caption)))?;
            Ok(Drawn { noised: perturb(&batch.latents, &noise, t, &first)?, text })
        };
        Ok(Validation { batches: (0..clips.div_ceil(BATCH)).map(draw).collect::<Result<_>>()? })
    }

    /// The mean loss of a network with the blocks of `mask`; NaN without clips.
    ///
    /// # Errors
    /// A network of another geometry.
    pub fn loss(&self, wan: &Wan, weights: &ParamStore, mask: &BlockMask) -> Result<f64> {
        let mut sum = 0.0;
        for drawn in &self.batches {
            let cx = Cx::inference(weights);
            let v = drawn.forward(wan, &cx, mask)?;
            let loss = cx.squared_error(&v, &drawn.noised.velocity, Some(&drawn.noised.weights), 1.0)?;
            sum += f64::from(loss.value().item()?);
        }
        Ok(sum / self.batches.len() as f64)
    }
}

impl TimeWeight {
    /// The weights of the loss's planes: those of the plain mean, times this function of each sample's time.
    ///
    /// The bell is `exp(-2 (2 t - 1)^2)` less its smallest value, divided by its mean over shifted times.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn weigh(self, noised: &Perturbed, shift: f64) -> Result<flg_engine::Tensor> {
        if self == TimeWeight::Uniform {
            return Ok(noised.weights.clone());
        }
        let bell = |t: f64| (-2.0 * (2.0 * t - 1.0).powi(2)).exp() - (-2.0f64).exp();
        let levels = (0..1000).map(|i| flg_model::schedule::flow::shift((i as f64 + 0.5) / 1000.0, shift));
        let mean = levels.map(bell).sum::<f64>() / 1000.0;
        let factors: Vec<f32> = noised.t.iter().map(|&t| (bell(f64::from(t)) / mean) as f32).collect();
        Ok(noised.weights.scale_rows(&factors, None)?)
    }
}
