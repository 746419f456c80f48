//! What names mean: registers, variables and labels, scope by scope.

use std::collections::HashMap;

use super::super::Value;
use super::super::op::Row;
use super::super::types::{Space, Type};

/// A register, or a range of them under a common prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers {
    /// First row, or number of the first predicate.
    pub first: Row,
    /// How many; one where the name stands for itself.
    pub count: u32,
    pub ty: Type,
}

/// One register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Register {
    /// Row, or number of the predicate.
    pub row: Row,
    pub ty: Type,
}

/// Where a variable lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// In a module's variable of that number.
    Global(usize),
    /// At an offset of shared memory.
    Shared(u64),
    /// Behind static shared memory.
    DynamicShared,
    /// At an offset of local memory.
    Local(u64),
    /// At an offset of the parameter space.
    Param(u64),
}

impl Place {
    pub fn space(self) -> Space {
        match self {
            Place::Global(_) => Space::Global,
            Place::Shared(_) | Place::DynamicShared => Space::Shared,
            Place::Local(_) => Space::Local,
            Place::Param(_) => Space::Param,
        }
    }
}

/// Names between two braces.
#[derive(Default)]
pub(super) struct Scope<'a> {
    pub exact: HashMap<&'a str, Registers>,
    pub ranges: HashMap<&'a str, Registers>,
    pub variables: HashMap<&'a str, Place>,
    pub labels: HashMap<&'a str, u32>,
    /// Branches to labels that were not seen yet: place of the instruction, name, line.
    pub jumps: Vec<(usize, &'a str, u32)>,
    /// Whether names of the scopes outside are hidden: the body of a function.
    pub function: bool,
}

impl<'a> Scope<'a> {
    fn register(&self, name: &str) -> Option<Register> {
        if let Some(found) = self.exact.get(name) {
            return Some(Register { row: found.first, ty: found.ty });
        }
        let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number: u32 = name[prefix.len()..].parse().ok()?;
        let range = self.ranges.get(prefix)?;
        let step = if range.ty.bytes() == 8 { 2 } else { 1 };
        let row = u32::from(range.first) + number * step;
        (number < range.count).then_some(Register { row: row as Row, ty: range.ty })
    }
}

/// Scopes, the innermost last.
#[derive(Default)]
pub(super) struct Scopes<'a> {
    pub stack: Vec<Scope<'a>>,
}

impl<'a> Scopes<'a> {
    fn visible(&self) -> impl Iterator<Item = &Scope<'a>> {
        let start = self.stack.iter().rposition(|scope| scope.function).unwrap_or(0);
        self.stack[start..].iter().rev()
    }

    pub fn register(&self, name: &str) -> Option<Register> {
        self.visible().find_map(|scope| scope.register(name))
    }

    pub fn variable(&self, name: &str) -> Option<Place> {
        self.visible().find_map(|scope| scope.variables.get(name).copied())
    }
}

impl Value {
    /// The address of what lies at `place`, plus `offset` bytes, within its own space.
    pub(super) fn of(place: Place, offset: i64) -> Value {
        match place {
            Place::Global(index) => Value::Global(index, offset),
            Place::DynamicShared => Value::DynamicShared(offset),
            Place::Shared(at) | Place::Local(at) | Place::Param(at) => Value::Bits(at.wrapping_add_signed(offset)),
        }
    }
}
