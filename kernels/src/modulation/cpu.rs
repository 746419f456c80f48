//! The modulation vectors on the CPU: copies of rows at memory speed.

use rayon::prelude::*;

use super::Dims;
use crate::lanes;
use crate::runtime::cpu::{for_rows, rows_per_task};
use crate::simd::{Body, Isa, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 2;

pub(super) fn forward(isa: Isa, dims: Dims, table: &[f32], projection: &[f32], y: &mut [f32]) {
    for_rows(y, dims.width, COST * dims.width, |first_row, y| {
        dispatch(isa, ForwardRows { dims, table, projection, first_row, y });
    });
}

struct ForwardRows<'a> {
    dims: Dims,
    table: &'a [f32],
    projection: &'a [f32],
    first_row: usize,
    y: &'a mut [f32],
}

impl Body for ForwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Dims { slots, groups, width } = self.dims;
        for (r, y) in self.y.chunks_exact_mut(width).enumerate() {
            let (slot, group) = ((self.first_row + r) / groups, (self.first_row + r) % groups);
            let table = &self.table[slot * width..][..width];
            let projection = &self.projection[(group * slots + slot) * width..][..width];
            lanes::map(s, [table, projection], y, |[t, p]| s.add(t, p));
        }
    }
}

pub(super) fn backward(isa: Isa, dims: Dims, dy: &[f32], dtable: &mut [f32], dprojection: &mut [f32]) {
    let Dims { slots, groups, width } = dims;
    for_rows(dprojection, width, COST * width, |first_row, rows| {
        for (r, row) in rows.chunks_exact_mut(width).enumerate() {
            let (group, slot) = ((first_row + r) / slots, (first_row + r) % slots);
            row.copy_from_slice(&dy[(slot * groups + group) * width..][..width]);
        }
    });
    if dy.is_empty() {
        return;
    }
    // One task a slot: few, but each adds its rows in order without a buffer.
    let sums = dtable.par_chunks_mut(width).zip(dy.par_chunks(groups * width));
    let slots_per_task = rows_per_task(slots, COST * groups * width);
    sums.with_min_len(slots_per_task).for_each(|(sum, dy)| dispatch(isa, SumRows { dy, sum }));
}

struct SumRows<'a> {
    dy: &'a [f32],
    sum: &'a mut [f32],
}

impl Body for SumRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for dy in self.dy.chunks_exact(self.sum.len()) {
            lanes::update(s, [dy], self.sum, |sum, [dy]| s.add(sum, dy));
        }
    }
}
