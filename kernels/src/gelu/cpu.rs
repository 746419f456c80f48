//! GELU on the CPU: one exponential an element, in one pass.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use super::Form;
use crate::lanes::map;
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 6;

/// `2 sqrt(2 / pi)`
const TWO_SQRT_2_OVER_PI: f32 = 1.595_769;
const CUBIC: f32 = 0.044_715;
/// `1 / sqrt(2 pi)`
const INV_SQRT_2_PI: f32 = 0.398_942_3;

pub(super) fn forward(isa: Isa, x: &[f32], y: &mut [f32], form: Form) {
    for_rows(y, 1, COST, |first, y| dispatch(isa, ForwardLoop { x: &x[first..first + y.len()], y, form }));
}

pub(super) fn backward(isa: Isa, x: &[f32], dy: &[f32], dx: &mut [f32], form: Form) {
    for_rows(dx, 1, COST, |first, dx| {
        let rows = first..first + dx.len();
        dispatch(isa, BackwardLoop { x: &x[rows.clone()], dy: &dy[rows], dx, form })
    });
}

struct ForwardLoop<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
    form: Form,
}

impl Body for ForwardLoop<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.form {
            Form::Tanh => map(s, [self.x], self.y, |[x]| tanh(s, x)),
            Form::Erf => map(s, [self.x], self.y, |[x]| erf(s, x)),
        }
    }
}

struct BackwardLoop<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    form: Form,
}

impl Body for BackwardLoop<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = [self.x, self.dy];
        match self.form {
            Form::Tanh => map(s, x, self.dx, |[x, dy]| s.mul(dy, tanh_slope(s, x))),
            Form::Erf => map(s, x, self.dx, |[x, dy]| s.mul(dy, erf_slope(s, x))),
        }
    }
}

/// `x / (1 + e^{-2u})` with `2u = 2 sqrt(2/pi) (x + 0.044715 x^3)`, which is `x/2 (1 + tanh u)` with one exponential and
/// no cancellation for negative `x`.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(x, s.add(s.splat(1.0), exp_minus_2u(s, x, s.mul(x, x))))
}

/// `e^{-2u}`, as a power of two: the polynomial that scales `x` takes the factor `log2 e` for nothing. At most `2^126`,
/// which any `x` above -1e30 is divided by to nothing.
#[inline(always)]
fn exp_minus_2u<S: Simd>(s: S, x: S::V, square: S::V) -> S::V {
    const LINEAR: f32 = -TWO_SQRT_2_OVER_PI * LOG2_E;
    let factor = s.mul_add(square, s.splat(LINEAR * CUBIC), s.splat(LINEAR));
    s.exp2(s.min(s.splat(126.0), s.mul(x, factor)))
}

/// `g + x g (1 - g) 2u'` with `g = sigmoid(2u)`
#[inline(always)]
fn tanh_slope<S: Simd>(s: S, x: S::V) -> S::V {
    let (square, one) = (s.mul(x, x), s.splat(1.0));
    let gate = s.div(one, s.add(one, exp_minus_2u(s, x, square)));
    let du = s.mul_add(square, s.splat(3.0 * TWO_SQRT_2_OVER_PI * CUBIC), s.splat(TWO_SQRT_2_OVER_PI));
    let rest = s.mul(s.mul(x, s.sub(one, gate)), du);
    s.mul_add(gate, rest, gate)
}

/// `x Phi(x) = max(x, 0) - |x| Q(|x|)`, which does not cancel for negative `x`.
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    let magnitude = s.max(s.sub(s.zero(), x), x);
    let (tail, _) = upper_tail(s, magnitude);
    s.sub(s.max(s.zero(), x), s.mul(magnitude, tail))
}

/// `Phi(x) + x phi(x)`, with `Phi(x) = 1/2 + sign(x) (1/2 - Q(|x|))`
#[inline(always)]
fn erf_slope<S: Simd>(s: S, x: S::V) -> S::V {
    let (one, half) = (s.splat(1.0), s.splat(0.5));
    let (tail, exponential) = upper_tail(s, s.max(s.sub(s.zero(), x), x));
    // Where |x| < 1e-20 this is no sign, but then 1/2 - Q is 0.
    let sign = s.max(s.sub(s.zero(), one), s.min(one, s.mul(x, s.splat(1e20))));
    let cumulative = s.mul_add(sign, s.sub(half, tail), half);
    s.mul_add(x, s.mul(s.splat(INV_SQRT_2_PI), exponential), cumulative)
}

/// The normal distribution's upper tail `Q(x) = erfc(x / sqrt 2) / 2` for `x >= 0`, and `e^{-x^2 / 2}`.
///
/// Abramowitz and Stegun 7.1.26: absolute error of erfc below 1.5e-7, with f32 roundings below 7e-7.
#[inline(always)]
pub(super) fn upper_tail<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    let one = s.splat(1.0);
    let t = s.div(one, s.mul_add(s.splat(0.327_591_1 * FRAC_1_SQRT_2), x, one));
    let mut p = s.splat(0.5 * 1.061_405_4);
    for c in [0.5 * -1.453_152, 0.5 * 1.421_413_7, 0.5 * -0.284_496_74, 0.5 * 0.254_829_6] {
        p = s.mul_add(p, t, s.splat(c));
    }
    let exponential = s.exp(s.mul(s.mul(x, x), s.splat(-0.5)));
    (s.mul(s.mul(p, t), exponential), exponential)
}
