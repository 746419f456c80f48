//! How a product is cut into tasks and blocks. Every number is a function of the shape alone, and so is every sum's order.

use super::{Dims, pack};
use crate::In;
use crate::simd::{Isa, WIDE};

/// Multiply-adds that are worth a task of their own (about 40 us; a fork costs 5-10 us).
pub(crate) const GRAIN: usize = 1 << 21;
/// Steps of a panel of `b` that stay in the first-level cache (24 KiB of 32) while rows of `a` pass by.
const STEPS: usize = 384;
/// Floats of `a` that stay in the second-level cache (256 KiB of 512) while panels of `b` pass by.
const A_BLOCK: usize = 1 << 16;
/// Rows of a task at most, and at least where there is a choice: fewer would fetch each panel of `b` for too little work.
const ROWS: usize = 192;
const FEW_ROWS: usize = 128;
/// Tasks that are enough to keep threads busy.
const TASKS: usize = 8;
/// Floats of packed `b` (8 MiB), which all tasks share in the last-level cache.
const B_BLOCK: usize = 1 << 21;
/// Columns from which reading packed rows of `a` again and again repays packing them.
const PACK_COLUMNS: usize = 256;
/// Steps of a chunk of a long sum at least, the number of chunks at most, and floats of all their partial products
/// (4 MiB): adding those up has to stay small beside computing them.
const CHUNK: usize = 512;
const CHUNKS: usize = 8;
const PARTIALS: usize = 1 << 20;

/// Rows and columns that the micro-kernel computes at once. A sum's order does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tiling {
    /// 6 by 16: twelve accumulators of eight lanes.
    Registers16,
    /// 14 by 32: twenty-eight accumulators of sixteen lanes.
    Registers32,
}

impl Tiling {
    pub(crate) fn of(isa: Isa) -> Self {
        if isa == Isa::Avx512 { Tiling::Registers32 } else { Tiling::Registers16 }
    }

    /// Rows of a tile.
    pub(crate) const fn rows(self) -> usize {
        match self {
            Tiling::Registers16 => 6,
            Tiling::Registers32 => 14,
        }
    }

    /// Columns of a tile.
    pub(crate) const fn columns(self) -> usize {
        match self {
            Tiling::Registers16 => WIDE,
            Tiling::Registers32 => 2 * WIDE,
        }
    }
}

/// The blocks of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Rows of a task.
    pub rows: usize,
    /// Columns for which `b` is packed at a time.
    pub columns: usize,
    /// Steps that run through all tiles of a task before the next ones do.
    pub steps: usize,
}

impl Plan {
    pub(super) fn new(Dims { m, n, k }: Dims, tiling: Tiling) -> Self {
        let columns = even(n, (B_BLOCK / k.max(1)).max(tiling.columns()), tiling.columns());
        let steps = even(k, STEPS, 1);
        let wanted = (work(m, n, k) / GRAIN).min(TASKS).min(m / FEW_ROWS);
        let blocks = m.div_ceil((A_BLOCK / steps).min(ROWS)).max(wanted).max(1);
        // A multiple of four, so that 2 or 4 threads finish together.
        let blocks = if blocks > 2 { blocks.next_multiple_of(4) } else { blocks };
        Plan { rows: even(m, m.div_ceil(blocks), tiling.rows()), columns, steps }
    }
}

/// Multiply-adds of a product; a number too large to hold is large enough for every decision.
pub(crate) fn work(m: usize, n: usize, k: usize) -> usize {
    m.saturating_mul(n).saturating_mul(k)
}

/// In how many chunks the sum over `k` is computed side by side, where `c` alone would give few tasks (the gradients of
/// weights over many rows).
pub(super) fn chunks(Dims { m, n, k }: Dims) -> usize {
    (k / CHUNK).min(CHUNKS).min(PARTIALS / m.saturating_mul(n).max(1)).max(1)
}

/// Whether `a` is packed: rows of f32 that few columns need are read where they are.
pub(super) fn packs_a(a: pack::Operand<'_>, n: usize) -> bool {
    !matches!((a.data, a.order), (In::F32(_), pack::Order::Steps)) || n >= PACK_COLUMNS
}

/// The length of pieces of `whole` that are as even as multiples of `unit` can be, and not much longer than `limit`.
pub(crate) fn even(whole: usize, limit: usize, unit: usize) -> usize {
    whole.div_ceil(whole.div_ceil(limit.max(1)).max(1)).next_multiple_of(unit).max(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_even() {
        assert_eq!(even(0, 384, 1), 1);
        assert_eq!(even(384, 384, 1), 384);
        assert_eq!(even(385, 384, 1), 193);
        assert_eq!(even(2048, 171, 6), 174);
        assert_eq!(even(100, 0, 16), 16);
    }

    #[test]
    fn small_products_are_one_task_and_large_ones_are_several() {
        let rows = |m, n, k| Plan::new(Dims { m, n, k }, Tiling::Registers16).rows;
        assert!(rows(128, 64, 64) >= 128);
        assert!(rows(2048, 64, 64) <= 192);
        assert_eq!(chunks(Dims { m: 64, n: 64, k: 2048 }), 4);
        assert_eq!(chunks(Dims { m: 256, n: 1024, k: 4096 }), 4);
        assert_eq!(chunks(Dims { m: 2048, n: 2048, k: 2048 }), 1);
    }
}
