//! What happens to a tile of the product on its way into `c`.

use super::Activation;
use super::micro::NR;
use crate::simd::{Body, LANES, Simd};

/// The epilogue of all rows, in f32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epilogue<'a> {
    /// `[n]`
    pub bias: Option<&'a [f32]>,
    pub activation: Activation,
    /// `[m, n]`
    pub residual: Option<&'a [f32]>,
    /// `[m / rows_per_group, n]`
    pub gate: Option<&'a [f32]>,
    pub rows_per_group: usize,
}

impl Epilogue<'_> {
    pub(super) fn is_nothing(&self) -> bool {
        self.is_only_bias() && self.bias.is_none()
    }

    /// Whether there is nothing but perhaps a bias.
    pub(super) fn is_only_bias(&self) -> bool {
        self.activation == Activation::None && self.residual.is_none() && self.gate.is_none()
    }
}

/// Finishes the rows of a tile: earlier parts of the sum, bias, preactivation, activation, gate, residual.
pub(super) struct Finish<'a> {
    pub tile: &'a [[f32; NR]],
    pub epilogue: Epilogue<'a>,
    /// From the tile's first row on.
    pub c: &'a mut [f32],
    /// From the tile's first row on.
    pub preactivation: Option<&'a mut [f32]>,
    pub n: usize,
    /// The tile's first row in the whole product.
    pub row: usize,
    pub column: usize,
    /// Columns of the tile that exist, at most [`NR`].
    pub width: usize,
    /// Whether `c` holds earlier parts of the sum.
    pub add: bool,
}

impl Body for Finish<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Epilogue { bias, activation, residual, gate, rows_per_group } = self.epilogue;
        for (r, tile) in self.tile.iter().enumerate() {
            let row = self.row + r;
            for first in (0..self.width).step_by(LANES) {
                let column = self.column + first;
                let at = |row: usize| row * self.n + column..row * self.n + column + (self.width - first).min(LANES);
                let mut y = s.load(&tile[first..]);
                if self.add {
                    y = s.add(y, load(s, &self.c[at(r)]));
                }
                y = bias.map_or(y, |x| s.add(y, load(s, &x[at(0)])));
                if let Some(preactivation) = &mut self.preactivation {
                    store(s, y, &mut preactivation[at(r)]);
                }
                y = activation.apply(s, y);
                y = gate.map_or(y, |x| s.mul(y, load(s, &x[at(row / rows_per_group)])));
                y = residual.map_or(y, |x| s.add(y, load(s, &x[at(row)])));
                store(s, y, &mut self.c[at(r)]);
            }
        }
    }
}

#[inline(always)]
fn load<S: Simd>(s: S, x: &[f32]) -> S::V {
    if x.len() == LANES { s.load(x) } else { s.load_partial(x, 0.0) }
}

#[inline(always)]
fn store<S: Simd>(s: S, v: S::V, x: &mut [f32]) {
    if x.len() == LANES { s.store(v, x) } else { s.store_partial(v, x) }
}

impl Activation {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, u: S::V) -> S::V {
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
    let magnitude = s.max(s.sub(s.zero(), x), x);
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
