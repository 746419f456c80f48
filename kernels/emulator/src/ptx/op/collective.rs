//! What lanes and warps do together, and what tells them apart.

use super::{Pred, Row};
use crate::ptx::types::Type;

/// Special registers that differ between lanes or warps, or change with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    NwarpId,
    SmId,
    NsmId,
    GridId,
    LaneMaskEq,
    LaneMaskLt,
    LaneMaskLe,
    LaneMaskGt,
    LaneMaskGe,
    DynamicShared,
    TotalShared,
    Clock,
    ClockHi,
    Clock64,
    GlobalTimer,
}

impl Special {
    /// Whether it must be read anew each time.
    pub(in crate::ptx) fn changes(self) -> bool {
        matches!(self, Special::Clock | Special::ClockHi | Special::Clock64 | Special::GlobalTimer)
    }

    /// Whether it has 64 bits.
    pub(in crate::ptx) fn wide(self) -> bool {
        matches!(self, Special::Clock64 | Special::GlobalTimer | Special::GridId)
    }
}

/// Modes of `shfl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// Modes of `vote`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Vote {
    All,
    Any,
    Uniform,
    Ballot,
}

/// What threads do at a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BarrierMode {
    Sync,
    Arrive,
    And,
    Or,
    Popc,
}

/// A barrier of the block.
#[derive(Clone, Copy, Debug)]
pub struct Barrier {
    /// What threads do.
    pub mode: BarrierMode,
    /// Row of its number.
    pub id: Row,
    /// Row of the number of threads, or [`super::SINK`] for all.
    pub threads: Row,
    /// Destination of a reduction: a predicate, or a row for `Popc`.
    pub d: u16,
    /// Operand of a reduction.
    pub operand: Pred,
    /// Whether all threads of a warp must be here (`.aligned`, and `bar`).
    pub aligned: bool,
}

/// Shapes and types of `mma`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmaShape {
    /// Depth: columns of `a`.
    pub k: u8,
    /// Type of `a`.
    pub a: Type,
    /// Type of `b`.
    pub b: Type,
    /// Type of `c` and `d`: F32, F16 or S32.
    pub accumulate: Type,
    /// Integer results saturate.
    pub saturate: bool,
}

/// `d = a b + c` of matrices spread over a warp.
#[derive(Clone, Copy, Debug)]
pub struct Mma {
    /// Shapes.
    pub shape: MmaShape,
    /// Rows, 16 x 8.
    pub d: [Row; 4],
    /// Rows, 16 x k.
    pub a: [Row; 4],
    /// Rows, k x 8.
    pub b: [Row; 2],
    /// Rows, 16 x 8.
    pub c: [Row; 4],
}
