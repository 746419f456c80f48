//! Sums over the rows of each group of a matrix (gradients of gates and tables): how `row_sums.cuh` cuts the work.

use bytemuck::{Pod, Zeroable};

use super::{Gpu, Grid, Launch, Memory, Operand, Source};
use crate::view::extent;
use crate::{DType, In, Result};

const SOURCE: Source = Source { name: "row_sums", ptx: include_str!(concat!(env!("OUT_DIR"), "/row_sums.ptx")) };

/// Threads of a block.
const THREADS: usize = 256;
/// The most rows that the threads of a block take at a time.
const MAX_LANES: usize = 8;
/// The fewest rows of a piece: so partial sums take at most 1/32 of the memory of the rows.
const MIN_ROWS: usize = 32;
/// The most pieces of a group: the second step adds them up one by one.
const MAX_PIECES: usize = 64;
/// Blocks beyond which another cut only makes more partial sums. A number for all GPUs, so that all give the same bits.
const ENOUGH_BLOCKS: usize = 2048;

/// A matrix `[groups * rows_per_group, width]` and the pieces of its groups. `RowSums` in `row_sums.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RowSums {
    groups: u64,
    rows_per_group: u64,
    width: u64,
    pieces: u64,
    rows_per_piece: u64,
    /// 1 where threads take four columns each, else 0. It does not show in the bits.
    vectors: u32,
    padding: u32,
}

impl RowSums {
    /// Cuts the groups of a matrix, by its shape alone.
    pub fn new(groups: usize, rows_per_group: usize, width: usize) -> Self {
        let tiles = width.div_ceil(32).saturating_mul(groups).max(1);
        let most = (rows_per_group / MIN_ROWS).clamp(1, MAX_PIECES);
        let wanted = (ENOUGH_BLOCKS / tiles).clamp(1, most);
        let rows_per_piece = rows_per_group.div_ceil(wanted).max(1);
        let pieces = rows_per_group.div_ceil(rows_per_piece).max(1);
        let [groups, rows_per_group, width, pieces, rows_per_piece] =
            [groups, rows_per_group, width, pieces, rows_per_piece].map(|extent| extent as u64);
        RowSums { groups, rows_per_group, width, pieces, rows_per_piece, vectors: 0, padding: 0 }
    }

    /// With four columns a thread, if all `operands` and the width allow it.
    fn by_vectors(self, operands: &[Operand]) -> Self {
        let vectors = self.width.is_multiple_of(4) && Operand::all_in_fours(operands);
        RowSums { vectors: vectors.into(), ..self }
    }

    /// Adds to `acc`, f32 `[groups, width]`. `first(sums, shape)` makes the launch of a kernel that is built on `row_sums`
    /// with these sums and this shape; `operands` are those that it reads and writes beside the sums.
    ///
    /// # Errors
    /// What the driver refuses.
    ///
    /// # Safety
    /// As for [`Launch::run`], for every row and column of the matrix; `acc` has `groups * width` elements.
    pub unsafe fn run<'g>(
        self,
        gpu: &'static Gpu,
        op: &'static str,
        operands: &[Operand],
        acc: Operand,
        first: impl FnOnce(Operand, RowSums) -> Result<Launch<'g>>,
    ) -> Result<()> {
        if self.rows_per_group == 0 {
            return Ok(());
        }
        let shape = self.by_vectors(operands);
        if self.pieces == 1 {
            let shape = if acc.is_aligned_to(4) { shape } else { self };
            // SAFETY: the caller's promise.
            return unsafe { first(acc, shape)?.run(shape.grid()) };
        }
        let len = extent(op, &[self.groups, self.pieces, self.width].map(|extent| extent as usize))?;
        let scratch = Memory::new(gpu, len * DType::F32.size())?;
        let partial = Operand::from(In::Cuda(scratch.slice(0, len, DType::F32)));
        // SAFETY: the caller's promise, and the partial sums have the extent that more pieces than one ask for.
        unsafe { first(partial, shape)?.run(shape.grid())? };
        let rest = RowSums { rows_per_group: self.pieces, pieces: 1, rows_per_piece: self.pieces, ..self };
        let rest = rest.by_vectors(&[acc]);
        let launch = Launch::new(gpu, op, &SOURCE, "add_row_sums")?.arg(partial).arg(acc).arg(rest);
        // SAFETY: `rest` is the shape of the partial sums, and `acc` has one row a group.
        unsafe { launch.run(rest.grid()) }
    }

    /// Blocks of threads along x over columns and along y over rows, a power of two of them; along x over pieces, along
    /// y over columns.
    fn grid(self) -> Grid {
        let lanes = (self.rows_per_piece as usize).clamp(1, MAX_LANES).next_power_of_two();
        let width = if self.vectors == 1 { self.width as usize / 4 } else { self.width as usize };
        let columns = width.clamp(1, THREADS / lanes).next_multiple_of(32);
        let pieces = (self.groups * self.pieces).min(i32::MAX as u64) as u32;
        let tiles = width.div_ceil(columns).min(usize::from(u16::MAX)) as u32;
        Grid { blocks: [pieces, tiles, 1], threads: [columns as u32, lanes as u32, 1], shared_bytes: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row belongs to one piece, and a block has no more threads than `row_sums.cuh` has room for.
    #[test]
    fn pieces_cover_each_group_and_blocks_fit() {
        for rows in [1, 2, 31, 64, 65, 401, 4096, 100_003] {
            for (groups, width) in [(1, 1), (3, 131), (2, 1536), (5000, 384), (1, 70_000)] {
                let sums = RowSums::new(groups, rows, width).by_vectors(&[Operand::NONE]);
                let RowSums { pieces, rows_per_piece, .. } = sums;
                assert!(
                    (pieces - 1) * rows_per_piece < rows as u64 && pieces * rows_per_piece >= rows as u64,
                    "{sums:?}"
                );
                let Grid { threads: [x, y, _], blocks, .. } = sums.grid();
                assert!(x * y <= THREADS as u32 && y.is_power_of_two() && x % 32 == 0, "{sums:?}");
                assert!(!blocks.contains(&0), "{sums:?}");
            }
        }
        assert_eq!(RowSums::new(1, 4096, 384).pieces, 64);
        assert_eq!(RowSums::new(4096, 1, 384).pieces, 1);
    }
}
