//! PTX text to instructions that `exec` runs.
//!
//! | file | what it says |
//! |---|---|
//! | `lex.rs` | text to tokens |
//! | `syntax.rs` | the tree of a text, names not resolved |
//! | `parse.rs`, `body.rs` | tokens to that tree: modules, bodies of functions |
//! | `initial.rs` | variables of a module and their bytes |
//! | `types.rs`, `op.rs` | types, and instructions as they are executed |
//! | `decode/` | the tree of a kernel to its instructions |
//! | `operands.rs`, `compact.rs` | registers that share a row |

mod body;
mod compact;
mod decode;
mod initial;
mod lex;
pub mod op;
mod operands;
mod parse;
mod syntax;
#[cfg(test)]
mod tests;
mod types;

pub use self::types::{Space, Type};

use self::op::{Instruction, Mma, Row, Special};

/// A module: what one PTX text declares.
#[derive(Debug)]
pub struct Module {
    /// Kernels, in the order of the text.
    pub entries: Vec<Entry>,
    /// `.global` and `.const` variables, in the order of the text.
    pub globals: Vec<Global>,
    /// The text, for reports.
    source: String,
    /// Where its lines begin.
    lines: Vec<usize>,
}

/// A `.global` or `.const` variable of a module. Whoever loads the module allocates it in device memory and writes
/// its initial bytes there.
#[derive(Clone, Debug)]
pub struct Global {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: usize,
    /// Alignment in bytes.
    pub align: usize,
    /// Initial bytes; shorter than `size` means zeros at the end, `None` zeros everywhere.
    pub initial: Option<Vec<u8>>,
    /// Addresses of variables to be added to 8 bytes of `initial` each, little end first.
    pub addresses: Vec<GlobalAddress>,
}

/// The address of a variable within the initial value of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalAddress {
    /// Byte of the initial value.
    pub at: usize,
    /// Which variable's address, by its place in [`Module::globals`].
    pub global: usize,
}

/// One parameter of a kernel in the parameter space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Bytes from the start of the parameter space.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
}

/// A kernel.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Parameters, in order.
    pub params: Vec<Param>,
    /// Bytes of static shared memory.
    pub shared: usize,
    /// Bytes of local memory a thread.
    pub local: usize,
    /// Threads that a block may have at most (`.maxntid`), if it says so.
    pub max_threads: Option<u32>,
    /// Instructions.
    pub(crate) code: Vec<Instruction>,
    /// Rows of registers.
    pub(crate) rows: usize,
    /// Predicates; the first is true.
    pub(crate) predicates: usize,
    /// Rows that are set before the first instruction and never written.
    pub(crate) constants: Vec<Constant>,
    /// Operands of the products of matrices.
    pub(crate) mmas: Vec<Mma>,
}

/// A row that no instruction writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Constant {
    /// Row, or the first of two.
    pub row: Row,
    /// Whether it has 64 bits.
    pub wide: bool,
    /// What it holds.
    pub value: Value,
}

/// Values that are known when a warp starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    /// As it is.
    Bits(u64),
    /// Address of a module's variable, plus bytes.
    Global(usize, i64),
    /// First byte behind static shared memory, plus bytes.
    DynamicShared(i64),
    /// A special register.
    Special(Special),
}

/// Why a text is no module that can be run here: loud, with its line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ptx line {line}: {what}")]
pub struct Error {
    /// From 1.
    pub line: usize,
    /// What was found and what was expected.
    pub what: String,
}

impl Module {
    /// Reads a PTX text.
    ///
    /// # Errors
    /// A text that is no PTX, and anything that is not emulated: an unknown instruction, directive or modifier.
    pub fn parse(source: &str) -> Result<Module, Error> {
        let tokens = lex::tokens(source)?;
        let tree = parse::module(&tokens)?;
        let (globals, outer) = initial::globals(&tree)?;
        let mut entries = Vec::new();
        for function in tree.functions.iter().filter(|function| function.entry && function.body.is_some()) {
            entries.push(decode::entry(&tree, &outer, function)?);
        }
        let lines = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Ok(Module { entries, globals, source: source.to_owned(), lines })
    }

    /// The kernel of that name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The instruction on a line, from 1, as text.
    pub(crate) fn instruction(&self, line: u32) -> &str {
        let start = self.lines.get((line as usize).wrapping_sub(1)).copied().unwrap_or(self.source.len());
        let rest = &self.source[start..];
        let end = rest.find('\n').unwrap_or(rest.len());
        rest[..end].trim()
    }
}
