//! The validation loss: flow matching on fixed held-out clips, noise and levels, so that runs and stages compare.

use flg_engine::{Cx, Key, ParamStore};
use flg_model::schedule::flow::shift;
use flg_model::{BlockMask, Wan};

use super::Setup;
use super::drawing::Drawn;
use crate::config::TimeWeight;
use crate::data::Split;
use crate::error::Result;
use crate::levels::Levels;
use crate::perturb::{Density, FirstFrame, Perturbed, noise_levels, perturb};
use crate::task::Task;

/// What validation clips are drawn under; the seed is fixed too, so that all runs see the same ones.
const STREAM: u32 = 5;
const SEED: u64 = 20_260_301;
/// Clips computed at once, unless they are large.
const BATCH: usize = 16;

/// Fixed clips; they are noised when they are needed, always in the same way.
#[derive(Debug)]
pub struct Validation {
    task: Task,
    levels: Levels,
    batches: usize,
    /// Clips of a batch.
    size: usize,
    shift: f64,
    first_frame: f64,
}

impl Validation {
    /// `clips` clips (rounded up to whole batches: of 16, or fewer where clips are large) with their own captions, noised
    /// with levels spread evenly.
    ///
    /// # Errors
    /// A data set without held-out clips, where any are wanted.
    pub fn new(setup: &Setup, clips: usize, shift: f64, first_frame: f64) -> Result<Self> {
        let (task, size) = (setup.task.clone(), setup.task.at_once(BATCH));
        let (batches, levels) = (clips.div_ceil(size), setup.levels);
        let validation = Validation { task, levels, batches, size, shift, first_frame };
        // What is missing is said before anything is trained.
        if validation.batches > 0 {
            validation.draw(0)?;
        }
        Ok(validation)
    }

    fn draw(&self, i: usize) -> Result<Drawn> {
        let (task, size) = (&self.task, self.size);
        let key = Key::new(SEED).name("validation").at(i as u64);
        let batch = task.batch(Split::HeldOut, SEED, STREAM, (i * size) as u64, size)?;
        let first = FirstFrame::draw(key.name("first frame"), self.first_frame, size);
        let noise = key.name("noise").normal(task.device(), batch.latents.shape())?;
        let t = self.levels(i, key.name("t"));
        let text = task.text(batch.captions.iter().map(|&caption| Some(caption)))?;
        Ok(Drawn { noised: perturb(&batch.latents, &noise, t, &first)?, condition: batch.condition(text) })
    }

    /// Noise levels of batch `i`, spread evenly over it; where batches are small, over all of them together.
    fn levels(&self, i: usize, key: Key) -> Vec<f32> {
        if self.size == BATCH {
            return noise_levels(key, self.size, Density::stratified(self.shift, self.levels));
        }
        let count = (self.batches * self.size) as f64;
        let mut stream = key.stream();
        let u = (0..self.size).map(|b| ((i * self.size + b) as f64 + stream.uniform()) / count);
        u.map(|u| self.levels.at(u, self.shift) as f32).collect()
    }

    /// The mean loss of a network with the blocks of `mask`; NaN without clips.
    ///
    /// # Errors
    /// A network of another geometry.
    pub fn loss(&self, wan: &Wan, weights: &ParamStore, mask: &BlockMask) -> Result<f64> {
        let mut sum = 0.0;
        for i in 0..self.batches {
            let drawn = self.draw(i)?;
            let cx = Cx::inference(weights);
            let v = drawn.forward(wan, &cx, mask)?;
            let loss = cx.squared_error(&v, &drawn.noised.velocity, Some(&drawn.noised.weights), 1.0)?;
            sum += f64::from(loss.value().item()?);
        }
        Ok(sum / self.batches as f64)
    }
}

impl TimeWeight {
    /// The weights of the loss's planes: those of the plain mean, times this function of each sample's time.
    ///
    /// The bell is `exp(-2 (2 t - 1)^2)` less its smallest value, divided by its mean over shifted times.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn weigh(self, noised: &Perturbed, by: f64) -> Result<flg_engine::Tensor> {
        if self == TimeWeight::Uniform {
            return Ok(noised.weights.clone());
        }
        let bell = |t: f64| (-2.0 * (2.0 * t - 1.0).powi(2)).exp() - (-2.0f64).exp();
        let levels = (0..1000).map(|i| shift((i as f64 + 0.5) / 1000.0, by));
        let mean = levels.map(bell).sum::<f64>() / 1000.0;
        let factors: Vec<f32> = noised.t.iter().map(|&t| (bell(f64::from(t)) / mean) as f32).collect();
        Ok(noised.weights.scale_rows(&factors, None)?)
    }
}
