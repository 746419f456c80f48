//! Splitting work over threads without letting the thread count into the result.
//!
//! Every split is a function of the shape alone. Threads only decide who computes which piece, so the bits are the same
//! for any number of them.

use rayon::prelude::*;

/// Below this many scalar operations a task is not worth a second thread (a rayon fork costs 5-10 us).
const GRAIN: usize = 1 << 16;

/// Rows of one task when a row costs `cost` scalar operations.
pub fn rows_per_task(rows: usize, cost: usize) -> usize {
    (GRAIN / cost.max(1)).clamp(1, rows.max(1))
}

/// Calls `body(first_row, rows)` for consecutive pieces of `out`, a `[rows, width]` matrix; `cost` = operations a row.
pub fn for_rows<T: Send>(out: &mut [T], width: usize, cost: usize, body: impl Fn(usize, &mut [T]) + Sync) {
    if out.is_empty() || width == 0 {
        return;
    }
    let rows = out.len() / width;
    let step = rows_per_task(rows, cost);
    if step >= rows {
        return body(0, out);
    }
    out.par_chunks_mut(step * width).enumerate().for_each(|(i, piece)| body(i * step, piece));
}

/// Calls `body(index)` for every index below `count`, `cost` = operations a call; order unspecified.
pub fn for_each(count: usize, cost: usize, body: impl Fn(usize) + Sync + Send) {
    if count * cost.max(1) <= GRAIN {
        (0..count).for_each(body);
    } else {
        (0..count).into_par_iter().for_each(body);
    }
}

/// Maps fixed-size pieces of `len` elements to partial results, in order of position.
///
/// The pieces depend on `len` and `piece` only, so folding the returned list from left to right is a reduction whose
/// order is a function of the shape.
pub fn partials<R: Send>(len: usize, piece: usize, body: impl Fn(std::ops::Range<usize>) -> R + Sync + Send) -> Vec<R> {
    let piece = piece.max(1);
    let count = len.div_ceil(piece);
    let range = |i: usize| i * piece..((i + 1) * piece).min(len);
    if len <= GRAIN {
        (0..count).map(|i| body(range(i))).collect()
    } else {
        (0..count).into_par_iter().map(|i| body(range(i))).collect()
    }
}
