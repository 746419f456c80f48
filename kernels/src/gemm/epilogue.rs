//! What happens to a tile of the product on its way into `c`.

use super::Activation;
use crate::gelu;
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

/// Finishes a tile whose sums, bias included, lie where [`sums`] says: activation, gate, residual.
pub(super) struct Finish<'a> {
    pub epilogue: Epilogue<'a>,
    /// From the tile's first row on.
    pub c: &'a mut [f32],
    /// From the tile's first row on; holds the sums where there is one, else `c` does.
    pub preactivation: Option<&'a [f32]>,
    pub n: usize,
    /// The tile's first row in the whole product.
    pub row: usize,
    pub column: usize,
    /// Rows and columns of the tile that exist.
    pub height: usize,
    pub width: usize,
}

/// Where parts of the sum over `k` wait for the next one, and the whole sum for the activation.
pub(super) fn sums<'a>(c: &'a mut [f32], preactivation: Option<&'a mut [f32]>) -> &'a mut [f32] {
    preactivation.unwrap_or(c)
}

impl Body for Finish<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.epilogue.activation {
            Activation::None => self.rows::<S, Identity>(s),
            Activation::GeluTanh => self.rows::<S, GeluTanh>(s),
            Activation::GeluErf => self.rows::<S, GeluErf>(s),
            Activation::Silu => self.rows::<S, Silu>(s),
        }
    }
}

impl Finish<'_> {
    #[inline(always)]
    fn rows<S: Simd, P: Pointwise>(self, s: S) {
        let Epilogue { residual, gate, rows_per_group, .. } = self.epilogue;
        for r in 0..self.height {
            let row = self.row + r;
            for first in (0..self.width).step_by(LANES) {
                let column = self.column + first;
                let at = |row: usize| row * self.n + column..row * self.n + column + (self.width - first).min(LANES);
                let mut y = load(s, self.preactivation.map_or(&self.c[at(r)], |u| &u[at(r)]));
                y = P::apply(s, y);
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

/// An activation as a type, so that the loop over a tile is compiled for each without a branch inside.
trait Pointwise {
    fn apply<S: Simd>(s: S, u: S::V) -> S::V;
}

struct Identity;
struct GeluTanh;
struct GeluErf;
struct Silu;

impl Pointwise for Identity {
    #[inline(always)]
    fn apply<S: Simd>(_: S, u: S::V) -> S::V {
        u
    }
}

impl Pointwise for GeluTanh {
    #[inline(always)]
    fn apply<S: Simd>(s: S, u: S::V) -> S::V {
        gelu::cpu::tanh(s, u)
    }
}

impl Pointwise for GeluErf {
    #[inline(always)]
    fn apply<S: Simd>(s: S, u: S::V) -> S::V {
        gelu::cpu::erf(s, u)
    }
}

impl Pointwise for Silu {
    #[inline(always)]
    fn apply<S: Simd>(s: S, u: S::V) -> S::V {
        s.mul(u, s.sigmoid(u))
    }
}
