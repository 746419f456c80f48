//! Loads, stores, atomics, asynchronous copies.

use super::super::Error;
use super::super::op::{Access, Address, AsyncCopy, Atom, AtomOp, Move, Op, Order, Row, SINK};
use super::super::syntax::Operand;
use super::super::types::{Space, Type};
use super::conversion::space;
use super::operand::Writing;
use super::{Decoder, Parts};

/// Ways of caching: no effect on values.
const CACHE: [&str; 11] = ["ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc", "gpu", "cta", "sys"];

impl<'t, 'a> Decoder<'t, 'a> {
    pub(super) fn memory(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        if parts.name == "cp" {
            return self.asynchronous(parts, operands);
        }
        parts.ignore_cache_hints();
        match parts.name {
            "ld" | "ldu" | "st" => self.load_or_store(parts, operands),
            "atom" | "red" => self.atomic(parts, operands),
            "createpolicy" => Err(parts.error("not emulated")),
            _ => {
                self.emit(Op::Hint);
                Ok(())
            }
        }
    }

    fn order(&self, parts: &mut Parts<'a>) -> Order {
        // Only together with a scope is `.cta` or `.gpu` no cache hint, and no scope changes what is emulated.
        parts
            .find(|part| {
                Some(match part {
                    "weak" => Order::Weak,
                    "volatile" | "relaxed" | "mmio" => Order::Relaxed,
                    "acquire" => Order::Acquire,
                    "release" => Order::Release,
                    "acq_rel" => Order::AcquireRelease,
                    _ => return None,
                })
            })
            .unwrap_or(Order::Weak)
    }

    fn load_or_store(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let load = parts.name != "st";
        let order = self.order(&mut parts);
        let said = space(&mut parts).unwrap_or(Space::Generic);
        parts.ignore(&CACHE);
        let hint = parts.flag("L2::cache_hint");
        let count = if parts.flag("v2") {
            2
        } else if parts.flag("v4") {
            4
        } else {
            1
        };
        let ty = parts.ty()?;
        parts.finish()?;
        let operands = if hint { &operands[..operands.len().saturating_sub(1)] } else { operands };
        let [first, second] = self.exactly(&parts, operands)?;
        let (place, value) = if load { (second, first) } else { (first, second) };
        let (address, named) = self.address(place)?;
        let space = self.space_of(said, named, &parts)?;
        let (rows, register) = self.moved(value, ty, load)?;
        if rows.1 != count {
            return Err(parts.error(&format!("{count} registers were expected, not {}", rows.1)));
        }
        let what = Move {
            space,
            bytes: ty.bytes() as u8,
            count: count as u8,
            signed: ty.signed(),
            wide: register.bytes() == 8,
            narrow: register.bytes() == 2,
            order,
        };
        let access = Access { what, address, rows: rows.0 };
        self.emit(if load { Op::Ld(access) } else { Op::St(access) });
        Ok(())
    }

    /// The space an access goes to. Parameters of device functions, and what is passed to them, are local memory.
    fn space_of(&self, said: Space, named: Option<Space>, parts: &Parts<'_>) -> Result<Space, Error> {
        match (said, named) {
            (Space::Param, Some(Space::Local)) => Ok(Space::Local),
            (Space::Param, None) if !self.returns.is_empty() => Ok(Space::Local),
            (said, Some(named)) if said != named && said != Space::Generic => {
                Err(parts.error("the variable lies in another state space"))
            }
            (Space::Generic, Some(named)) => Ok(named),
            _ => Ok(said),
        }
    }

    /// Rows of what a load or store moves, their number, and a type as wide as they are: registers may be wider than
    /// what is in memory.
    fn moved(&mut self, value: &Operand<'a>, ty: Type, load: bool) -> Result<(([Row; 4], usize), Type), Error> {
        let first = if let Operand::Vector(list) = value {
            list.iter().find(|one| **one != Operand::Name("_"))
        } else {
            Some(value)
        };
        let mut register = ty;
        if let Some(Operand::Name(name)) = first
            && let Some(found) = self.scopes.register(name)
        {
            register = found.ty;
        }
        if register.bytes() < ty.bytes() {
            return Err(self.error(format!("the register is narrower than {ty:?}")));
        }
        let like = if ty.bytes() == register.bytes() { ty } else { register };
        let writing = if load { Writing::Yes } else { Writing::No };
        Ok((self.rows::<4>(value, like, writing)?, if register.bytes() == 1 { Type::B16 } else { register }))
    }

