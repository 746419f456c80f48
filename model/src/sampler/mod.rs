//! From noise to latents: many steps along the ODE with guidance, or the few steps of a distilled network.
//!
//! Both loops are written against [`Denoiser`], so that tests can put an exact velocity field in the network's place.
//! Latents stay f32 from step to step whatever the network's precision: rounding would add up.

mod blockwise;
mod denoiser;
mod frames;

use std::ops::ControlFlow;

use flg_engine::{Device, Key, Tensor, concat};

pub use blockwise::{BlockwiseDenoiser, Experts, Prompt, side_by_side};
pub use denoiser::{FirstFrame, Guided, Network, WanDenoiser};

use crate::schedule::{Euler, FewStep, Rule, TRAIN_STEPS, UniPc, flow};
use crate::{Error, Result};

/// A noise level, and what the network is told about it (1000 times the level, which some solvers truncate).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// In 0 to 1.
    pub sigma: f32,
    /// In 0 to 1000.
    pub time: f32,
}

/// Something that predicts velocities.
pub trait Denoiser {
    /// The velocity `noise - data` of latents `x` at a level.
    ///
    /// # Errors
    /// Latents that the denoiser does not take.
    fn velocity(&mut self, x: &Tensor, level: Level) -> Result<Tensor>;
}

/// A rule for following the velocity field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solver {
    /// Euler on Wan's own grid.
    Euler,
    /// Euler on the grid of diffusers' `FlowMatchEulerDiscreteScheduler`.
    DiffusersEuler,
    /// UniPC of order 1 to 3 on the grid of diffusers' Wan pipelines; they use 2.
    UniPc {
        /// Predictions that a step uses.
        order: usize,
    },
}

/// A run along the ODE.
#[derive(Clone, Copy, Debug)]
pub struct Ode {
    /// The rule.
    pub solver: Solver,
    /// Steps: network calls, times two under guidance.
    pub steps: usize,
    /// Shift of the levels towards noise.
    pub shift: f64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Steps done, from 1.
    pub done: usize,
    /// Steps of the run.
    pub steps: usize,
    /// The latents now.
    pub latents: &'a Tensor,
}

/// Is told after every step how far the run is, and may stop it.
pub type OnStep<'a> = dyn FnMut(Progress<'_>) -> ControlFlow<()> + 'a;

/// What holds for a whole run beside the network: the frame that is given, and who watches.
pub struct Watch<'a> {
    /// The clean first frame `[b, c, 1, h, w]` (as many latent frames as a token has): put back after every step.
    pub first_frame: Option<&'a Tensor>,
    /// Called after every step.
    pub on_step: &'a mut OnStep<'a>,
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("first_frame", &self.first_frame).finish_non_exhaustive()
    }
}

impl Watch<'_> {
    fn start(&self, noise: &Tensor) -> Result<Tensor> {
        let mut x = noise.contiguous()?;
        self.hold(&mut x)?;
        Ok(x)
    }

    fn hold(&self, x: &mut Tensor) -> Result<()> {
        Ok(self.first_frame.map_or(Ok(()), |first| frames::put_first(x, first))?)
    }

    /// Ends step `done` of `steps` with latents `x`.
    fn step(&mut self, mut x: Tensor, done: usize, steps: usize) -> Result<Tensor> {
        self.hold(&mut x)?;
        match (self.on_step)(Progress { done, steps, latents: &x }) {
            ControlFlow::Continue(()) => Ok(x),
            ControlFlow::Break(()) => Err(Error::Stopped { done, steps }),
        }
    }
}

/// Standard normal latents `[b, c, f, h, w]`, one sample a key. A sample's noise depends on its key only, not on the
/// batch that it is in.
///
/// # Errors
/// None of the caller's making.
pub fn noise(device: &Device, keys: &[Key], latents: [usize; 4]) -> Result<Tensor> {
    draw(device, keys.iter().map(|key| key.name("noise")), latents)
}

fn draw(device: &Device, keys: impl Iterator<Item = Key>, [c, f, h, w]: [usize; 4]) -> Result<Tensor> {
    let samples = keys.map(|key| key.normal(device, [1, c, f, h, w])).collect::<Result<Vec<_>, _>>()?;
    if samples.is_empty() {
        return Ok(Tensor::zeros(device, [0, c, f, h, w])?);
    }
    Ok(concat(&samples.iter().collect::<Vec<_>>())?)
}

/// Follows the ODE from noise `[b, c, f, h, w]` to latents.
///
/// # Errors
/// A schedule that cannot be made; what the denoiser refuses; [`Error::Stopped`] where the watcher stops the run.
pub fn sample_ode(denoiser: &mut dyn Denoiser, ode: &Ode, noise: &Tensor, watch: &mut Watch<'_>) -> Result<Tensor> {
    let mut x = watch.start(noise)?;
    let mut unipc = match ode.solver {
        Solver::Euler => return follow_euler(denoiser, &Euler::new(ode.steps, ode.shift)?, x, watch),
        Solver::DiffusersEuler => return follow_euler(denoiser, &Euler::as_diffusers(ode.steps, ode.shift)?, x, watch),
        Solver::UniPc { order } => UniPc::new(ode.steps, ode.shift, order)?,
    };
    for i in 0..ode.steps {
        let level = Level { sigma: unipc.sigmas()[i], time: unipc.timesteps()[i] };
        let v = denoiser.velocity(&x, level)?;
        x = watch.step(unipc.step(&v, &x)?, i + 1, ode.steps)?;
    }
    Ok(x)
}

fn follow_euler(denoiser: &mut dyn Denoiser, euler: &Euler, mut x: Tensor, watch: &mut Watch<'_>) -> Result<Tensor> {
    let times = euler.timesteps();
    for (i, (&sigma, &time)) in euler.sigmas().iter().zip(&times).enumerate() {
        let v = denoiser.velocity(&x, Level { sigma, time })?;
        x = watch.step(euler.step(i, &v, &x)?, i + 1, times.len())?;
    }
    Ok(x)
}

/// Runs the schedule that a network was distilled for, from noise `[b, c, f, h, w]` to latents.
///
/// `keys`, one a sample, draw the fresh noise of [`Rule::Renoise`]; that of step `i` depends on the key and on `i` only.
///
/// # Errors
/// A schedule that cannot be; another number of keys than samples; what the denoiser refuses; [`Error::Stopped`].
pub fn sample_few_step(
    denoiser: &mut dyn Denoiser,
    schedule: &FewStep,
    noise: &Tensor,
    keys: &[Key],
    watch: &mut Watch<'_>,
) -> Result<Tensor> {
    schedule.validate()?;
    let [batch, c, f, h, w] = noise.shape().expect_rank("noise")?;
    noise.shape().expect("keys", [keys.len(), c, f, h, w])?;
    let mut x = watch.start(noise)?;
    for (i, &sigma) in schedule.sigmas.iter().enumerate() {
        let v = denoiser.velocity(&x, Level { sigma, time: sigma * TRAIN_STEPS })?;
        let next = schedule.next_sigma(i);
        let stepped = match schedule.rule {
            Rule::Ode => x.combine(1.0, &v, next - sigma)?,
            Rule::Renoise => {
                let data = flow::clean_estimate(&x, &v, &vec![sigma; batch])?;
                if next == 0.0 {
                    data
                } else {
                    let fresh = keys.iter().map(|key| key.name("renoise").at(i as u64));
                    flow::noised(&data, &draw(noise.device(), fresh, [c, f, h, w])?, &vec![next; batch])?
                }
            }
        };
        x = watch.step(stepped, i + 1, schedule.steps())?;
    }
    Ok(x)
}
