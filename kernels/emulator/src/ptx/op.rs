//! Instructions as they are executed: operands are numbers of rows, immediates and special registers included.
//!
//! A *row* holds a 32-bit value of each lane of a warp. A 64-bit register is two rows, the first of them even. A
//! 16-bit value is zero-extended. A predicate is a bit a lane in a file of its own.

use super::types::{Space, Type};

/// Number of a row.
pub type Row = u16;

/// A predicate operand: its number, and whether it is negated. Number 0 is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pred {
    /// Its number.
    pub index: u16,
    /// Whether the opposite is meant.
    pub negated: bool,
}

impl Pred {
    /// Always.
    pub const TRUE: Pred = Pred { index: 0, negated: false };
}

/// No row or predicate: a result that nobody wants.
pub const SINK: u16 = u16::MAX;

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// Lanes that execute it.
    pub guard: Pred,
    /// Line of the text.
    pub line: u32,
    /// What it does.
    pub op: Op,
}

/// Destination and one operand.
#[derive(Clone, Copy, Debug)]
pub struct Args1 {
    /// Destination.
    pub d: Row,
    /// Operand.
    pub a: Row,
}

/// Destination and two operands.
#[derive(Clone, Copy, Debug)]
pub struct Args2 {
    /// Destination.
    pub d: Row,
    /// Operand.
    pub a: Row,
    /// Operand.
    pub b: Row,
}

