//! The register tile of both directions: up to six rows of sixteen columns, which are twelve of the sixteen vector
//! registers of AVX2; two more hold a row of the right operand and one a broadcast element of the left one.
//!
//! All operands are *panels*: consecutive [`Row`]s, so that the inner loop reads its right operand front to back. The
//! score matrix is held transposed, a panel of keys by sixteen queries: maxima and sums over keys are then vertical.

use crate::simd::{LANES, Simd};

/// Columns of a panel.
pub(super) const PANEL: usize = 16;

/// Most rows of a register tile.
pub(super) const GROUP: usize = 6;

/// Steps of one turn of the inner loop: a longer loop depends less on where the compiler happens to put it.
const UNROLL: usize = 4;

/// One row of a panel.
pub(super) type Row = [f32; PANEL];

/// A row of a panel, in registers.
pub(super) type Pair<S> = [<S as Simd>::V; 2];

/// Sixteen numbers from memory.
#[inline(always)]
pub(super) fn load<S: Simd>(s: S, row: &Row) -> Pair<S> {
    [s.load(&row[..LANES]), s.load(&row[LANES..])]
}

/// Sixteen numbers to memory.
#[inline(always)]
pub(super) fn store<S: Simd>(s: S, pair: Pair<S>, row: &mut Row) {
    s.store(pair[0], &mut row[..LANES]);
    s.store(pair[1], &mut row[LANES..]);
}

/// A tile of zeros.
#[inline(always)]
pub(super) fn zeros<S: Simd, const R: usize>(s: S) -> [Pair<S>; R] {
    [[s.zero(); 2]; R]
}

/// `acc[r] + sum_k a[r][k] * b[k]` for at most sixteen `k`: the left operand by rows.
#[inline(always)]
pub(super) fn add_by_rows<S: Simd, const R: usize>(
    s: S,
    mut acc: [Pair<S>; R],
    a: &[Row; R],
    b: &[Row],
) -> [Pair<S>; R] {
    for (k, right) in b.iter().enumerate().take(PANEL) {
        let right = load(s, right);
        for r in 0..R {
            let left = s.splat(a[r][k]);
            acc[r] = [s.mul_add(left, right[0], acc[r][0]), s.mul_add(left, right[1], acc[r][1])];
        }
    }
    acc
}

/// `start + sum_k a[k][FIRST + r] * b[k]`: the left operand by columns.
#[inline(always)]
pub(super) fn by_columns<S: Simd, const FIRST: usize, const R: usize>(
    s: S,
    start: Pair<S>,
    a: &[Row],
    b: &[Row],
) -> [Pair<S>; R] {
    let mut acc = [start; R];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<UNROLL>(), b.as_chunks::<UNROLL>());
    for (a, b) in a.iter().zip(b) {
        for k in 0..UNROLL {
            acc = step::<S, FIRST, R>(s, acc, &a[k], &b[k]);
        }
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        acc = step::<S, FIRST, R>(s, acc, a, b);
    }
    acc
}

/// `acc[r] + a[FIRST + r] * b`
#[inline(always)]
fn step<S: Simd, const FIRST: usize, const R: usize>(s: S, mut acc: [Pair<S>; R], a: &Row, b: &Row) -> [Pair<S>; R] {
    let right = load(s, b);
    for r in 0..R {
        let left = s.splat(a[FIRST + r]);
        acc[r] = [s.mul_add(left, right[0], acc[r][0]), s.mul_add(left, right[1], acc[r][1])];
    }
    acc
}

/// Runs `$body` for groups of at most [`GROUP`] consecutive rows out of `$count`, as equal as they can be: `$first` is
/// the group's first row, and `$R` its number of rows, a constant in each copy of the body.
macro_rules! for_row_groups {
    ($count:expr, |$first:ident, $R:ident| $body:block) => {{
        let count: usize = $count;
        let groups = count.div_ceil($crate::attention::tile::GROUP);
        for group in 0..groups {
            let $first = group * count / groups;
            for_row_groups!(@sizes (group + 1) * count / groups - $first, $R, $body, 1, 2, 3, 4, 5, 6);
        }
    }};
    (@sizes $rows:expr, $R:ident, $body:block, $($size:literal),+) => {
        match $rows {
            $($size => {
                const $R: usize = $size;
                $body
            })+
            _ => unreachable!("groups have 1 to 6 rows"),
        }
    };
}

/// Runs `$body` for the groups of columns that the first `$count` of a panel's sixteen touch, as for
/// [`for_row_groups`]; `$FIRST` is a constant, too.
macro_rules! for_column_groups {
    ($count:expr, |$FIRST:ident, $R:ident| $body:block) => {{
        let count: usize = $count;
        for_column_groups!(@one count, $FIRST, $R, 0, 6, $body);
        for_column_groups!(@one count, $FIRST, $R, 6, 5, $body);
        for_column_groups!(@one count, $FIRST, $R, 11, 5, $body);
    }};
    (@one $count:ident, $FIRST:ident, $R:ident, $first:literal, $rows:literal, $body:block) => {
        if $count > $first {
            const $FIRST: usize = $first;
            const $R: usize = $rows;
            $body
        }
    };
}

pub(super) use {for_column_groups, for_row_groups};
