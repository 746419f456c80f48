//! From captions to clips: a network, its conditions, and one of the two ways of sampling.
//!
//! Each clip is drawn from a key of its own, so that two networks asked for the same clips begin with the same noise,
//! in whatever batches they work.

use std::fmt;
use std::ops::ControlFlow;

use flg_engine::{Key, Tensor, concat};
use flg_model::sampler::{
    FirstFrame, Guided, Network, Ode, OnStep, Progress, WanDenoiser, Watch, noise, sample_few_step, sample_ode,
};
use flg_model::{FewStep, Guidance};

use crate::Result;
use crate::data::Conditions;

/// A way of sampling.
#[derive(Clone, Debug)]
pub enum Sampler {
    /// Along the probability-flow equation, with guidance.
    Ode(Ode, Guidance),
    /// The few steps that a network was distilled for, without guidance.
    FewStep(FewStep),
}

impl Sampler {
    /// Steps.
    pub fn steps(&self) -> usize {
        match self {
            Sampler::Ode(ode, _) => ode.steps,
            Sampler::FewStep(schedule) => schedule.steps(),
        }
    }

    /// Forward passes for one clip.
    pub fn network_calls(&self) -> usize {
        match self {
            Sampler::Ode(ode, guidance) if guidance.is_active() => 2 * ode.steps,
            other => other.steps(),
        }
    }
}

impl fmt::Display for Sampler {
    /// `Euler, 50 steps, shift 5, guidance 3 (extra 2)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sampler::Ode(ode, guidance) => {
                write!(f, "{:?}, {} steps, shift {}, {guidance}", ode.solver, ode.steps, ode.shift)
            }
            Sampler::FewStep(schedule) => write!(f, "{schedule}"),
        }
    }
}

/// A clip to make.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What it shows.
    pub caption: &'a str,
    /// Where its noise comes from.
    pub key: Key,
}

/// A network that makes clips.
#[derive(Clone, Copy, Debug)]
pub struct Generator<'a> {
    /// The network, its weights and the blocks that run.
    pub network: Network<'a>,
    /// What it knows of its data.
    pub conditions: &'a Conditions,
    /// How it samples.
    pub sampler: &'a Sampler,
    /// Channels, frames, rows and columns of the latents.
    pub latents: [usize; 4],
}

impl Generator<'_> {
    /// Latents `[requests, c, f, h, w]`, computed as one batch. `first_frames [requests, c, 1, h, w]` are kept as they
    /// are, if given. `on_step` may stop the run.
    ///
    /// # Errors
    /// Captions that the network does not know; latents that it does not take; [`flg_model::Error::Stopped`].
    pub fn latents(
        &self,
        requests: &[Request<'_>],
        first_frames: Option<&Tensor>,
        on_step: &mut OnStep<'_>,
    ) -> Result<Tensor> {
        let text = self.conditions.text(requests.iter().map(|request| Some(request.caption)))?;
        let null_text = self.conditions.text([None])?;
        let keys: Vec<Key> = requests.iter().map(|request| request.key).collect();
        let noise = noise(text.device(), &keys, self.latents)?;
        let first = if first_frames.is_some() { FirstFrame::Given } else { FirstFrame::Made };
        let mut watch = Watch { first_frame: first_frames, on_step };
        Ok(match self.sampler {
            Sampler::Ode(ode, strength) => {
                let guided = Guided { strength: *strength, null_text: &null_text };
                let mut denoiser = WanDenoiser::new(self.network, &text, Some(guided), first, self.latents)?;
                sample_ode(&mut denoiser, ode, &noise, &mut watch)?
            }
            Sampler::FewStep(schedule) => {
                let mut denoiser = WanDenoiser::new(self.network, &text, None, first, self.latents)?;
                sample_few_step(&mut denoiser, schedule, &noise, &keys, &mut watch)?
            }
        })
    }

    /// [`Generator::latents`] in batches of at most `batch`. `on_step` hears of the steps of all batches together.
    ///
    /// # Errors
    /// As [`Generator::latents`]; no requests.
    pub fn in_batches(
        &self,
        requests: &[Request<'_>],
        first_frames: Option<&Tensor>,
        batch: usize,
        on_step: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Tensor> {
        let (batch, steps) = (batch.max(1), self.sampler.steps());
        let total = requests.len().div_ceil(batch) * steps;
        let mut parts = Vec::new();
        for (i, part) in requests.chunks(batch).enumerate() {
            let frames = first_frames.map(|frames| frames.narrow(0, i * batch, part.len())).transpose()?;
            let mut count = |progress: Progress<'_>| on_step(i * steps + progress.done, total);
            parts.push(self.latents(part, frames.as_ref(), &mut count)?);
        }
        Ok(concat(&parts.iter().collect::<Vec<_>>())?)
    }
}
