//! Euler's method on the velocity field.

use flg_engine::Tensor;

use super::{TRAIN_STEPS, check, flow};
use crate::Result;

/// Levels, and `x += (next - sigma) v` from each to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Euler {
    sigmas: Vec<f32>,
}

impl Euler {
    /// The grid of Wan's own sampler: [`flow::sigmas`].
    ///
    /// # Errors
    /// No steps, or a shift that is not positive.
    pub fn new(steps: usize, shift: f64) -> Result<Self> {
        check(steps, shift)?;
        Ok(Euler { sigmas: flow::sigmas(steps, shift) })
    }

    /// The grid of diffusers' `FlowMatchEulerDiscreteScheduler(shift)`. It lies between level 1 and the smallest training
    /// level, which that class has shifted already, and is shifted again: its last level is lower than [`Euler::new`]'s.
    ///
    /// # Errors
    /// As [`Euler::new`].
    pub fn as_diffusers(steps: usize, shift: f64) -> Result<Self> {
        check(steps, shift)?;
        // The class holds its training levels in f32 and computes the grid in f64.
        let (s, least) = (shift as f32, 1.0 / TRAIN_STEPS);
        let least = f64::from(s * least / (1.0 + (s - 1.0) * least));
        let train = f64::from(TRAIN_STEPS);
        let (first, last) = (train, train * least);
        let stride = (last - first) / (steps.max(2) - 1) as f64;
        let time = |i: usize| if i > 0 && i + 1 == steps { last } else { first + i as f64 * stride };
        let levels = (0..steps).map(|i| flow::shift(time(i) / train, shift) as f32);
        Ok(Euler { sigmas: levels.chain([0.0]).collect() })
    }

    /// Levels, noisiest first, with the final 0: one more than steps.
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// What the network is told at each step: `1000 sigma`.
    pub fn timesteps(&self) -> Vec<f32> {
        self.sigmas.split_last().map_or_else(Vec::new, |(_, levels)| levels.iter().map(|s| s * TRAIN_STEPS).collect())
    }

    /// `x` at the next level, from `x` and its velocity at level `step`.
    ///
    /// # Errors
    /// Different shapes.
    pub fn step(&self, step: usize, v: &Tensor, x: &Tensor) -> Result<Tensor> {
        let [sigma, next] = [step, step + 1].map(|i| self.sigmas.get(i).copied().unwrap_or(0.0));
        Ok(x.combine(1.0, v, next - sigma)?)
    }
}
