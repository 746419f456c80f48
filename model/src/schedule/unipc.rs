//! UniPC in the form that diffusers' Wan pipelines use: data prediction, B2(h), corrector, lower orders at the ends.
//!
//! Zhao et al., "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models" (2023). With
//! `lambda = ln(1 - sigma) - ln sigma`, `h` its change over a step and `D` the data that the velocity points to,
//!
//! ```text
//! x' = sigma'/sigma x - alpha' (e^-h - 1) D_0 - alpha' (e^-h - 1) sum_k rho_k (D_k - D_0) / r_k
//! ```
//!
//! where `D_k` lies `r_k h` away and the `rho_k` solve a small Vandermonde system. The predictor knows earlier `D_k`; the
//! corrector repeats the last step with the `D` of its end. Coefficients are rounded to f32 where diffusers rounds them:
//! differences of neighbouring `lambda` amplify the last bits.

use std::collections::VecDeque;

use flg_engine::Tensor;

use super::{TRAIN_STEPS, check, flow};
use crate::{Error, Result};

/// A multistep solver: remembers the data predictions of the steps before.
#[derive(Clone, Debug)]
pub struct UniPc {
    sigmas: Vec<f32>,
    timesteps: Vec<f32>,
    order: usize,
    /// Data predictions, newest first, at most `order`.
    history: VecDeque<Tensor>,
    /// What the last predictor started from, and its order.
    last: Option<(Tensor, usize)>,
    done: usize,
}

impl UniPc {
    /// A run of `steps` steps of `order` 1 to 3; Wan's pipelines use 2.
    ///
    /// Levels are `shift` of `linspace(1, 0.001, steps + 1)` without the last, the first kept off 1 by 1e-6 (there
    /// `lambda` is infinite), then 0. The network is told `1000 sigma` truncated to an integer.
    ///
    /// # Errors
    /// No steps, a shift that is not positive, another order.
    pub fn new(steps: usize, shift: f64, order: usize) -> Result<Self> {
        check(steps, shift)?;
        if !(1..=3).contains(&order) {
            return Err(Error::Schedule { reason: "the order of UniPC must be 1 to 3", value: order.to_string() });
        }
        let train = f64::from(TRAIN_STEPS);
        let stride = (1.0 / train - 1.0) / steps as f64;
        let mut levels: Vec<f64> = (0..steps).map(|i| flow::shift(1.0 + i as f64 * stride, shift)).collect();
        if (levels[0] - 1.0).abs() < 1e-6 {
            levels[0] -= 1e-6;
        }
        Ok(UniPc {
            timesteps: levels.iter().map(|sigma| (sigma * train).trunc() as f32).collect(),
            sigmas: levels.iter().map(|&sigma| sigma as f32).chain([0.0]).collect(),
            order,
            history: VecDeque::with_capacity(order),
            last: None,
            done: 0,
        })
    }

    /// Levels, noisiest first, with the final 0: one more than steps.
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// What the network is told at each step: whole numbers.
    pub fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    /// `x` at the next level, from `x` and its velocity at the current one. Steps must come in order.
    ///
    /// # Errors
    /// Different shapes; more steps than the schedule has.
    pub fn step(&mut self, v: &Tensor, x: &Tensor) -> Result<Tensor> {
        let (i, steps) = (self.done, self.timesteps.len());
        if i >= steps {
            return Err(Error::Schedule { reason: "all steps are done", value: steps.to_string() });
        }
        let data = x.combine(1.0, v, -self.sigmas[i])?;
        let corrected = match &self.last {
            Some((start, order)) => self.corrected(start, &data, *order)?,
            None => x.clone(),
        };
        let order = self.order.min(steps - i).min(self.history.len() + 1);
        self.history.truncate(self.order - 1);
        self.history.push_front(data);
        let next = self.predicted(&corrected, order)?;
        self.last = Some((corrected, order));
        self.done += 1;
        Ok(next)
    }

