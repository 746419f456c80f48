//! Reductions in pieces whose number depends on the shape only.

use super::Term;
use crate::lanes::{fold, sum, update};
use crate::runtime::cpu::{for_rows, partials, rows_per_task};
use crate::simd::{Body, Isa, Simd, dispatch};

/// Elements of one piece of a total.
const PIECE: usize = 1 << 14;

pub(super) fn total(isa: Isa, term: Term, x: &[f32], y: Option<&[f32]>) -> f64 {
    let pieces = partials(x.len(), PIECE, |piece| {
        dispatch(isa, TermLoop { term, x: &x[piece.clone()], y: y.map_or(&[][..], |y| &y[piece]) })
    });
    pieces.into_iter().fold(0.0, |a, b| if term == Term::Magnitude { larger(a, b) } else { a + b })
}

pub(super) fn row_total(isa: Isa, term: Term, x: &[f32], y: Option<&[f32]>, out: &mut [f32], width: usize) {
    for_rows(out, 1, width, |first, out| {
        for (i, out) in out.iter_mut().enumerate() {
            let row = (first + i) * width..(first + i + 1) * width;
            let y = y.map_or(&[][..], |y| &y[row.clone()]);
            *out = dispatch(isa, TermLoop { term, x: &x[row], y }) as f32;
        }
    });
}

/// The larger magnitude; NaN if either is.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

struct TermLoop<'a> {
    term: Term,
    x: &'a [f32],
    /// Empty for a term of one operand.
    y: &'a [f32],
}

impl Body for TermLoop<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        match self.term {
            Term::Sum => sum([self.x], |[x]| x),
            Term::Square => sum([self.x], |[x]| x * x),
            Term::Product => sum([self.x, self.y], |[x, y]| x * y),
            Term::AbsDifference => sum([self.x, self.y], |[x, y]| (x - y).abs()),
            Term::Magnitude => fold([self.x], 0.0, |[x]| x.abs(), larger),
        }
    }
}

pub(super) fn column_sum(isa: Isa, x: &[f32], sum: &mut [f32]) {
    let width = sum.len();
    if x.is_empty() {
        return;
    }
    let rows = x.len() / width;
    let step = rows_per_task(rows, width);
    let pieces = partials(rows.div_ceil(step), 1, |piece| {
        let rows = piece.start * step..(piece.start * step + step).min(rows);
        let mut sum = vec![0.0; width];
        dispatch(isa, ColumnLoop { x: &x[rows.start * width..rows.end * width], sum: &mut sum });
        sum
    });
    for piece in &pieces {
        dispatch(isa, ColumnLoop { x: piece, sum });
    }
}

/// `sum[j] += sum_r x[r, j]`
struct ColumnLoop<'a> {
    x: &'a [f32],
    sum: &'a mut [f32],
}

impl Body for ColumnLoop<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.sum.len();
        let mut four = self.x.chunks_exact(4 * width);
        for rows in &mut four {
            let (a, rest) = rows.split_at(width);
            let (b, rest) = rest.split_at(width);
            let (c, d) = rest.split_at(width);
            update(s, [a, b, c, d], self.sum, |sum, [a, b, c, d]| s.add(sum, s.add(s.add(a, b), s.add(c, d))));
        }
        for row in four.remainder().chunks_exact(width) {
            update(s, [row], self.sum, |sum, [x]| s.add(sum, x));
        }
    }
}
