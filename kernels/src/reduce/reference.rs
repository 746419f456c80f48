//! Reductions in f64, one element after the other.

use super::Term;

/// `term(x, y)` of one element.
pub(super) fn term(term: Term, x: f64, y: f64) -> f64 {
    match term {
        Term::Sum => x,
        Term::Square => x * x,
        Term::Product => x * y,
        Term::AbsDifference => (x - y).abs(),
        Term::Magnitude => x.abs(),
    }
}

/// One result a row.
pub(super) fn row_total(kind: Term, x: &[f64], y: &[f64], rows: usize) -> Vec<f64> {
    let width = x.len() / rows.max(1);
    let row = |r: usize| (r * width..(r + 1) * width).map(|i| term(kind, x[i], y[i]));
    match kind {
        Term::Magnitude => (0..rows).map(|r| row(r).fold(0.0, f64::max)).collect(),
        _ => (0..rows).map(|r| row(r).sum()).collect(),
    }
}

/// One result a column, on top of what was there.
pub(super) fn column_sum(x: &[f64], before: &[f64]) -> Vec<f64> {
    let width = before.len();
    (0..width).map(|j| before[j] + x.iter().skip(j).step_by(width).sum::<f64>()).collect()
}
