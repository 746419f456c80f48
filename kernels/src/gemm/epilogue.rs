//! What happens to a row of the product on its way into `c`.

use super::Activation;
use crate::simd::Simd;

/// The epilogue of all rows, in f32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    /// `[n]`
    pub bias: Option<&'a [f32]>,
    pub activation: Activation,
    /// `[m, n]`
    pub residual: Option<&'a [f32]>,
    /// `[m / rows_per_group, n]`
    pub gate: Option<&'a [f32]>,
    pub rows_per_group: usize,
}

impl Activation {
    #[inline(always)]
    pub(super) fn apply<S: Simd>(self, s: S, u: S::V) -> S::V {
        match self {
            Activation::None => u,
            Activation::GeluTanh => gelu_tanh(s, u),
            Activation::GeluErf => gelu_erf(s, u),
            Activation::Silu => s.mul(u, s.sigmoid(u)),
        }
    }
}

/// `u sigmoid(2 v)` with `v = sqrt(2/pi) (u + 0.044715 u^3)`, which is `u/2 (1 + tanh v)`.
#[inline(always)]
fn gelu_tanh<S: Simd>(s: S, u: S::V) -> S::V {
    let cubic = s.mul_add(s.mul(u, u), s.splat(0.071_354_814), s.splat(1.595_769));
    s.mul(u, s.sigmoid(s.mul(u, cubic)))
}

/// `u Phi(u)`, the normal distribution function by Abramowitz and Stegun 7.1.26 (absolute error of erf below 1.5e-7).
#[inline(always)]
fn gelu_erf<S: Simd>(s: S, u: S::V) -> S::V {
    let x = s.mul(u, s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let magnitude = s.sqrt(s.mul(x, x));
    let one = s.splat(1.0);
    let t = s.div(one, s.mul_add(s.splat(0.327_591_1), magnitude, one));
    let mut p = s.splat(1.061_405_4);
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = s.mul_add(p, t, s.splat(c));
    }
    let tail = s.mul(s.mul(p, t), s.exp(s.sub(s.zero(), s.mul(x, x))));
    // u Phi(u) = max(u, 0) - |u|/2 erfc(|u| / sqrt 2): even tail, no cancellation for large negative u.
    let half = s.mul(s.mul(magnitude, s.splat(std::f32::consts::FRAC_1_SQRT_2)), tail);
    s.sub(s.max(s.zero(), u), half)
}
