//! Rows in groups: `rows_per_group` consecutive rows share one row of a modulation operand (shift, scale, gate), and its
//! gradient is a sum over exactly those rows.
//!
//! A group of many rows is cut into pieces, each piece is summed on its own and the partial sums are added in order of
//! position; a group of few rows is one piece that adds to the accumulator directly. The pieces depend on the shape
//! only, so the bits do not depend on the thread count. Partial sums take at most 1/32 of the memory of the rows.

use rayon::prelude::*;

use crate::runtime::cpu::rows_per_task;
use crate::view::extent;
use crate::{Error, In, Out, Result, Runtime};

/// The most pieces that a group is cut into.
const MAX_PIECES: usize = 64;

/// The fewest rows of a piece of a group: with less, adding up partial sums would cost as much as making them.
const MIN_ROWS: usize = 32;

/// A `[rows, width]` matrix whose rows come in groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Groups {
    pub rows: usize,
    pub width: usize,
    pub rows_per_group: usize,
}

impl Groups {
    /// # Errors
    /// `rows_per_group` does not divide `rows`.
    pub fn new(op: &'static str, rows: usize, width: usize, rows_per_group: usize) -> Result<Self> {
        if rows > 0 && (rows_per_group == 0 || !rows.is_multiple_of(rows_per_group)) {
            let expected = "a divisor of the number of rows";
            return Err(Error::Domain { op, what: "rows_per_group", expected, got: rows_per_group as i64 });
        }
        extent(op, &[rows, width])?;
        Ok(Groups { rows, width, rows_per_group })
    }

    /// Elements of the matrix.
    pub fn len(&self) -> usize {
        self.rows * self.width
    }

    /// Checks an operand of shape `[groups, width]`.
    pub fn check(&self, rt: &Runtime, op: &'static str, operand: &'static str, x: Option<&In<'_>>) -> Result<()> {
        x.map_or(Ok(()), |x| x.check(rt, op, operand, self.parameters(x.len())))
    }

    /// Checks an f32 accumulator of shape `[groups, width]`.
    pub fn check_accumulator(
        &self,
        rt: &Runtime,
        op: &'static str,
        operand: &'static str,
        out: Option<&Out<'_>>,
    ) -> Result<()> {
        out.map_or(Ok(()), |out| out.check_f32(rt, op, operand, self.parameters(out.len())))
    }

    /// Elements of a `[groups, width]` operand. Without rows the number of groups is open, and none is ever read.
    fn parameters(&self, given: usize) -> usize {
        if self.rows == 0 { given } else { self.rows / self.rows_per_group * self.width }
    }

    /// The part of a `[groups, width]` operand that belongs to `row`; of `shared`, `[width]`, where there is no operand.
    #[inline(always)]
    pub fn of_row<'a>(&self, operand: Option<&'a [f32]>, shared: &'a [f32], row: usize) -> &'a [f32] {
        let start = row / self.rows_per_group * self.width;
        operand.map_or(shared, |x| &x[start..start + self.width])
    }

    /// Calls `body(first_row, rows, sums)` for consecutive pieces of `out`, none across two groups, where `cost` is the
    /// number of scalar operations a row. `sums[k]` is where the piece adds its share of the accumulator `sums[k]`,
    /// `[groups, width]`, and empty where there is none.
    pub fn for_pieces<const N: usize>(
        &self,
        cost: usize,
        out: &mut [f32],
        sums: [Option<&mut [f32]>; N],
        body: impl Fn(usize, &mut [f32], [&mut [f32]; N]) + Sync,
    ) {
        if out.is_empty() {
            return;
        }
        let task = rows_per_task(self.rows, cost);
        let piece = task.max(self.rows_per_group.div_ceil(MAX_PIECES)).max(MIN_ROWS);
        let groups = self.split(out, sums);
        let run = |group: Group<'_, N>| group.run(piece, self.width, &body);
        if task >= self.rows {
            groups.into_iter().for_each(run);
        } else {
            groups.into_par_iter().with_min_len(task.div_ceil(self.rows_per_group)).for_each(run);
        }
    }

