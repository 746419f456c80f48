//! Arithmetic: operations, formats, modifiers.

use super::{Pred, Row};
use crate::ptx::types::Type;

/// Width and signedness of integer arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Int {
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
}

impl Int {
    /// The arithmetic of a type; bits count as unsigned.
    pub(in crate::ptx) fn of(ty: Type) -> Option<Int> {
        Some(match ty {
            Type::U16 | Type::B16 => Int::U16,
            Type::S16 => Int::S16,
            Type::U32 | Type::B32 => Int::U32,
            Type::S32 => Int::S32,
            Type::U64 | Type::B64 => Int::U64,
            Type::S64 => Int::S64,
            _ => return None,
        })
    }
}

/// Integer operations of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IntOp {
    Add,
    AddSat,
    Sub,
    SubSat,
    Mul,
    MulHi,
    Div,
    Rem,
    Min,
    Max,
    And,
    Or,
    Xor,
    Shl,
    Shr,
}

/// Integer operations of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IntUnary {
    Neg,
    Abs,
    Not,
    /// 1 where the operand is 0.
    Cnot,
    Clz,
    Popc,
    Brev,
    Bfind,
    /// `bfind.shiftamt`: the shift that brings that bit to the top.
    BfindShift,
}

/// Which part of a product a multiply-add adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Part {
    Low,
    High,
    HighSat,
    Wide,
}

/// Modes of `prmt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Permute {
    Index,
    F4e,
    B4e,
    Rc8,
    Ecl,
    Ecr,
    Rc16,
}

/// Directions of rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Round {
    #[default]
    Nearest,
    Zero,
    Down,
    Up,
    /// To nearest, ties away from zero (`.rna`).
    Away,
}

/// Modifiers of floating-point arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mods {
    /// Direction.
    pub round: Round,
    /// Subnormal inputs and results become zero.
    pub ftz: bool,
    /// Results are clamped to 0..=1.
    pub sat: bool,
    /// `min`/`max`: not-a-number wins.
    pub nan: bool,
    /// `fma`, `cvt`: negative results become zero.
    pub relu: bool,
}

/// Floating-point formats of arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Float {
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F64,
}

impl Float {
    /// The arithmetic of a type.
    pub(in crate::ptx) fn of(ty: Type) -> Option<Float> {
        Some(match ty {
            Type::F16 => Float::F16,
            Type::F16x2 => Float::F16x2,
            Type::Bf16 => Float::Bf16,
            Type::Bf16x2 => Float::Bf16x2,
            Type::F32 => Float::F32,
            Type::F64 => Float::F64,
            _ => return None,
        })
    }
}

/// Floating-point operations of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FloatOp {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    /// The magnitude of the second operand with the sign of the first.
    CopySign,
}

/// Floating-point operations of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FloatUnary {
    Neg,
    Abs,
    Sqrt,
    Rcp,
    Rsqrt,
    Ex2,
    Lg2,
    Sin,
    Cos,
    Tanh,
}

/// Comparisons. The second group is true of unordered operands as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    /// Neither operand is not-a-number.
    Num,
    /// One is.
    Nan,
}

/// How two truth values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Logic {
    And,
    Or,
    Xor,
}

/// A comparison: `p = (a cmp b) logic c`, `q = !(a cmp b) logic c`.
#[derive(Clone, Copy, Debug)]
pub struct Setp {
    /// The comparison.
    pub compare: Compare,
    /// Type of the operands.
    pub ty: Type,
    /// Subnormal operands are zero.
    pub ftz: bool,
    /// How `c` takes part; `c` is true with `And` if it does not.
    pub logic: Logic,
    /// First result.
    pub p: u16,
    /// Second result, or [`super::SINK`].
    pub q: u16,
    /// Operand.
    pub a: Row,
    /// Operand.
    pub b: Row,
    /// Operand.
    pub c: Pred,
}

/// Properties of a number that `testp` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Property {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

/// How to round to an integral value, or else in conversions between formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convert {
    /// Destination type.
    pub to: Type,
    /// Source type.
    pub from: Type,
    /// Direction.
    pub round: Round,
    /// Whether a float is rounded to an integral float (`.rni` and so on).
    pub integral: bool,
    /// Modifiers; their direction is not used.
    pub mods: Mods,
    /// Whether the destination register has 64 bits.
    pub wide: bool,
    /// Whether the source register has 64 bits.
    pub wide_source: bool,
    /// Whether the destination register has 16 bits.
    pub narrow: bool,
}
