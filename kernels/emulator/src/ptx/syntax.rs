//! What the parser makes of tokens: declarations and statements, names not yet resolved.

use super::types::{Space, Type};

/// A module as text says it.
#[derive(Debug, Default)]
pub(super) struct Tree<'a> {
    /// `.global`, `.const` and `.shared` variables outside of functions.
    pub variables: Vec<Variable<'a>>,
    /// Kernels and device functions, declarations without a body left out unless nothing defines them.
    pub functions: Vec<Function<'a>>,
}

/// `.entry` or `.func`.
#[derive(Debug)]
pub(super) struct Function<'a> {
    pub name: &'a str,
    pub line: u32,
    pub entry: bool,
    pub results: Vec<Variable<'a>>,
    pub params: Vec<Variable<'a>>,
    /// `None` for a declaration.
    pub body: Option<Vec<Item<'a>>>,
    pub max_threads: Option<u32>,
}

/// A variable of a state space other than registers.
#[derive(Clone, Debug)]
pub(super) struct Variable<'a> {
    pub name: &'a str,
    pub line: u32,
    pub space: Space,
    pub ty: Type,
    pub align: usize,
    /// Bytes; 0 for an `extern` array without a length.
    pub size: usize,
    pub external: bool,
    pub initial: Vec<Initial<'a>>,
}

/// One element of an initialiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Initial<'a> {
    /// Bits of a number.
    Bits(u64),
    /// The address of a variable, plus bytes.
    Address(&'a str, u64),
}

/// One thing in a body.
#[derive(Debug)]
pub(super) enum Item<'a> {
    /// `.reg .b32 %r<12>` (`count` is `Some(12)`) or `.reg .pred p, q`.
    Registers {
        name: &'a str,
        count: Option<u32>,
        ty: Type,
    },
    Variable(Variable<'a>),
    Label(&'a str),
    Statement(Statement<'a>),
    Open,
    Close,
}

/// An instruction.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    pub line: u32,
    /// The predicate, and whether it is negated.
    pub guard: Option<(&'a str, bool)>,
    /// The opcode as it stands, modifiers included.
    pub opcode: &'a str,
    pub operands: Vec<Operand<'a>>,
}

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand<'a> {
    Name(&'a str),
    /// `!%p1`.
    Not(&'a str),
    Integer(u64),
    Single(u32),
    Double(u64),
    /// `{%r1, %r2}`.
    Vector(Vec<Operand<'a>>),
    /// `[name + offset]`; no name for an absolute address.
    Address(Option<&'a str>, i64),
    /// `(a, b)` of a call.
    List(Vec<Operand<'a>>),
    /// `%p1|%p2`.
    Pair(&'a str, &'a str),
}