    fn split<'a, const N: usize>(&self, out: &'a mut [f32], sums: [Option<&'a mut [f32]>; N]) -> Vec<Group<'a, N>> {
        let mut sums = sums.map(|sum| sum.map(|sum| sum.chunks_exact_mut(self.width)));
        let rows = out.chunks_exact_mut(self.rows_per_group * self.width).enumerate();
        rows.map(|(i, out)| {
            let sums = sums.each_mut().map(|sum| sum.as_mut().and_then(Iterator::next).unwrap_or_default());
            Group { first_row: i * self.rows_per_group, out, sums }
        })
        .collect()
    }
}

/// The rows of one group and what it adds to.
struct Group<'a, const N: usize> {
    first_row: usize,
    out: &'a mut [f32],
    sums: [&'a mut [f32]; N],
}

impl<const N: usize> Group<'_, N> {
    fn run(self, piece: usize, width: usize, body: &(impl Fn(usize, &mut [f32], [&mut [f32]; N]) + Sync)) {
        let Group { first_row, out, mut sums } = self;
        if out.len() <= piece * width {
            return body(first_row, out, sums);
        }
        let lengths = sums.each_ref().map(|sum| sum.len());
        let partials: Vec<[Vec<f32>; N]> = out
            .par_chunks_mut(piece * width)
            .enumerate()
            .map(|(i, out)| {
                let mut partial = lengths.map(|len| vec![0.0; len]);
                body(first_row + i * piece, out, partial.each_mut().map(Vec::as_mut_slice));
                partial
            })
            .collect();
        for partial in &partials {
            for (sum, partial) in sums.iter_mut().zip(partial) {
                sum.iter_mut().zip(partial).for_each(|(s, p)| *s += p);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the rows of each group through `for_pieces`, with the number of pieces.
    fn count(rows: usize, width: usize, rows_per_group: usize, cost: usize) -> (Vec<f32>, usize) {
        let groups = Groups::new("test", rows, width, rows_per_group).unwrap();
        let (mut out, mut sums) = (vec![0.0; rows * width], vec![100.0; rows / rows_per_group * width]);
        let pieces = std::sync::atomic::AtomicUsize::new(0);
        groups.for_pieces(cost, &mut out, [Some(&mut sums), None], |first_row, out, [sum, absent]| {
            assert!(absent.is_empty());
            assert_eq!(first_row / rows_per_group, (first_row + out.len() / width - 1) / rows_per_group);
            pieces.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            for (r, row) in out.chunks_exact_mut(width).enumerate() {
                row.fill((first_row + r) as f32);
                sum.iter_mut().for_each(|s| *s += 1.0);
            }
        });
        assert!(out.chunks_exact(width).enumerate().all(|(r, row)| row.iter().all(|&v| v == r as f32)));
        (sums, pieces.into_inner())
    }

    #[test]
    fn every_row_is_visited_once_and_added_to_its_group() {
        for (rows, rows_per_group, cost, pieces) in [
            (1, 1, 1, 1),
            (30, 5, 1, 6),
            (30, 30, 1 << 16, 1),
            (80, 40, 1 << 16, 4),
            (8200, 4100, 1 << 16, 128),
            (12, 4, 1 << 15, 3),
        ] {
            let (sums, got) = count(rows, 3, rows_per_group, cost);
            assert_eq!(sums, vec![100.0 + rows_per_group as f32; rows / rows_per_group * 3]);
            assert_eq!(got, pieces, "{rows} rows in groups of {rows_per_group}");
        }
    }

    #[test]
    fn rows_must_be_whole_groups() {
        for rows_per_group in [0, 3, 14] {
            let error = Groups::new("test", 7, 2, rows_per_group).unwrap_err();
            assert!(matches!(error, Error::Domain { what: "rows_per_group", .. }), "{error}");
        }
        assert!(Groups::new("test", 0, 2, 0).is_ok());
        assert!(matches!(Groups::new("test", usize::MAX, 2, 1), Err(Error::Overflow { .. })));
    }
}
