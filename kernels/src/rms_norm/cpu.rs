//! Root-mean-square normalisation on the CPU: a row is read from memory once and then from the first-level cache.

use rayon::prelude::*;

use crate::groups::Groups;
use crate::lanes;
use crate::rope::cpu::Angles;
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
    pub rotation: Option<Angles<'a>>,
}

pub(super) fn forward(isa: Isa, inputs: Forward<'_>, y: &mut [f32], rstd: &mut [f32]) {
    let width = inputs.width;
    if width == 0 {
        return rstd.fill(1.0 / inputs.eps.sqrt());
    }
    let run = |first_row, y: &mut [f32], rstd: &mut [f32]| match inputs.rotation {
        None => dispatch(isa, ForwardRows::<false> { inputs, first_row, y, rstd }),
        Some(_) => dispatch(isa, ForwardRows::<true> { inputs, first_row, y, rstd }),
    };
    let step = rows_per_task(rstd.len(), COST * width);
    if step >= rstd.len() {
        return run(0, y, rstd);
    }
    let pieces = y.par_chunks_mut(step * width).zip(rstd.par_chunks_mut(step));
    pieces.enumerate().for_each(|(i, (y, rstd))| run(i * step, y, rstd));
}

/// Whether rows are turned is known to the compiler: neither loop pays for the other.
struct ForwardRows<'a, const TURNED: bool> {
    inputs: Forward<'a>,
    first_row: usize,
    y: &'a mut [f32],
    rstd: &'a mut [f32],
}

impl<const TURNED: bool> Body for ForwardRows<'_, TURNED> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Forward { width, x, weight, eps, rotation } = self.inputs;
        let x = &x[self.first_row * width..];
        let rows = self.y.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(self.rstd);
        for (r, ((y, x), rstd)) in rows.enumerate() {
            let [squares] = row_sums(s, [x], 0.0, |[sum], [x]| [s.mul_add(x, x, sum)]);
            *rstd = 1.0 / (squares / width as f32 + eps).sqrt();
            let k = s.splat(*rstd);
            match rotation {
                Some(angles) if TURNED => {
                    angles.turn(s, self.first_row + r, [x, weight], y, |[x, w]| s.mul(s.mul(x, k), w))
                }
                _ => lanes::map(s, [x, weight], y, |[x, w]| s.mul(s.mul(x, k), w)),
            }
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
    pub rotation: Option<Angles<'a>>,
}

pub(super) fn backward(isa: Isa, rows: Groups, inputs: Backward<'_>, dx: &mut [f32], dweight: &mut [f32]) {
    rows.for_pieces(COST * rows.width, dx, [Some(dweight)], |first_row, dx, [dweight]| match inputs.rotation {
        None => dispatch(isa, BackwardRows::<false> { inputs, first_row, dx, dweight }),
        Some(_) => dispatch(isa, BackwardRows::<true> { inputs, first_row, dx, dweight }),
    });
}

/// As [`ForwardRows`].
struct BackwardRows<'a, const TURNED: bool> {
    inputs: Backward<'a>,
    first_row: usize,
    dx: &'a mut [f32],
    dweight: &'a mut [f32],
}

impl<const TURNED: bool> Body for BackwardRows<'_, TURNED> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Backward { width, x, weight, rstd, dy, rotation } = self.inputs;
        let mut turned = vec![0.0; if TURNED { width } else { 0 }];
        for (r, dx) in self.dx.chunks_exact_mut(width).enumerate() {
            let row = self.first_row + r;
            let (x, mut dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
            if let Some(angles) = rotation.filter(|_| TURNED) {
                angles.turn(s, row, [dy], &mut turned, |[dy]| dy);
                dy = &turned;
            }
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
