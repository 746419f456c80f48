//! Rows of squared differences, summed in f64.

use crate::lanes::{self, map};
use crate::runtime::cpu::{for_rows, partials, rows_per_task};
use crate::simd::{Body, Isa, Simd, dispatch};

/// `sum_r w_r sum_j (a - b)^2`
pub(super) fn forward(isa: Isa, a: &[f32], b: &[f32], weights: Option<&[f32]>, width: usize) -> f64 {
    if a.is_empty() {
        return 0.0;
    }
    let rows = a.len() / width;
    let step = rows_per_task(rows, width);
    let pieces = partials(rows.div_ceil(step), 1, |piece| {
        (piece.start * step..(piece.start * step + step).min(rows))
            .map(|r| {
                let row = r * width..(r + 1) * width;
                let sum = dispatch(isa, RowLoop { a: &a[row.clone()], b: &b[row] });
                weights.map_or(1.0, |w| f64::from(w[r])) * sum
            })
            .sum::<f64>()
    });
    pieces.into_iter().sum()
}

pub(super) fn backward(
    isa: Isa,
    difference: [&[f32]; 2],
    weights: Option<&[f32]>,
    factor: f32,
    da: &mut [f32],
    width: usize,
) {
    for_rows(da, width, 2 * width, |first, da| {
        for (i, da) in da.chunks_exact_mut(width).enumerate() {
            let r = first + i;
            let x = difference.map(|x| &x[r * width..(r + 1) * width]);
            dispatch(isa, ScaledDifference { x, factor: factor * weights.map_or(1.0, |w| w[r]), da });
        }
    });
}

struct RowLoop<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Body for RowLoop<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        lanes::sum([self.a, self.b], |[a, b]| (a - b) * (a - b))
    }
}

struct ScaledDifference<'a> {
    x: [&'a [f32]; 2],
    factor: f32,
    da: &'a mut [f32],
}

impl Body for ScaledDifference<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let factor = s.splat(self.factor);
        map(s, self.x, self.da, |[a, b]| s.mul(factor, s.sub(a, b)));
    }
}
