//! The guard against over-training: measures the averaged student now and then, and keeps the best.
//!
//! The distribution-matching gradient has no value to watch. What is watched instead, on fixed held-out conditions and
//! fixed noise: the kernel distance (unbiased MMD, cubic kernel) between the student's clips and real ones in features
//! of a fixed random network, and alarms of known collapses: contrast, and motion (copies of the first frame have none).
//!
//! Clips are judged as they are shown, within the range of pixels, and a clip's features have one length, whatever its
//! brightness. Otherwise a sharp student that overshoots a little is judged worse than a smeared one that is too dark, and
//! the guard keeps an average that has hardly begun to learn.
//!
//! Latents have no range that they are shown in. Large clips are measured some at a time, and their features are those of
//! means over squares of rows and columns.

use flg_engine::{Key, ParamStore, Tensor};
use flg_model::{FewStep, Wan};
use serde_json::{Value, json};

use super::features::{Features, contrast, motion};
use super::rollout::{Start, rollout};
use crate::config::DistillConfig;
use crate::data::Split;
use crate::error::Result;
use crate::eval::kernel_distance::kernel_distance;
use crate::method::Metrics;
use crate::methods::Setup;
use crate::perturb::FirstFrame;
use crate::task::Task;

/// What the fixed conditions are drawn under.
const STREAM: u32 = 4;

/// Fixed conditions, real clips to compare with, and the best weights so far.
#[derive(Debug)]
pub struct Guard {
    every: u64,
    from: u64,
    conditions: Conditions,
    features: Option<Features>,
    real: Vec<Vec<f64>>,
    contrast: f64,
    motion: f64,
    best: Option<ParamStore>,
}

/// Fixed conditions, drawn when they are needed.
#[derive(Debug)]
struct Conditions {
    task: Task,
    seed: u64,
    key: Key,
    first_frame: f64,
    clips: usize,
    /// Clips of a part.
    size: usize,
}

/// What is seen of some clips.
#[derive(Debug, Default)]
struct Seen {
    features: Vec<Vec<f64>>,
    contrast: f64,
    motion: f64,
}

impl Guard {
    /// A guard over `guard_clips` fixed conditions; off where `guard_every` is 0.
    ///
    /// # Errors
    /// A world without held-out clips.
    pub fn new(setup: &Setup, student: &ParamStore, config: &DistillConfig) -> Result<Self> {
        let (task, seed, clips) = (setup.task.clone(), setup.seed, config.guard_clips);
        let (key, size) = (Key::new(seed).name("guard"), setup.task.at_once(clips));
        let mut guard = Guard {
            every: config.guard_every,
            // However short a run is, averages of its second half can be kept.
            from: config.guard_from.min(config.steps / 2),
            conditions: Conditions { task, seed, key, first_frame: config.first_frame, clips, size },
            features: None,
            real: Vec::new(),
            contrast: 0.0,
            motion: 0.0,
            best: None,
        };
        if config.guard_every == 0 || clips == 0 {
            return Ok(guard);
        }
        let features = Features::new(&setup.task, key.name("features"))?;
        let real = guard.conditions.see(&features, |part| guard.conditions.reference(part))?;
        guard.features = Some(features);
        (guard.real, guard.contrast, guard.motion) = (real.features, real.contrast, real.motion);
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
        let Some(features) = self.features.as_ref().filter(|_| (step + 1).is_multiple_of(self.every)) else {
            return Ok(Vec::new());
        };
        let made = self.conditions.see(features, |part| {
            let (start, key) = self.conditions.start(part)?;
            let last = rollout(wan, weights, schedule, &start, key)?.pop();
            // A schedule has a step at least.
            features.shown(&last.map_or(start.latents, |last| last.clean))
        })?;
        let distance = kernel_distance(&made.features, &self.real);
        // Clips of one frame do not move.
        let motion = if self.motion > 0.0 { made.motion / self.motion } else { 1.0 };
        let contrast = made.contrast / self.contrast;
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
}

impl Conditions {
    /// The parts: the first clip of each, and their number.
    fn parts(&self) -> impl Iterator<Item = [usize; 2]> {
        (0..self.clips).step_by(self.size).map(|first| [first, self.size.min(self.clips - first)])
    }

    /// Real clips to compare with: others than those that lend their first frames and captions.
    fn reference(&self, [first, size]: [usize; 2]) -> Result<Tensor> {
        Ok(self.task.batch(Split::HeldOut, self.seed, STREAM, (self.clips + first) as u64, size)?.latents)
    }

    /// What the student starts from, and the key of its noise.
    fn start(&self, [clip, size]: [usize; 2]) -> Result<(Start, Key)> {
        // The first part has the keys that a whole would have.
        let part = |key: Key| if clip == 0 { key } else { key.at(clip as u64) };
        let batch = self.task.batch(Split::HeldOut, self.seed, STREAM, clip as u64, size)?;
        let first = FirstFrame::draw(part(self.key.name("first frame")), self.first_frame, size);
        let text = self.task.text(batch.captions.iter().map(|&caption| Some(caption)))?;
        let condition = batch.condition(text);
        Ok((Start { latents: batch.latents, first, condition }, part(self.key.name("path"))))
    }

    /// Looks at the clips that `of` gives for each part.
    fn see(&self, features: &Features, of: impl Fn([usize; 2]) -> Result<Tensor>) -> Result<Seen> {
        let mut seen = Seen::default();
        for part in self.parts() {
            let clips = of(part)?;
            let share = part[1] as f64 / self.clips as f64;
            // Means of squares; a root in the end.
            seen.contrast += share * contrast(&clips)?;
            seen.motion += share * motion(&clips)?;
            seen.features.extend(features.of(&clips)?);
        }
        (seen.contrast, seen.motion) = (seen.contrast.sqrt(), seen.motion.sqrt());
        Ok(seen)
    }
}