/// Destination and three operands.
#[derive(Clone, Copy, Debug)]
pub struct Args3 {
    /// Destination.
    pub d: Row,
    /// Operand.
    pub a: Row,
    /// Operand.
    pub b: Row,
    /// Operand.
    pub c: Row,
}

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
    pub(super) fn of(ty: Type) -> Option<Int> {
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
    pub(super) fn of(ty: Type) -> Option<Float> {
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
    /// Second result, or [`SINK`].
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
    pub(super) fn changes(self) -> bool {
        matches!(self, Special::Clock | Special::ClockHi | Special::Clock64 | Special::GlobalTimer)
    }

    /// Whether it has 64 bits.
    pub(super) fn wide(self) -> bool {
        matches!(self, Special::Clock64 | Special::GlobalTimer | Special::GridId)
    }
}

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
    /// Registers; [`SINK`] beyond the last and where a loaded value is dropped.
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
    /// Old value, or [`SINK`].
    pub d: Row,
    /// Address.
    pub address: Address,
    /// Operand.
    pub b: Row,
    /// New value of `cas`.
    pub c: Row,
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
    /// Row of the number of threads, or [`SINK`] for all.
    pub threads: Row,
    /// Destination of a reduction: a predicate, or a row for `Popc`.
    pub d: u16,
    /// Operand of a reduction.
    pub operand: Pred,
    /// Whether all threads of a warp must be here (`.aligned`, and `bar`).
    pub aligned: bool,
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
    /// Row of the bytes to read, the rest being zeros, or [`SINK`] for all.
    pub source_bytes: Row,
    /// Predicate that says to read nothing.
    pub ignore: Option<Pred>,
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

/// What an instruction does.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Op {
    /// `d = a`, 32 bits.
    Copy(Args1),
    /// `d = a`, 64 bits.
    Copy64(Args1),
    Int {
        op: IntOp,
        ty: Int,
        args: Args2,
    },
    MulWide {
        ty: Int,
        args: Args2,
    },
    Mad {
        part: Part,
        ty: Int,
        args: Args3,
    },
    IntUnary {
        op: IntUnary,
        ty: Int,
        args: Args1,
    },
    Sad {
        ty: Int,
        args: Args3,
    },
    /// Field of `a` at `b` of length `c`.
    Bfe {
        ty: Int,
        args: Args3,
    },
    /// `from` put into `args.a` at `args.b` with length `args.c`.
    Bfi {
        wide: bool,
        from: Row,
        args: Args3,
    },
    Lop3 {
        table: u8,
        args: Args3,
    },
    Shf {
        left: bool,
        clamp: bool,
        args: Args3,
    },
    Prmt {
        mode: Permute,
        args: Args3,
    },
    Dp4a {
        a_signed: bool,
        b_signed: bool,
        args: Args3,
    },
    /// `add.cc`, `addc`, `sub.cc`, `subc` of 32 or 64 bits, with the carry in predicate `carry`.
    Carry {
        subtract: bool,
        wide: bool,
        uses: bool,
        sets: bool,
        carry: u16,
        args: Args2,
    },
    Float {
        op: FloatOp,
        ty: Float,
        mods: Mods,
        args: Args2,
    },
    Fma {
        ty: Float,
        mods: Mods,
        args: Args3,
    },
    FloatUnary {
        op: FloatUnary,
        ty: Float,
        mods: Mods,
        args: Args1,
    },
    Testp {
        property: Property,
        ty: Float,
        p: u16,
        a: Row,
    },
    Cvt {
        how: Convert,
        args: Args1,
    },
    /// `cvt.rn.bf16x2.f32 d, a, b`: `a` becomes the upper half.
    CvtPair {
        to: Type,
        mods: Mods,
        round: Round,
        args: Args2,
    },
    /// Two or four parts to one register, the first lowest. `bits` is that of a part.
    Pack {
        bits: u8,
        count: u8,
        d: Row,
        from: [Row; 4],
    },
    /// The opposite.
    Unpack {
        bits: u8,
        count: u8,
        a: Row,
        to: [Row; 4],
    },
    Setp(Setp),
    /// `set`: 0xffffffff or 1.0 where the comparison holds.
    Set {
        float: bool,
        p: u16,
        d: Row,
    },
    Selp {
        wide: bool,
        p: Pred,
        args: Args2,
    },
    /// `a` where `c >= 0`.
    Slct {
        wide: bool,
        float: bool,
        args: Args3,
    },
    PredLogic {
        op: Logic,
        d: u16,
        a: Pred,
        b: Pred,
    },
    PredCopy {
        d: u16,
        a: Pred,
    },
    Special {
        which: Special,
        d: Row,
    },
    ActiveMask {
        d: Row,
    },
    Vote {
        mode: Vote,
        mask: Row,
        operand: Pred,
        d: u16,
    },
    Shfl {
        mode: Shuffle,
        p: u16,
        mask: Row,
        args: Args3,
    },
    /// `match.any`, or `match.all` with its predicate.
    Match {
        all: bool,
        wide: bool,
        p: u16,
        mask: Row,
        d: Row,
        a: Row,
    },
    Redux {
        op: AtomOp,
        signed: bool,
        mask: Row,
        args: Args1,
    },
    Elect {
        p: u16,
        d: Row,
        mask: Row,
    },
    Ld(Access),
    St(Access),
    Atom(Atom),
    CpAsync(AsyncCopy),
    CpCommit,
    /// Waits until at most that many groups of the thread are open; `u32::MAX` also covers what was not committed.
    CpWait {
        groups: u32,
        all: bool,
    },
    Ldmatrix {
        count: u8,
        transpose: bool,
        address: Address,
        rows: [Row; 4],
    },
    Stmatrix {
        count: u8,
        transpose: bool,
        address: Address,
        rows: [Row; 4],
    },
    Movmatrix(Args1),
    /// Number of its operands in [`super::Entry`].
    Mma {
        number: u16,
    },
    Isspacep {
        space: Space,
        p: u16,
        a: Row,
    },
    /// Adds to or subtracts from an address the start of the space's window.
    Cvta {
        to: bool,
        space: Space,
        wide: bool,
        args: Args1,
    },
    /// A hint that has no effect here (`prefetch`, `nanosleep`, `discard.L2` and such).
    Hint,
    Bra {
        target: u32,
    },
    Exit,
    Trap,
    Bar(Barrier),
    WarpSync {
        mask: Row,
    },
    /// `membar`, `fence`: whether beyond the block.
    Fence {
        beyond_block: bool,
    },
}
