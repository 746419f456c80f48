//! Branches, calls, barriers, fences.

use super::super::Error;
use super::super::op::{Barrier, BarrierMode, Op, Pred, Row, SINK};
use super::super::syntax::Operand;
use super::super::types::Type;
use super::scope::Scope;
use super::{DEPTH, Decoder, Parts};

impl<'t, 'a> Decoder<'t, 'a> {
    pub(super) fn control(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        match parts.name {
            "bra" => {
                parts.ignore(&["uni"]);
                parts.finish()?;
                let [Operand::Name(label)] = operands else { return Err(parts.error("a label was expected")) };
                self.jump(label);
            }
            "call" => {
                parts.ignore(&["uni"]);
                parts.finish()?;
                return self.call(&parts, operands);
            }
            "ret" => {
                parts.ignore(&["uni"]);
                parts.finish()?;
                let here = self.code.len();
                match self.returns.last_mut() {
                    Some(returns) => {
                        returns.push(here);
                        self.emit(Op::Bra { target: u32::MAX });
                    }
                    None => self.emit(Op::Exit),
                }
            }
            "exit" => self.emit(Op::Exit),
            "trap" | "brkpt" => self.emit(Op::Trap),
            "bar" | "barrier" => return self.barrier(parts, operands),
            "membar" | "fence" => {
                if parts.flag("proxy") || parts.flag("mbarrier_init") {
                    return Err(parts.error("not emulated"));
                }
                let beyond_block = !parts.flag("cta");
                parts.ignore(&["gl", "sys", "gpu", "sc", "acq_rel", "cluster", "acquire", "release"]);
                parts.finish()?;
                self.emit(Op::Fence { beyond_block });
            }
            "nanosleep" => self.emit(Op::Hint),
            _ => return Err(parts.error("not emulated")),
        }
        Ok(())
    }

    /// A branch to a label that need not have been seen.
    fn jump(&mut self, label: &'a str) {
        let (here, line) = (self.code.len(), self.line);
        self.scope().jumps.push((here, label, line));
        self.emit(Op::Bra { target: u32::MAX });
    }

    fn barrier(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        if parts.flag("warp") {
            let known = parts.flag("sync");
            parts.finish()?;
            let [mask] = self.exactly(&parts, operands)?;
            if !known {
                return Err(parts.error("`.sync` was expected"));
            }
            let mask = self.source(mask, Type::B32)?;
            self.emit(Op::WarpSync { mask });
            return Ok(());
        }
        let aligned = parts.flag("aligned") || parts.name == "bar";
        parts.ignore(&["cta"]);
        let mode = if parts.flag("sync") {
            BarrierMode::Sync
        } else if parts.flag("arrive") {
            BarrierMode::Arrive
        } else if parts.flag("red") {
            match (parts.flag("popc"), parts.flag("and"), parts.flag("or")) {
                (true, ..) => BarrierMode::Popc,
                (_, true, _) => BarrierMode::And,
                (_, _, true) => BarrierMode::Or,
                _ => return Err(parts.error("`.popc`, `.and` or `.or` was expected")),
            }
        } else {
            return Err(parts.error("not emulated"));
        };
        let (mut d, mut operand, mut operands) = (SINK, Pred::TRUE, operands);
        if !matches!(mode, BarrierMode::Sync | BarrierMode::Arrive) {
            let _ = parts.ty()?;
            let [result, between @ .., last] = operands else { return Err(parts.error("too few operands")) };
            operand = self.predicate(last)?;
            d = match result {
                Operand::Name(name) if mode != BarrierMode::Popc => self.predicate_result(name)?,
                _ => self.result(result, Type::U32)?,
            };
            operands = between;
        }
        parts.finish()?;
        let (id, threads): (Row, Row) = match operands {
            [id] => (self.source(id, Type::U32)?, SINK),
            [id, threads] => (self.source(id, Type::U32)?, self.source(threads, Type::U32)?),
            _ => return Err(parts.error("another number of operands was expected")),
        };
        if mode == BarrierMode::Arrive && threads == SINK {
            return Err(parts.error("the number of threads is missing"));
        }
        self.emit(Op::Bar(Barrier { mode, id, threads, d, operand, aligned }));
        Ok(())
    }

    /// `call (results), name, (arguments);`: puts the body of the function in its place.
    fn call(&mut self, parts: &Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let (results, rest) = match operands {
            [Operand::List(results), rest @ ..] => (results.as_slice(), rest),
            rest => (&[][..], rest),
        };
        let (name, arguments) = match rest {
            [Operand::Name(name)] => (*name, &[][..]),
            [Operand::Name(name), Operand::List(arguments)] => (*name, arguments.as_slice()),
            _ => return Err(parts.error("calls through pointers are not emulated")),
        };
        if name == "__assertfail" {
            self.emit(Op::Trap);
            return Ok(());
        }
        let tree = self.tree;
        let function = tree.functions.iter().find(|function| function.name == name && function.body.is_some());
        let function = function.ok_or_else(|| parts.error(&format!("no body of `{name}`")))?;
        if self.returns.len() == DEPTH {
            return Err(parts.error("calls too deep; recursion is not emulated"));
        }
        if function.params.len() != arguments.len() || function.results.len() != results.len() {
            return Err(parts.error("another number of arguments was expected"));
        }
        let mut scope = Scope { function: true, ..Scope::default() };
        let formal = function.params.iter().zip(arguments).chain(function.results.iter().zip(results));
        for (formal, actual) in formal {
            let Operand::Name(actual) = actual else { return Err(parts.error("variables were expected")) };
            let place = self.scopes.variable(actual);
            scope.variables.insert(formal.name, place.ok_or_else(|| parts.error("variables were expected"))?);
        }
        let skip = self.skip_unless_guarded();
        let outer = (self.guard, self.line);
        self.guard = Pred::TRUE;
        self.scopes.stack.push(scope);
        self.returns.push(Vec::new());
        self.items(function.body.as_deref().unwrap_or_default())?;
        self.close_scope()?;
        let end = self.code.len() as u32;
        let returns = self.returns.pop().unwrap_or_default();
        for at in returns.into_iter().chain(skip) {
            self.code[at].op = Op::Bra { target: end };
        }
        (self.guard, self.line) = outer;
        Ok(())
    }

    /// A branch around a call that lanes do not take; its target is filled in later.
    fn skip_unless_guarded(&mut self) -> Option<usize> {
        if self.guard == Pred::TRUE {
            return None;
        }
        self.guard.negated ^= true;
        let here = self.code.len();
        self.emit(Op::Bra { target: u32::MAX });
        self.guard.negated ^= true;
        Some(here)
    }
}
