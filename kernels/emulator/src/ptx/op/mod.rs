//! Instructions as they are executed: operands are numbers of rows, immediates and special registers included.
//!
//! A *row* holds a 32-bit value of each lane of a warp. A 64-bit register is two rows, the first of them even. A
//! 16-bit value is zero-extended. A predicate is a bit a lane in a file of its own.

mod arithmetic;
mod collective;
mod memory;

pub use self::arithmetic::*;
pub use self::collective::*;
pub use self::memory::*;

use super::types::Space;
use super::types::Type;

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
        mods: Option<Mods>,
        args: Args2,
    },
    Fma {
        ty: Float,
        mods: Option<Mods>,
        args: Args3,
    },
    FloatUnary {
        op: FloatUnary,
        ty: Float,
        mods: Option<Mods>,
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
        /// A subnormal `c` is zero.
        ftz: bool,
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
