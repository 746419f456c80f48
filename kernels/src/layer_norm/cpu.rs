//! Layer normalisation on the CPU: a row is read from memory once and then from the first-level cache.

use rayon::prelude::*;

use crate::groups::Groups;
use crate::lanes;
use crate::row_sums::row_sums;
use crate::runtime::cpu::rows_per_task;
use crate::simd::{Body, Isa, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 8;

/// Operands that every piece of the forward pass reads.
#[derive(Clone, Copy)]
pub(super) struct Forward<'a> {
    pub groups: Groups,
    pub x: &'a [f32],
    pub weight: Option<&'a [f32]>,
    pub bias: Option<&'a [f32]>,
    pub weight_offset: f32,
    pub eps: f32,
}

pub(super) fn forward(isa: Isa, mut inputs: Forward<'_>, y: &mut [f32], mean: &mut [f32], rstd: &mut [f32]) {
    let Groups { rows, width, .. } = inputs.groups;
    if width == 0 {
        mean.fill(0.0);
        return rstd.fill(1.0 / inputs.eps.sqrt());
    }
    let zeros = vec![0.0; width];
    if inputs.weight.is_none() {
        inputs.weight_offset = 1.0;
    }
    let inputs = &inputs;
    let run = |first_row, y: &mut [f32], mean: &mut [f32], rstd: &mut [f32]| {
        dispatch(isa, ForwardRows { inputs, zeros: &zeros, first_row, y, mean, rstd });
    };
    let step = rows_per_task(rows, COST * width);
    if step >= rows {
        return run(0, y, mean, rstd);
    }
    let pieces = y.par_chunks_mut(step * width).zip(mean.par_chunks_mut(step)).zip(rstd.par_chunks_mut(step));
    pieces.enumerate().for_each(|(i, ((y, mean), rstd))| run(i * step, y, mean, rstd));
}

struct ForwardRows<'a> {
    inputs: &'a Forward<'a>,
    /// `[width]`: the weight or bias that is absent.
    zeros: &'a [f32],
    first_row: usize,
    y: &'a mut [f32],
    mean: &'a mut [f32],
    rstd: &'a mut [f32],
}

impl Body for ForwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Forward { groups, x, weight, bias, weight_offset, eps } = *self.inputs;
        let width = groups.width;
        let offset = s.splat(weight_offset);
        for (r, y) in self.y.chunks_exact_mut(width).enumerate() {
            let row = self.first_row + r;
            let x = &x[row * width..][..width];
            let [sum] = row_sums(s, [x], 0.0, |[sum], [x]| [s.add(sum, x)]);
            let mean = sum / width as f32;
            let m = s.splat(mean);
            let [squares] = row_sums(s, [x], mean, |[sum], [x]| {
                let d = s.sub(x, m);
                [s.mul_add(d, d, sum)]
            });
            let rstd = 1.0 / (squares / width as f32 + eps).sqrt();
            let k = s.splat(rstd);
            let (weight, bias) = (groups.of_row(weight, self.zeros, row), groups.of_row(bias, self.zeros, row));
            lanes::map(s, [x, weight, bias], y, |[x, w, b]| s.mul_add(s.mul(s.sub(x, m), k), s.add(w, offset), b));
            (self.mean[r], self.rstd[r]) = (mean, rstd);
        }
    }
}

/// Operands that every piece of the backward pass reads.
#[derive(Clone, Copy)]
pub(super) struct Backward<'a> {
    pub groups: Groups,
    pub x: &'a [f32],
    pub weight: Option<&'a [f32]>,
    pub mean: &'a [f32],
    pub rstd: &'a [f32],
    pub dy: &'a [f32],
    pub weight_offset: f32,
}

pub(super) fn backward(
    isa: Isa,
    mut inputs: Backward<'_>,
    dx: &mut [f32],
    dweight: Option<&mut [f32]>,
    dbias: Option<&mut [f32]>,
) {
    let groups = inputs.groups;
    let zeros = vec![0.0; groups.width];
    if inputs.weight.is_none() {
        inputs.weight_offset = 1.0;
    }
    groups.for_pieces(COST * groups.width, dx, [dweight, dbias], |first_row, dx, [dweight, dbias]| {
        dispatch(isa, BackwardRows { inputs: &inputs, zeros: &zeros, first_row, dx, dweight, dbias });
    });
}

struct BackwardRows<'a> {
    inputs: &'a Backward<'a>,
    /// `[width]`: the weight that is absent.
    zeros: &'a [f32],
    first_row: usize,
    dx: &'a mut [f32],
    /// Empty where not asked for.
    dweight: &'a mut [f32],
    /// Empty where not asked for.
    dbias: &'a mut [f32],
}

impl Body for BackwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Backward { groups, x, weight, mean, rstd, dy, weight_offset } = *self.inputs;
        let width = groups.width;
        let offset = s.splat(weight_offset);
        let weight = groups.of_row(weight, self.zeros, self.first_row);
        for (r, dx) in self.dx.chunks_exact_mut(width).enumerate() {
            let row = self.first_row + r;
            let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
            let (m, k) = (s.splat(mean[row]), s.splat(rstd[row]));
            let [sum, product] = row_sums(s, [x, dy, weight], 0.0, |[sum, product], [x, dy, w]| {
                let d = s.mul(dy, s.add(w, offset));
                [s.add(sum, d), s.mul_add(d, s.mul(s.sub(x, m), k), product)]
            });
            let (a, b) = (s.splat(sum / width as f32), s.splat(product / width as f32));
            if self.dweight.is_empty() {
                lanes::map(s, [x, dy, weight], dx, |[x, dy, w]| {
                    let d = s.sub(s.mul(dy, s.add(w, offset)), a);
                    s.mul(k, s.sub(d, s.mul(s.mul(s.sub(x, m), k), b)))
                });
            } else {
                lanes::map_and_update(s, [x, dy, weight], dx, self.dweight, |sum, [x, dy, w]| {
                    let (xhat, d) = (s.mul(s.sub(x, m), k), s.sub(s.mul(dy, s.add(w, offset)), a));
                    [s.mul(k, s.sub(d, s.mul(xhat, b))), s.mul_add(dy, xhat, sum)]
                });
            }
            lanes::update(s, [dy], self.dbias, |sum, [dy]| s.add(sum, dy));
        }
    }
}