    /// From level `done` to the next.
    fn predicted(&self, x: &Tensor, order: usize) -> Result<Tensor> {
        let step = Step::new(&self.sigmas, self.done, order);
        let rhos = match order {
            1 => Vec::new(),
            // diffusers takes the limit of the system for small steps here.
            2 => vec![0.5],
            _ => step.solve(order - 1),
        };
        let known = self.history.iter().skip(1);
        step.apply(x, &self.history[0], known.zip(&rhos).zip(&step.ratios).map(|((d, rho), r)| (d, *rho, *r)))
    }

    /// The last step again, to the current level, where the data prediction is `end`.
    fn corrected(&self, start: &Tensor, end: &Tensor, order: usize) -> Result<Tensor> {
        let step = Step::new(&self.sigmas, self.done - 1, order);
        let rhos = if order == 1 { vec![0.5] } else { step.solve(order) };
        let known = self.history.iter().skip(1).take(order - 1).chain([end]);
        step.apply(start, &self.history[0], known.zip(&rhos).zip(&step.ratios).map(|((d, rho), r)| (d, *rho, *r)))
    }
}

/// The coefficients of the step from level `i` to level `i + 1`.
struct Step {
    /// `sigma' / sigma`
    carry: f32,
    /// `alpha' (e^-h - 1)`
    data: f32,
    /// Where earlier predictions and the end lie, in units of `h`: `order - 1` of them and 1.
    ratios: Vec<f32>,
    /// Right-hand side of the system.
    moments: Vec<f32>,
}

impl Step {
    fn new(sigmas: &[f32], i: usize, order: usize) -> Self {
        let h = lambda(sigmas[i + 1]) - lambda(sigmas[i]);
        let earlier = (1..order).map(|k| (lambda(sigmas[i - k]) - lambda(sigmas[i])) / h);
        let phi_1 = f64::from(-h).exp_m1() as f32;
        let (mut phi, mut factorial) = (phi_1 / -h - 1.0, 1.0);
        let mut moments = Vec::with_capacity(order);
        for k in 1..=order {
            moments.push(phi * factorial / phi_1);
            factorial *= (k + 1) as f32;
            phi = phi / -h - 1.0 / factorial;
        }
        let (sigma, next) = (sigmas[i], sigmas[i + 1]);
        Step { carry: next / sigma, data: (1.0 - next) * phi_1, ratios: earlier.chain([1.0]).collect(), moments }
    }

    /// Solves `sum_k ratio_k^j rho_k = moment_j`, `j < n`, for the first `n` ratios.
    fn solve(&self, n: usize) -> Vec<f32> {
        let row = |j: usize| self.ratios[..n].iter().map(|r| f64::from(r.powi(j as i32))).collect::<Vec<_>>();
        let moments = self.moments[..n].iter().map(|&moment| f64::from(moment)).collect();
        gauss((0..n).map(row).collect(), moments).into_iter().map(|rho| rho as f32).collect()
    }

    /// `carry x - data D_0 - data sum rho (D - D_0) / r`
    fn apply<'t>(
        &self,
        x: &Tensor,
        d0: &Tensor,
        known: impl Iterator<Item = (&'t Tensor, f32, f32)>,
    ) -> Result<Tensor> {
        let mut y = x.combine(self.carry, d0, -self.data)?;
        for (d, rho, ratio) in known {
            y.accumulate(-self.data * rho / ratio, &d.sub(d0)?)?;
        }
        Ok(y)
    }
}

fn lambda(sigma: f32) -> f32 {
    let ln = |x: f32| f64::from(x).ln() as f32;
    ln(1.0 - sigma) - ln(sigma)
}

/// Solves a small dense system by elimination with partial pivoting.
fn gauss(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for column in 0..n {
        let larger = |&i: &usize, &j: &usize| a[i][column].abs().total_cmp(&a[j][column].abs());
        let pivot = (column..n).max_by(larger).unwrap_or(column);
        a.swap(column, pivot);
        b.swap(column, pivot);
        for row in column + 1..n {
            let factor = a[row][column] / a[column][column];
            for k in column..n {
                a[row][k] -= factor * a[column][k];
            }
            b[row] -= factor * b[column];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|k| a[row][k] * b[k]).sum();
        b[row] = (b[row] - known) / a[row][row];
    }
    b
}
