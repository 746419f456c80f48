//! Memory: addresses, accesses, atomics, copies.

use super::{Pred, Row};
use crate::ptx::types::{Space, Type};

/// An address operand.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    /// Row of the base.
    pub base: Row,
    /// Whether the base has 64 bits.
    pub wide: bool,
    /// Bytes added to it.
    pub offset: i32,
}

/// Order that a memory access promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// None.
    Weak,
    /// `.volatile`, `.relaxed`: single accesses do not race.
    Relaxed,
    /// `.acquire`.
    Acquire,
    /// `.release`.
    Release,
    /// `.acq_rel`.
    AcquireRelease,
}

/// What a load or store moves.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    /// Where.
    pub space: Space,
    /// Bytes of an element: 1, 2, 4 or 8.
    pub bytes: u8,
    /// Elements: 1, 2 or 4.
    pub count: u8,
    /// Whether loads extend the sign.
    pub signed: bool,
    /// Whether the registers have 64 bits.
    pub wide: bool,
    /// Whether the registers have 16 bits.
    pub narrow: bool,
    /// Order.
    pub order: Order,
}

/// A load or store.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// What it moves.
    pub what: Move,
    /// Where in memory.
    pub address: Address,
    /// Registers; [`super::SINK`] beyond the last and where a loaded value is dropped.
    pub rows: [Row; 4],
}

/// Read-modify-write operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AtomOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exch,
    Cas,
    Inc,
    Dec,
}

/// A read-modify-write.
#[derive(Clone, Copy, Debug)]
pub struct Atom {
    /// What it does.
    pub op: AtomOp,
    /// On what.
    pub ty: Type,
    /// Where.
    pub space: Space,
    /// Order.
    pub order: Order,
    /// Old value, or [`super::SINK`].
    pub d: Row,
    /// Address.
    pub address: Address,
    /// Operand.
    pub b: Row,
    /// New value of `cas`.
    pub c: Row,
}

/// A `cp.async`.
#[derive(Clone, Copy, Debug)]
pub struct AsyncCopy {
    /// Destination in shared memory.
    pub to: Address,
    /// Source in global memory.
    pub from: Address,
    /// Bytes: 4, 8 or 16.
    pub bytes: u8,
    /// Row of the bytes to read, the rest being zeros, or [`super::SINK`] for all.
    pub source_bytes: Row,
    /// Predicate that says to read nothing.
    pub ignore: Option<Pred>,
}
