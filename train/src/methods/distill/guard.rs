//! The guard against over-training: measures the averaged student now and then, and keeps the best.
//!
//! The distribution-matching gradient has no value to watch. What is watched instead, on fixed held-out conditions and
//! fixed noise: the kernel distance (unbiased MMD, cubic kernel) between the student's clips and real ones in features
//! of a fixed random network, and alarms of known collapses: contrast, and motion (copies of the first frame have none).
//!
//! Clips are judged as they are shown, within the range of pixels, and a clip's features have one length, whatever its
//! brightness. Otherwise a sharp student that overshoots a little is judged worse than a smeared one that is too dark, and
//! the guard keeps an average that has hardly begun to learn.

use flg_engine::{Key, ParamStore, Tensor};
use flg_kernels::reduce::Term;
use flg_model::{FewStep, Wan};
use serde_json::{Value, json};

use super::rollout::{Start, rollout};
use crate::config::DistillConfig;
use crate::data::Split;
use crate::error::Result;
use crate::eval::kernel_distance::kernel_distance;
use crate::method::Metrics;
use crate::methods::Setup;
use crate::perturb::FirstFrame;

/// What the fixed conditions are drawn under.
const STREAM: u32 = 4;
/// Width of the random features.
const FEATURES: usize = 96;

/// Fixed conditions, real clips to compare with, and the best weights so far.
#[derive(Debug)]
pub struct Guard {
    every: u64,
    from: u64,
    start: Option<Start>,
    key: Key,
    projection: Vec<f32>,
    /// Black and full ink.
    range: [f32; 2],
    real: Vec<Vec<f64>>,
    contrast: f64,
    motion: f64,
    best: Option<ParamStore>,
}

impl Guard {
    /// A guard over `guard_clips` fixed conditions; off where `guard_every` is 0.
    ///
    /// # Errors
    /// A world without held-out clips.
    pub fn new(setup: &Setup, student: &ParamStore, config: &DistillConfig) -> Result<Self> {
        let (task, seed) = (&setup.task, setup.seed);
        let key = Key::new(seed).name("guard");
        let mut guard = Guard {
            every: config.guard_every,
            // However short a run is, averages of its second half can be kept.
            from: config.guard_from.min(config.steps / 2),
            start: None,
            key,
            projection: Vec::new(),
            range: [0.0, 1.0].map(|pixel| task.world().moments().value(pixel)),
            real: Vec::new(),
            contrast: 0.0,
            motion: 0.0,
            best: None,
        };
        if config.guard_every == 0 || config.guard_clips == 0 {
            return Ok(guard);
        }
        let size = config.guard_clips;
        let batch = task.batch(Split::HeldOut, seed, STREAM, 0, size)?;
        let reference = task.batch(Split::HeldOut, seed, STREAM, size as u64, size)?.latents;
        let elements = reference.elements() / size;
        guard.projection = key.name("features").normal(task.device(), [FEATURES, 2 * elements])?.values()?;
        guard.real = guard.features(&reference)?;
        (guard.contrast, guard.motion) = (contrast(&reference)?, motion(&reference)?);
        let first = FirstFrame::draw(key.name("first frame"), config.first_frame, size);
        let text = task.text(batch.captions.iter().map(|&caption| Some(caption)))?;
        guard.start = Some(Start { latents: batch.latents, first, text });
        guard.best = Some(student.deep_copy()?);
        Ok(guard)
    }

    /// The best weights so far; `None` where the guard is off.
    pub fn best(&self) -> Option<&ParamStore> {
        self.best.as_ref()
    }

    /// The best weights so far, to restore.
    pub fn best_mut(&mut self) -> Option<&mut ParamStore> {
        self.best.as_mut()
    }

