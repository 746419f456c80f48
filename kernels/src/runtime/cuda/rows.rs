//! How rows are shared out to threads and blocks: `Team` and `ColumnSums` on the device.

use super::launch::BUSY;
use super::{Gpu, Grid};
use crate::{Error, Result};

/// Elements of a slot, as in `rows.cuh`.
pub const SLOT: usize = 4;
/// Slots that a thread keeps, and threads of the largest team: as in `rows.cuh`.
const KEPT: usize = 4;
const MAX_THREADS: usize = 320;
/// Threads of a block of several teams.
const THREADS: usize = 128;

/// Teams of threads, each of which works on a row at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Teams {
    /// Threads of a team.
    pub size: u32,
    /// Teams of a block.
    pub count: u32,
}

impl Teams {
    /// For rows of `width` elements: as few threads as keep a row, since a team within a warp needs no barrier.
    pub fn new(width: usize) -> Self {
        let slots = width.div_ceil(SLOT).max(1);
        if slots > 32 * KEPT {
            let size = slots.div_ceil(KEPT).next_multiple_of(32).min(MAX_THREADS);
            return Teams { size: size as u32, count: 1 };
        }
        let size = slots.next_power_of_two().min(32);
        Teams { size: size as u32, count: (THREADS / size) as u32 }
    }

    /// Whether a team keeps a whole row of `width` elements.
    pub fn keep(width: usize) -> bool {
        width <= MAX_THREADS * KEPT * SLOT
    }

    /// With fewer teams where there are no more than `rows` rows for a block.
    pub fn at_most(self, rows: usize) -> Self {
        let fewest = 32u32.div_ceil(self.size);
        Teams { count: self.count.min(rows.next_power_of_two().min(THREADS) as u32).max(fewest), ..self }
    }

    /// Bytes of shared memory in which a block adds up what its teams have of `width` columns.
    pub fn shared_bytes(self, width: usize) -> usize {
        if self.count == 1 { 0 } else { self.count as usize * width * size_of::<f32>() }
    }

    /// The fewest rows of a chunk whose columns a block sums: so that partial sums stay small beside what they are sums
    /// of, and every team has several rows.
    pub fn least_chunk(self) -> usize {
        (8 * self.count as usize).max(16)
    }

    /// Blocks that take turns at `rows` rows.
    pub fn grid(self, gpu: &Gpu, rows: usize) -> Grid {
        let blocks = rows.div_ceil(self.count as usize).min(gpu.multiprocessors() * BUSY) as u32;
        Grid { blocks: [blocks, 1, 1], threads: [self.size * self.count, 1, 1], shared_bytes: 0 }
    }

    /// `count` blocks.
    ///
    /// # Errors
    /// More of them than a grid has.
    pub fn each(self, op: &'static str, count: usize) -> Result<Grid> {
        Grid::each(op, count, self.size * self.count)
    }
}

/// The width of a row as kernels take it: positions in a row, and a little beyond, are 32 bits there.
///
/// # Errors
/// A wider row.
pub fn row_width(op: &'static str, width: usize) -> Result<u32> {
    i32::try_from(width).map(|width| width as u32).map_err(|_| Error::Overflow { op })
}

/// The kernel for rows of `width` elements, of those for slots of four neighbours and for others.
pub fn by_slots(width: usize, [vectors, scalars]: [&'static str; 2]) -> &'static str {
    if width.is_multiple_of(SLOT) { vectors } else { scalars }
}

/// Consecutive rows of a group of them that a block takes; their number depends on the shape only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Rows of a chunk; fewer in the last.
    pub rows: usize,
    /// Chunks of a group.
    pub count: usize,
}

impl Chunks {
    /// Of groups of `rows_per_group` of `rows` rows; a chunk has `least` rows or more where its group has.
    pub fn new(rows: usize, rows_per_group: usize, least: usize) -> Self {
        /// Chunks of all groups together that keep any GPU busy.
        const ENOUGH: usize = 512;
        let rows = rows.div_ceil(ENOUGH).max(least).min(rows_per_group).max(1);
        Chunks { rows, count: rows_per_group.div_ceil(rows) }
    }
}

/// Pieces of a row, which several teams take; their number depends on the width only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// Elements of a piece, a multiple of four; fewer in the last.
    pub len: usize,
    /// Pieces of a row.
    pub count: usize,
    /// Who works on a piece.
    pub teams: Teams,
}

impl Pieces {
    /// Of rows of `width` elements, as long as a team keeps.
    pub fn new(width: usize) -> Self {
        const LEN: usize = MAX_THREADS * KEPT * SLOT;
        let len = width.clamp(1, LEN);
        Pieces { len, count: width.div_ceil(LEN).max(1), teams: Teams::new(len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_whole_warps_and_a_team_keeps_its_row() {
        for width in (0..6000).chain([100_003, usize::MAX]) {
            for teams in [Teams::new(width), Teams::new(width).at_most(1), Teams::new(width).at_most(3)] {
                let Teams { size, count } = teams;
                assert!((size * count).is_multiple_of(32) && (size * count) as usize <= MAX_THREADS, "{teams:?}");
                let in_a_warp = size <= 32 && size.is_power_of_two();
                assert!(in_a_warp || count == 1 && size.is_multiple_of(32), "{width}: {teams:?}");
                assert!(size as usize * KEPT * SLOT >= width.min(MAX_THREADS * KEPT * SLOT), "{width}: {teams:?}");
            }
        }
        assert_eq!(Teams::new(384), Teams { size: 32, count: 4 });
        assert_eq!(Teams::new(384).at_most(1), Teams { size: 32, count: 1 });
        assert_eq!(Teams::new(1536), Teams { size: 96, count: 1 });
        assert_eq!(Teams::new(64).at_most(1), Teams { size: 16, count: 2 });
    }

    #[test]
    fn chunks_and_pieces_cover_what_they_are_of() {
        for rows in [1, 15, 16, 17, 393, 32_768, 100_003] {
            for least in [1, 16, 1024] {
                let Chunks { rows: chunk, count } = Chunks::new(rows, rows, least);
                assert!((count - 1) * chunk < rows && count * chunk >= rows, "{rows} of {least}: {count} of {chunk}");
                assert!(count == 1 || chunk >= least);
            }
        }
        for width in [0, 1, 4, 5119, 5120, 5121, 100_003] {
            let Pieces { len, count, .. } = Pieces::new(width);
            assert!((count - 1) * len <= width && count * len >= width, "{width}: {count} of {len}");
            assert!(count == 1 || len.is_multiple_of(SLOT));
        }
    }
}
