//! One task: some rows of `c`, from packed `b` to the epilogue.

use std::ops::Range;

use super::Write;
use super::cpu::Product;
use super::epilogue::{Finish, sums};
use super::micro::{Destination, Micro, Rows};
use super::pack::pack;
use crate::In;
use crate::simd::{Body, Simd, WIDE};

/// Consecutive rows of `c`, for some of its columns.
pub(super) struct Block<'a, const MR: usize, const NV: usize> {
    pub product: &'a Product<'a>,
    /// Which row of the whole product the first one is.
    pub first_row: usize,
    pub columns: Range<usize>,
    /// Steps that run through all tiles before the next ones do.
    pub steps: usize,
    /// The panels of these columns.
    pub b: &'a [f32],
    /// Where rows of `a` are packed, a multiple of `MR` of them; without it they are read where they are.
    pub scratch: Option<&'a mut [f32]>,
    /// `[rows, n]`
    pub c: &'a mut [f32],
    /// `[rows, n]`
    pub preactivation: Option<&'a mut [f32]>,
}

/// The part of the sum over `k` that runs through all tiles before the next one does. Earlier ones wait where [`sums`] says.
struct Part {
    steps: Range<usize>,
    /// Whether `c` is added to.
    add: bool,
    /// Whether tiles go through the epilogue.
    finish: bool,
}

/// Where a tile lies in its block.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
    /// Rows and columns that exist, at most `MR` and `NV * WIDE`.
    height: usize,
    width: usize,
}

impl<const MR: usize, const NV: usize> Body for Block<'_, MR, NV> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        // Without a single step there is still an epilogue, of zero.
        for index in 0..self.product.dims.k.div_ceil(self.steps).max(1) {
            let part = self.part(index);
            self.run_part(s, part);
        }
    }
}

impl<const MR: usize, const NV: usize> Block<'_, MR, NV> {
    fn part(&self, index: usize) -> Part {
        let k = self.product.dims.k;
        let steps = index * self.steps..((index + 1) * self.steps).min(k);
        let epilogue = self.preactivation.is_some() || !self.product.epilogue.is_nothing();
        let finish = epilogue && steps.end == k;
        Part { steps, add: index > 0 || self.product.write == Write::Accumulate, finish }
    }

    #[inline(always)]
    fn run_part<S: Simd>(&mut self, s: S, part: Part) {
        let rows = self.c.len() / self.product.dims.n;
        if let Some(panels) = self.scratch.as_deref_mut() {
            let rows = self.first_row..self.first_row + rows;
            s.call(PackA::<MR> { product: self.product, rows, steps: part.steps.clone(), panels });
        }
        let (panels, _) = self.b.as_chunks::<WIDE>().0.as_chunks::<NV>();
        let k = self.product.dims.k;
        for (panel, column) in self.columns.clone().step_by(NV * WIDE).enumerate() {
            let b = &panels[panel * k + part.steps.start..][..part.steps.len()];
            // The next panel comes from memory where `b` was packed long ago: each row of tiles asks for its share of it.
            let next = panels.get((panel + 1) * k + part.steps.start..).unwrap_or(&[]);
            let next = next[..part.steps.len().min(next.len())].as_flattened();
            let share = next.len().div_ceil(rows.div_ceil(MR));
            let width = (self.columns.end - column).min(NV * WIDE);
            for (i, row) in (0..rows).step_by(MR).enumerate() {
                next.iter().skip(i * share).take(share).for_each(|line| s.prefetch_far(line));
                self.tile(s, b, Place { row, column, height: (rows - row).min(MR), width }, &part);
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd>(&mut self, s: S, b: &[[[f32; WIDE]; NV]], at: Place, part: &Part) {
        let Place { row, column, height, width } = at;
        let (n, epilogue) = (self.product.dims.n, self.product.epilogue);
        let a = rows_of_a(self.product, self.scratch.as_deref(), self.first_row, row, &part.steps);
        let bias = epilogue.bias.filter(|_| part.finish).map(|bias| &bias[column..column + width]);
        if part.finish && self.preactivation.is_some() {
            // The sums go elsewhere: nothing else asks for these lines while the product is computed.
            for r in 0..height {
                s.prefetch(&self.c[(row + r) * n + column..]);
            }
        }
        let c = &mut sums(self.c, self.preactivation.as_deref_mut())[row * n + column..];
        s.call(Micro::<MR, NV> { a, b, to: Destination { c, stride: n, height, width, add: part.add, bias } });
        if part.finish && !(self.preactivation.is_none() && epilogue.is_only_bias()) {
            s.call(Finish {
                epilogue,
                c: &mut self.c[row * n..],
                preactivation: self.preactivation.as_deref().map(|u| &u[row * n..]),
                n,
                row: self.first_row + row,
                column,
                height,
                width,
            });
        }
    }
}

/// The rows of `a` of the tile that starts `row` rows into the block.
#[inline(always)]
fn rows_of_a<'a, const MR: usize>(
    product: &Product<'a>,
    panels: Option<&'a [f32]>,
    first_row: usize,
    row: usize,
    steps: &Range<usize>,
) -> Rows<'a, MR> {
    match (panels, product.a.data) {
        (None, In::F32(x)) => {
            let stride = product.a.stride;
            Rows::Stored { x: &x[(first_row + row) * stride + steps.start..], stride }
        }
        (panels, _) => {
            let (panels, _) = panels.unwrap_or(&[]).as_chunks::<MR>();
            Rows::Packed(&panels[row / MR * steps.len()..][..steps.len()])
        }
    }
}

/// Packs rows of `a`.
struct PackA<'a, const MR: usize> {
    product: &'a Product<'a>,
    rows: Range<usize>,
    steps: Range<usize>,
    panels: &'a mut [f32],
}

impl<const MR: usize> Body for PackA<'_, MR> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        pack::<S, MR>(s, self.product.a, self.rows, self.steps, self.panels);
    }
}
