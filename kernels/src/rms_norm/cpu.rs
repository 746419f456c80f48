//! Root-mean-square normalisation on the CPU: a row is read from memory once and then from the first-level cache.

use rayon::prelude::*;

use crate::groups::Groups;
use crate::lanes;
use crate::row_sums::row_sums;
use crate::runtime::cpu::rows_per_task;
use crate::simd::{Body, Isa, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 6;

/// Operands that every piece of the forward pass reads.
#[derive(Clone, Copy)]
pub(super) struct Forward<'a> {
    pub width: usize,
    pub x: &'a [f32],
    pub weight: &'a [f32],
    pub eps: f32,
}

pub(super) fn forward(isa: Isa, inputs: Forward<'_>, y: &mut [f32], rstd: &mut [f32]) {
    let width = inputs.width;
    if width == 0 {
        return rstd.fill(1.0 / inputs.eps.sqrt());
    }
    let step = rows_per_task(rstd.len(), COST * width);
    if step >= rstd.len() {
        return dispatch(isa, ForwardRows { inputs, first_row: 0, y, rstd });
    }
    let pieces = y.par_chunks_mut(step * width).zip(rstd.par_chunks_mut(step));
    pieces.enumerate().for_each(|(i, (y, rstd))| dispatch(isa, ForwardRows { inputs, first_row: i * step, y, rstd }));
}

struct ForwardRows<'a> {
    inputs: Forward<'a>,
    first_row: usize,
    y: &'a mut [f32],
    rstd: &'a mut [f32],
}

impl Body for ForwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Forward { width, x, weight, eps } = self.inputs;
        let x = &x[self.first_row * width..];
        for ((y, x), rstd) in self.y.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(self.rstd) {
            let [squares] = row_sums(s, [x], 0.0, |[sum], [x]| [s.mul_add(x, x, sum)]);
            *rstd = 1.0 / (squares / width as f32 + eps).sqrt();
            let k = s.splat(*rstd);
            lanes::map(s, [x, weight], y, |[x, w]| s.mul(s.mul(x, k), w));
        }
    }
}

/// Operands that every piece of the backward pass reads.
#[derive(Clone, Copy)]
pub(super) struct Backward<'a> {
    pub width: usize,
    pub x: &'a [f32],
    pub weight: &'a [f32],
    pub rstd: &'a [f32],
    pub dy: &'a [f32],
}

pub(super) fn backward(isa: Isa, rows: Groups, inputs: Backward<'_>, dx: &mut [f32], dweight: &mut [f32]) {
    rows.for_pieces(COST * rows.width, dx, [Some(dweight)], |first_row, dx, [dweight]| {
        dispatch(isa, BackwardRows { inputs, first_row, dx, dweight });
    });
}

struct BackwardRows<'a> {
    inputs: Backward<'a>,
    first_row: usize,
    dx: &'a mut [f32],
    dweight: &'a mut [f32],
}

impl Body for BackwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Backward { width, x, weight, rstd, dy } = self.inputs;
        for (r, dx) in self.dx.chunks_exact_mut(width).enumerate() {
            let row = self.first_row + r;
            let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
            let k = s.splat(rstd[row]);
            let [product] =
                row_sums(s, [x, dy, weight], 0.0, |[sum], [x, dy, w]| [s.mul_add(s.mul(dy, w), s.mul(x, k), sum)]);
            let b = s.splat(product / width as f32);
            lanes::map_and_update(s, [x, dy, weight], dx, self.dweight, |sum, [x, dy, w]| {
                let xhat = s.mul(x, k);
                [s.mul(k, s.sub(s.mul(dy, w), s.mul(xhat, b))), s.mul_add(dy, xhat, sum)]
            });
        }
    }
}
