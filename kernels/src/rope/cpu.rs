//! Rotary position embedding on the CPU: one pass at memory speed.

use super::{Dims, Direction};
use crate::lanes;
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 4;

/// Operands that every piece reads.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub x: &'a [f32],
    pub cos: &'a [f32],
    pub sin: &'a [f32],
    pub dims: Dims,
    pub direction: Direction,
}

pub(super) fn rope(isa: Isa, inputs: Inputs<'_>, y: &mut [f32]) {
    let row = inputs.dims.heads * inputs.dims.width;
    for_rows(y, row, COST * row, |first_row, y| dispatch(isa, Rows { inputs, first_row, y }));
}

struct Rows<'a> {
    inputs: Inputs<'a>,
    first_row: usize,
    y: &'a mut [f32],
}

impl Body for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Inputs { x, dims, .. } = self.inputs;
        let row = dims.heads * dims.width;
        // The token's angles, spread to both elements of their pairs: every head uses them.
        let (mut cos, mut sin) = (vec![0.0; dims.width], vec![0.0; dims.width]);
        for (r, y) in self.y.chunks_exact_mut(row).enumerate() {
            let r = self.first_row + r;
            self.inputs.spread(r % dims.tokens, &mut cos, &mut sin);
            let heads = x[r * row..][..row].chunks_exact(dims.width).zip(y.chunks_exact_mut(dims.width));
            for (x, y) in heads {
                lanes::map(s, [x, &cos, &sin], y, |[x, cos, sin]| s.mul_add(x, cos, s.mul(s.swap_pairs(x), sin)));
            }
        }
    }
}

impl Inputs<'_> {
    /// `cos = (c, c, ...)` and `sin = (-s, s, ...)` of a token, so that `y = x * cos + swapped x * sin`.
    #[inline(always)]
    fn spread(&self, token: usize, cos: &mut [f32], sin: &mut [f32]) {
        let pairs = self.dims.width / 2;
        let sign = match self.direction {
            Direction::Forward => 1.0,
            Direction::Inverse => -1.0,
        };
        let (from_cos, from_sin) = (&self.cos[token * pairs..][..pairs], &self.sin[token * pairs..][..pairs]);
        for (to, c) in cos.chunks_exact_mut(2).zip(from_cos) {
            to.fill(*c);
        }
        for (to, s) in sin.chunks_exact_mut(2).zip(from_sin) {
            (to[0], to[1]) = (-sign * s, sign * s);
        }
    }
}
