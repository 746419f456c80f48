//! Trees to instructions that `exec` runs: names become rows, calls the body of what they call.
//!
//! Device functions are put in place of their calls, with registers of their own; their parameters are variables of
//! local memory, as the calling convention has it. So there is no stack, and what can not be put in place (recursion,
//! calls through pointers) is an error.

mod arithmetic;
mod collective;
mod comparison;
mod control;
mod conversion;
mod float;
mod matrix;
mod memory;
mod operand;
mod parts;
mod scope;

use std::collections::HashMap;

use self::parts::Parts;
use self::scope::{Place, Registers, Scope, Scopes};
use super::compact::compact;
use super::op::{Instruction, Mma, Op, Pred, Row, Special};
use super::syntax::{Function, Item, Operand, Statement, Tree, Variable};
use super::types::{Space, Type};
use super::{Constant, Entry, Error, Param, Value};

/// Functions called within functions within functions.
const DEPTH: usize = 32;

/// One kernel in the making.
pub(super) struct Decoder<'t, 'a> {
    tree: &'t Tree<'a>,
    /// Variables of the module outside of functions.
    outer: &'t HashMap<&'a str, usize>,
    code: Vec<Instruction>,
    scopes: Scopes<'a>,
    rows: u32,
    predicates: u32,
    constants: Vec<Constant>,
    known: HashMap<(Value, bool), Row>,
    /// Variables of shared memory outside of functions that this kernel uses, with their offsets.
    shared_outer: HashMap<&'a str, u64>,
    shared: usize,
    dynamic_align: usize,
    local: usize,
    mmas: Vec<Mma>,
    carry: Option<u16>,
    /// `ret` of the functions being put in place.
    returns: Vec<Vec<usize>>,
    guard: Pred,
    line: u32,
}

/// Decodes a kernel.
pub(super) fn entry<'a>(
    tree: &Tree<'a>,
    outer: &HashMap<&'a str, usize>,
    function: &Function<'a>,
) -> Result<Entry, Error> {
    let mut decoder = Decoder {
        tree,
        outer,
        code: Vec::new(),
        scopes: Scopes::default(),
        rows: 2,
        predicates: 1,
        constants: Vec::new(),
        known: HashMap::new(),
        shared_outer: HashMap::new(),
        shared: 0,
        dynamic_align: 16,
        local: 0,
        mmas: Vec::new(),
        carry: None,
        returns: Vec::new(),
        guard: Pred::TRUE,
        line: function.line,
    };
    let mut scope = Scope { function: true, ..Scope::default() };
    let mut params = Vec::new();
    let mut end = 0usize;
    for param in &function.params {
        let offset = end.next_multiple_of(param.align);
        end = offset + param.size;
        params.push(Param { offset, size: param.size });
        scope.variables.insert(param.name, Place::Param(offset as u64));
    }
    decoder.scopes.stack.push(scope);
    decoder.items(function.body.as_deref().unwrap_or_default())?;
    decoder.emit(Op::Exit);
    decoder.close_scope()?;
    decoder.finish(function, params)
}

impl<'t, 'a> Decoder<'t, 'a> {
    fn finish(mut self, function: &Function<'a>, params: Vec<Param>) -> Result<Entry, Error> {
        if self.rows > u32::from(Row::MAX) || self.predicates > 0x7fff {
            return Err(Error {
                line: function.line as usize,
                what: format!("`{}` needs {} rows of registers, at most {}", function.name, self.rows, Row::MAX),
            });
        }
        let rows = compact(&mut self.code, &mut self.mmas, &mut self.constants, self.rows as usize);
        Ok(Entry {
            name: function.name.to_owned(),
            params,
            shared: if self.dynamic_align > 16 {
                self.shared.next_multiple_of(self.dynamic_align)
            } else {
                self.shared
            },
            local: self.local.next_multiple_of(16),
            max_threads: function.max_threads,
            code: self.code,
            rows,
            predicates: self.predicates as usize,
            constants: self.constants,
            mmas: self.mmas,
        })
    }

    fn error(&self, what: impl Into<String>) -> Error {
        Error { line: self.line as usize, what: what.into() }
    }

    fn emit(&mut self, op: Op) {
        self.code.push(Instruction { guard: self.guard, line: self.line, op });
    }

    fn items(&mut self, items: &[Item<'a>]) -> Result<(), Error> {
        for item in items {
            match item {
                Item::Registers { name, count, ty } => self.registers(name, *count, *ty)?,
                Item::Variable(variable) => self.variable(variable)?,
                Item::Label(name) => {
                    let here = self.code.len() as u32;
                    if self.scope().labels.insert(name, here).is_some() {
                        return Err(self.error(format!("label `{name}` stands twice")));
                    }
                }
                Item::Statement(statement) => self.statement(statement)?,
                Item::Open => self.scopes.stack.push(Scope::default()),
                Item::Close => self.close_scope()?,
            }
        }
        Ok(())
    }

    /// The innermost scope; there is one while a function is decoded.
    fn scope(&mut self) -> &mut Scope<'a> {
        if self.scopes.stack.is_empty() {
            self.scopes.stack.push(Scope::default());
        }
        let last = self.scopes.stack.len() - 1;
        &mut self.scopes.stack[last]
    }

