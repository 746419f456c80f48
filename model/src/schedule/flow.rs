//! Flow matching: the path from data to noise, its shift, and what follows from a velocity.
//!
//! `x_t = (1 - t) x0 + t noise` and `v = noise - x0` give `x0 = x_t - t v` and `noise = x_t + (1 - t) v` (Lipman et al.,
//! "Flow Matching for Generative Modeling", 2023). The shift moves uniform levels towards noise (Esser et al., "Scaling
//! Rectified Flow Transformers for High-Resolution Image Synthesis", 2024).

use flg_engine::{Result, Tensor};

/// `S_s(u) = s u / (1 + (s - 1) u)`: level `u` in 0 to 1 under shift `s > 0`.
pub fn shift(u: f64, s: f64) -> f64 {
    s * u / (1.0 + (s - 1.0) * u)
}

/// The level that [`shift`] takes to `t`.
pub fn unshift(t: f64, s: f64) -> f64 {
    t / (s - (s - 1.0) * t)
}

/// The derivative of [`shift`] at `u`.
pub fn shift_slope(u: f64, s: f64) -> f64 {
    s / (1.0 + (s - 1.0) * u).powi(2)
}

/// `steps` levels `S_s(1 - i / steps)`, noisiest first, and a final 0: the grid of Wan's own sampler.
pub fn sigmas(steps: usize, s: f64) -> Vec<f32> {
    (0..=steps).map(|i| shift(1.0 - i as f64 / steps.max(1) as f64, s) as f32).collect()
}

/// `(1 - t) x0 + t noise`, with one level of `t` for each of `t.len()` equal rows (samples, or frames of channels).
///
/// # Errors
/// Different shapes; levels that do not divide the elements.
pub fn noised(x0: &Tensor, noise: &Tensor, t: &[f32]) -> Result<Tensor> {
    let data: Vec<f32> = t.iter().map(|t| 1.0 - t).collect();
    noise.scale_rows(t, Some(&x0.scale_rows(&data, None)?))
}

/// The data that a velocity points to, `x_t - t v`.
///
/// # Errors
/// As [`noised`].
pub fn clean_estimate(x: &Tensor, v: &Tensor, t: &[f32]) -> Result<Tensor> {
    let minus: Vec<f32> = t.iter().map(|t| -t).collect();
    v.scale_rows(&minus, Some(x))
}

/// The noise that a velocity comes from, `x_t + (1 - t) v`.
///
/// # Errors
/// As [`noised`].
pub fn noise_estimate(x: &Tensor, v: &Tensor, t: &[f32]) -> Result<Tensor> {
    let data: Vec<f32> = t.iter().map(|t| 1.0 - t).collect();
    v.scale_rows(&data, Some(x))
}

/// The velocity that points from `x_t` to the data `x0`, `(x_t - x0) / t`; `t > 0`.
///
/// # Errors
/// As [`noised`].
pub fn velocity_towards(x: &Tensor, x0: &Tensor, t: &[f32]) -> Result<Tensor> {
    let inverse: Vec<f32> = t.iter().map(|t| 1.0 / t).collect();
    x.sub(x0)?.scale_rows(&inverse, None)
}
