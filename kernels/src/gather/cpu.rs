//! Whole rows are copied or added; every row of the output is written by one task.

use half::bf16;
use half::slice::HalfFloatSliceExt;

use super::by_row::by_row;
use crate::lanes::update;
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, Simd, dispatch};
use crate::{In, Out};

/// Picks without widening `x` first: a table of embeddings is large, and few of its rows are picked.
pub(super) fn forward(x: In<'_>, index: &[i32], y: Out<'_>, rows: usize, width: usize) {
    let from = Picks { index, rows, width };
    match (x, y) {
        (In::F32(x), Out::F32(y)) => from.copy(x, y, 0.0, |x, y| y.copy_from_slice(x)),
        (In::Bf16(x), Out::Bf16(y)) => from.copy(x, y, bf16::ZERO, |x, y| y.copy_from_slice(x)),
        (In::Bf16(x), Out::F32(y)) => from.copy(x, y, 0.0, |x, y| x.convert_to_f32_slice(y)),
        (In::F32(x), Out::Bf16(y)) => from.copy(x, y, bf16::ZERO, |x, y| y.convert_from_f32_slice(x)),
        // `check` has refused indices.
        (In::I32(_), _) => {}
        #[cfg(feature = "cuda")]
        (In::Cuda(_), _) | (_, Out::Cuda(_)) => unreachable!("a check refuses operands of another device"),
    }
}

struct Picks<'a> {
    index: &'a [i32],
    rows: usize,
    width: usize,
}

impl Picks<'_> {
    fn copy<X: Sync, Y: Send + Sync + Copy>(
        &self,
        x: &[X],
        y: &mut [Y],
        zero: Y,
        convert: impl Fn(&[X], &mut [Y]) + Sync,
    ) {
        let (picks, width) = (self.index.len(), self.width);
        for_rows(y, width, width, |first, y| {
            for (k, y) in y.chunks_exact_mut(width).enumerate() {
                let (b, p) = ((first + k) / picks, (first + k) % picks);
                match usize::try_from(self.index[p]) {
                    Ok(i) => convert(&x[(b * self.rows + i) * width..][..width], y),
                    // -1, the only negative index that `check` lets through
                    Err(_) => y.fill(zero),
                }
            }
        });
    }
}

pub(super) fn backward(isa: Isa, dy: &[f32], index: &[i32], dx: &mut [f32], rows: usize, width: usize) {
    let (starts, order) = by_row(index, rows);
    let picks = index.len();
    let cost = width * (1 + picks / rows.max(1));
    for_rows(dx, width, cost, |first, dx| {
        for (k, dx) in dx.chunks_exact_mut(width).enumerate() {
            let (b, i) = ((first + k) / rows, (first + k) % rows);
            for &p in &order[starts[i]..starts[i + 1]] {
                dispatch(isa, AddRow { x: &dy[(b * picks + p) * width..][..width], sum: dx });
            }
        }
    });
}

struct AddRow<'a> {
    x: &'a [f32],
    sum: &'a mut [f32],
}

impl Body for AddRow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        update(s, [self.x], self.sum, |sum, [x]| s.add(sum, x));
    }
}