    /// Measures after update `step` (from 0) where it is time to; returns what to log. `record` holds the smallest
    /// distance so far and where it was found; it is saved with the run.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn after(&mut self, step: u64, student: (&Wan, &ParamStore, &FewStep), record: &mut Value) -> Result<Metrics> {
        let (wan, weights, schedule) = student;
        let Some(start) = self.start.as_ref().filter(|_| (step + 1).is_multiple_of(self.every)) else {
            return Ok(Vec::new());
        };
        let path = rollout(wan, weights, schedule, start, self.key.name("path"))?;
        let Some(last) = path.last() else { return Ok(Vec::new()) };
        let clips = self.shown(&last.clean)?;
        let distance = kernel_distance(&self.features(&clips)?, &self.real);
        let (contrast, motion) = (contrast(&clips)? / self.contrast, motion(&clips)? / self.motion);
        let collapsed = !(0.7..=1.3).contains(&contrast) || !(0.5..=2.0).contains(&motion);
        let best = record["best_distance"].as_f64().unwrap_or(f64::INFINITY);
        if step >= self.from && distance < best && !collapsed {
            *record = json!({ "best_step": step + 1, "best_distance": distance });
            self.best = Some(weights.deep_copy()?);
        }
        Ok(vec![
            ("guard_distance", distance),
            ("guard_contrast", contrast),
            ("guard_motion", motion),
            ("guard_alarm", f64::from(u8::from(collapsed))),
        ])
    }

    /// Clips within the range of pixels.
    fn shown(&self, clips: &Tensor) -> Result<Tensor> {
        let [low, high] = self.range;
        let values = clips.values()?.into_iter().map(|x| x.clamp(low, high)).collect();
        Ok(Tensor::from_vec(clips.device(), values, clips.shape())?)
    }

    /// Random features of each clip: `relu(P [x, frame differences])`, of root mean square 1.
    fn features(&self, clips: &Tensor) -> Result<Vec<Vec<f64>>> {
        let [batch, channels, frames, h, w] = clips.shape().expect_rank("features")?;
        let (values, plane) = (clips.values()?, h * w);
        let elements = channels * frames * plane;
        let features = |clip: &[f32]| -> Vec<f64> {
            let mut input = clip.to_vec();
            // The difference to the previous frame; the first frame's is zero.
            input.extend((0..elements).map(|i| if i / plane % frames == 0 { 0.0 } else { clip[i] - clip[i - plane] }));
            let dot = |row: &[f32]| row.iter().zip(&input).map(|(p, x)| f64::from(p * x)).sum::<f64>().max(0.0);
            let row: Vec<f64> = self.projection.chunks(2 * elements).map(dot).collect();
            let size = (row.iter().map(|x| x * x).sum::<f64>() / row.len().max(1) as f64).sqrt();
            row.iter().map(|x| x / size.max(f64::MIN_POSITIVE)).collect()
        };
        Ok((0..batch).map(|b| features(&values[b * elements..(b + 1) * elements])).collect())
    }
}

/// Root mean square over all values: 1 for normalised data.
fn contrast(clips: &Tensor) -> Result<f64> {
    Ok((f64::from(clips.total(Term::Square, None)?) / clips.elements().max(1) as f64).sqrt())
}

/// Root mean square difference of successive frames.
fn motion(clips: &Tensor) -> Result<f64> {
    let frames = clips.dims()[2];
    let (head, tail) = (clips.narrow(2, 0, frames - 1)?.contiguous()?, clips.narrow(2, 1, frames - 1)?.contiguous()?);
    contrast(&tail.sub(&head)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{TextShape, preset};
    use crate::task::Task;
    use flg_engine::{Device, Precision};

    #[test]
    fn clips_are_judged_as_shown_and_whatever_their_brightness() {
        let device = Device::cpu();
        let task = Task::new(&device, preset("digits").unwrap().into(), 0, TextShape { words: 4, dim: 8 }).unwrap();
        let setup = Setup { task, seed: 3, precision: Precision::F32 };
        let config = DistillConfig { guard_clips: 4, ..DistillConfig::default() };
        let guard = Guard::new(&setup, &ParamStore::new(&device), &config).unwrap();
        let clips = setup.task.batch(Split::HeldOut, 3, 0, 0, 4).unwrap().latents;

        let (as_is, brighter) = (guard.features(&clips).unwrap(), guard.features(&clips.scale(1.5).unwrap()).unwrap());
        for (a, b) in as_is.iter().flatten().zip(brighter.iter().flatten()) {
            // Products are rounded to f32, sums are f64.
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        assert_ne!(as_is[0], as_is[1]);
        assert_eq!(guard.shown(&clips).unwrap().to_vec(), clips.to_vec());
        let beyond = guard.shown(&clips.scale(3.0).unwrap()).unwrap().to_vec();
        assert!(beyond.iter().all(|x| (guard.range[0]..=guard.range[1]).contains(x)));
    }
}
