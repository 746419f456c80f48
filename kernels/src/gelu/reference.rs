//! GELU in f64.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, PI};

use super::Form;

pub(super) fn forward(x: &[f64], form: Form) -> Vec<f64> {
    x.iter()
        .map(|&x| match form {
            Form::Tanh => 0.5 * x * (1.0 + (FRAC_2_PI.sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
            Form::Erf => 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2)),
        })
        .collect()
}

/// The error function: `2 / sqrt(pi) e^{-x^2} sum_n 2^n x^{2n+1} / (2n+1)!!` (Abramowitz and Stegun 7.1.6), whose terms
/// have one sign. It is 1 to f64's last bit from 6 on.
pub(super) fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-17 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}