    /// Ends a scope: its branches go to its own labels, or else to those of the scope outside.
    fn close_scope(&mut self) -> Result<(), Error> {
        let Some(scope) = self.scopes.stack.pop() else { return Ok(()) };
        for (at, name, line) in scope.jumps {
            if let Some(target) = scope.labels.get(name) {
                self.code[at].op = Op::Bra { target: *target };
            } else if scope.function {
                return Err(Error { line: line as usize, what: format!("no label `{name}`") });
            } else {
                self.scope().jumps.push((at, name, line));
            }
        }
        Ok(())
    }

    /// New rows or a new predicate for registers of that type.
    fn allot(&mut self, ty: Type, count: u32) -> Result<Row, Error> {
        let first = match ty {
            Type::Pred => &mut self.predicates,
            Type::B128 => return Err(self.error("registers of 128 bits are not emulated")),
            _ if ty.bytes() == 8 => {
                self.rows = self.rows.next_multiple_of(2);
                &mut self.rows
            }
            _ => &mut self.rows,
        };
        let at = *first;
        *first = first.saturating_add(count.saturating_mul(if ty.bytes() == 8 { 2 } else { 1 }));
        if *first >= u32::from(Row::MAX) {
            return Err(self.error("too many registers"));
        }
        Ok(at as Row)
    }

    fn registers(&mut self, name: &'a str, count: Option<u32>, ty: Type) -> Result<(), Error> {
        let first = self.allot(ty, count.unwrap_or(1))?;
        let registers = Registers { first, count: count.unwrap_or(1), ty };
        let scope = self.scope();
        let names = if count.is_some() { &mut scope.ranges } else { &mut scope.exact };
        names.insert(name, registers);
        Ok(())
    }

    fn variable(&mut self, variable: &Variable<'a>) -> Result<(), Error> {
        let place = match variable.space {
            Space::Shared => {
                let at = self.shared.next_multiple_of(variable.align);
                self.shared = at + variable.size;
                Place::Shared(at as u64)
            }
            // Parameters of calls are memory of the thread as well.
            Space::Local | Space::Param => {
                let at = self.local.next_multiple_of(variable.align);
                self.local = at + variable.size;
                Place::Local(at as u64)
            }
            Space::Global | Space::Generic => {
                return Err(Error {
                    line: variable.line as usize,
                    what: format!("`{}`: global variables inside of functions are not emulated", variable.name),
                });
            }
        };
        self.scope().variables.insert(variable.name, place);
        Ok(())
    }

    /// A value that is the same for all lanes, as a row.
    fn constant(&mut self, value: Value, wide: bool) -> Result<Row, Error> {
        if let Some(row) = self.known.get(&(value, wide)) {
            return Ok(*row);
        }
        let row = self.allot(if wide { Type::B64 } else { Type::B32 }, 1)?;
        self.known.insert((value, wide), row);
        self.constants.push(Constant { row, wide, value });
        Ok(row)
    }

    /// The row of a special register.
    fn special(&mut self, which: Special) -> Result<Row, Error> {
        if which.changes() {
            let row = self.allot(if which.wide() { Type::B64 } else { Type::B32 }, 1)?;
            self.emit(Op::Special { which, d: row });
            return Ok(row);
        }
        self.constant(Value::Special(which), which.wide())
    }

    fn statement(&mut self, statement: &Statement<'a>) -> Result<(), Error> {
        self.line = statement.line;
        self.guard = match statement.guard {
            None => Pred::TRUE,
            Some((name, negated)) => {
                let mut guard = self.predicate(&Operand::Name(name))?;
                guard.negated ^= negated;
                guard
            }
        };
        let parts = Parts::new(statement.opcode, statement.line);
        self.instruction(parts, &statement.operands)
    }

    fn instruction(&mut self, parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        match parts.name {
            "add" | "sub" | "mul" | "div" | "min" | "max" | "abs" | "neg" | "mad" | "fma" | "addc" | "subc" | "rem"
            | "sad" | "not" | "cnot" | "clz" | "popc" | "brev" | "bfind" | "bfe" | "bfi" | "lop3" | "shf" | "shl"
            | "shr" | "prmt" | "dp4a" | "mul24" | "mad24" => self.arithmetic(parts, operands),
            "and" | "or" | "xor" => self.bitwise(parts, operands),
            "sqrt" | "rcp" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" | "copysign" | "testp" => {
                self.floating(parts, operands)
            }
            "setp" | "set" | "selp" | "slct" => self.comparison(parts, operands),
            "cvt" | "cvta" | "isspacep" => self.conversion(parts, operands),
            "mov" => self.mov(parts, operands),
            "ld" | "ldu" | "st" | "atom" | "red" | "cp" | "prefetch" | "prefetchu" | "discard" | "applypriority"
            | "createpolicy" => self.memory(parts, operands),
            "ldmatrix" | "stmatrix" | "movmatrix" | "mma" => self.matrix(parts, operands),
            "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" => self.collective(parts, operands),
            "bra" | "ret" | "exit" | "trap" | "brkpt" | "call" | "bar" | "barrier" | "membar" | "fence"
            | "nanosleep" | "griddepcontrol" | "setmaxnreg" => self.control(parts, operands),
            _ => Err(parts.error("unknown instruction")),
        }
    }
}