    fn atomic(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let order = match self.order(&mut parts) {
            Order::Weak => Order::Relaxed,
            other => other,
        };
        let said = space(&mut parts).unwrap_or(Space::Generic);
        parts.ignore(&["gpu", "cta", "sys", "noftz"]);
        let op = parts.find(operation).ok_or_else(|| parts.error("an operation was expected"))?;
        let ty = parts.ty()?;
        parts.finish()?;
        self.check_atomic(&parts, op, ty)?;
        let (d, operands) = match (parts.name, operands) {
            ("atom", [d, rest @ ..]) => (self.destination(d, ty)?, rest),
            (_, rest) => (SINK, rest),
        };
        let (place, b, c) = match operands {
            [place, b] if op != AtomOp::Cas => (place, self.source(b, ty)?, SINK),
            [place, b, c] if op == AtomOp::Cas => (place, self.source(b, ty)?, self.source(c, ty)?),
            _ => return Err(parts.error("another number of operands was expected")),
        };
        let (address, named) = self.address(place)?;
        let space = self.space_of(said, named, &parts)?;
        if !matches!(space, Space::Global | Space::Shared | Space::Generic) {
            return Err(parts.error("atomics are for global and shared memory"));
        }
        self.emit(Op::Atom(Atom { op, ty, space, order, d, address, b, c }));
        Ok(())
    }

    fn check_atomic(&self, parts: &Parts<'_>, op: AtomOp, ty: Type) -> Result<(), Error> {
        let float = matches!(ty, Type::F32 | Type::F64 | Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2);
        let fits = match op {
            AtomOp::Add => float || matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::S64),
            AtomOp::Min | AtomOp::Max => matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::S64),
            AtomOp::And | AtomOp::Or | AtomOp::Xor | AtomOp::Exch => matches!(ty, Type::B32 | Type::B64),
            AtomOp::Cas => matches!(ty, Type::B16 | Type::B32 | Type::B64),
            AtomOp::Inc | AtomOp::Dec => ty == Type::U32,
        };
        if fits { Ok(()) } else { Err(parts.error("no such operation on that type")) }
    }

    fn asynchronous(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        if !parts.flag("async") || parts.flag("bulk") || parts.flag("mbarrier") {
            return Err(parts.error("not emulated"));
        }
        if parts.flag("commit_group") {
            parts.finish()?;
            self.emit(Op::CpCommit);
            return Ok(());
        }
        if parts.flag("wait_all") {
            parts.finish()?;
            self.emit(Op::CpWait { groups: 0, all: true });
            return Ok(());
        }
        if parts.flag("wait_group") {
            parts.finish()?;
            let [Operand::Integer(groups)] = operands else { return Err(parts.error("a number was expected")) };
            self.emit(Op::CpWait { groups: *groups as u32, all: false });
            return Ok(());
        }
        let all_levels = parts.flag("ca");
        let level_two = parts.flag("cg");
        parts.ignore_cache_hints();
        let spaces = (space(&mut parts), space(&mut parts));
        let hint = parts.flag("L2::cache_hint");
        parts.finish()?;
        if spaces != (Some(Space::Shared), Some(Space::Global)) || all_levels == level_two {
            return Err(parts.error("`.ca` or `.cg`, `.shared.global` was expected"));
        }
        let operands = if hint { &operands[..operands.len().saturating_sub(1)] } else { operands };
        let [to, from, size, rest @ ..] = operands else { return Err(parts.error("too few operands")) };
        let Operand::Integer(bytes @ (4 | 8 | 16)) = size else { return Err(parts.error("4, 8 or 16 bytes")) };
        if level_two && *bytes != 16 {
            return Err(parts.error("`.cg` copies 16 bytes"));
        }
        let (mut source_bytes, mut ignore) = (SINK, None);
        match rest {
            [] => {}
            [Operand::Name(name)] if self.register(name).is_ok_and(|register| register.ty == Type::Pred) => {
                ignore = Some(self.predicate(&rest[0])?);
            }
            [one] => source_bytes = self.source(one, Type::U32)?,
            _ => return Err(parts.error("too many operands")),
        }
        let (to, from): (Address, Address) = (self.address(to)?.0, self.address(from)?.0);
        self.emit(Op::CpAsync(AsyncCopy { to, from, bytes: *bytes as u8, source_bytes, ignore }));
        Ok(())
    }
}

/// The operation of that name.
pub(super) fn operation(name: &str) -> Option<AtomOp> {
    Some(match name {
        "add" => AtomOp::Add,
        "min" => AtomOp::Min,
        "max" => AtomOp::Max,
        "and" => AtomOp::And,
        "or" => AtomOp::Or,
        "xor" => AtomOp::Xor,
        "exch" => AtomOp::Exch,
        "cas" => AtomOp::Cas,
        "inc" => AtomOp::Inc,
        "dec" => AtomOp::Dec,
        _ => return None,
    })
}
