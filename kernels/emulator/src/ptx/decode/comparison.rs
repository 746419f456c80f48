//! Comparisons, and what chooses between operands by one.

use super::super::Error;
use super::super::op::{Args2, Args3, Compare, Int, Logic, Op, Pred, SINK, Setp};
use super::super::syntax::Operand;
use super::super::types::Type;
use super::{Decoder, Parts};

impl<'t, 'a> Decoder<'t, 'a> {
    pub(super) fn comparison(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        match parts.name {
            "selp" => {
                let ty = parts.ty()?;
                parts.finish()?;
                let [d, a, b, p] = self.exactly(&parts, operands)?;
                let args = Args2 { d: self.result(d, ty)?, a: self.source(a, ty)?, b: self.source(b, ty)? };
                let p = self.predicate(p)?;
                self.emit(Op::Selp { wide: ty.bytes() == 8, p, args });
            }
            "slct" => {
                let (ftz, ty, by) = (parts.flag("ftz"), parts.ty()?, parts.ty()?);
                parts.finish()?;
                let [d, a, b, c] = self.exactly(&parts, operands)?;
                let (a, b, c) = (self.source(a, ty)?, self.source(b, ty)?, self.source(c, by)?);
                let args = Args3 { d: self.result(d, ty)?, a, b, c };
                self.emit(Op::Slct { wide: ty.bytes() == 8, float: by == Type::F32, ftz, args });
            }
            _ => return self.setp(parts, operands),
        }
        Ok(())
    }

    /// `setp.lt.and.f32 %p|%q, a, b, c` and `set.lt.u32.f32 d, a, b`.
    fn setp(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let compare = parts.find(compare).ok_or_else(|| parts.error("a comparison was expected"))?;
        let logic = parts.find(logic);
        let ftz = parts.flag("ftz");
        let into = if parts.name == "set" { Some(parts.ty()?) } else { None };
        let ty = parts.ty()?;
        parts.finish()?;
        let known = Int::of(ty).is_some() || matches!(ty, Type::F16 | Type::Bf16 | Type::F32 | Type::F64);
        if !known || into.is_some_and(|into| !matches!(into, Type::U32 | Type::S32 | Type::F32)) {
            return Err(parts.error("with these types it is not emulated"));
        }
        let [d, a, b, rest @ ..] = operands else { return Err(parts.error("too few operands")) };
        let (a, b) = (self.source(a, ty)?, self.source(b, ty)?);
        let c = match (rest, logic) {
            ([], None) => Pred::TRUE,
            ([c], Some(_)) => self.predicate(c)?,
            _ => return Err(parts.error("another number of operands was expected")),
        };
        let logic = logic.unwrap_or(Logic::And);
        if let Some(into) = into {
            let p = self.allot(Type::Pred, 1)?;
            let d = self.result(d, into)?;
            self.emit(Op::Setp(Setp { compare, ty, ftz, logic, p, q: SINK, a, b, c }));
            self.emit(Op::Set { float: into == Type::F32, p, d });
            return Ok(());
        }
        let (p, q) = match d {
            Operand::Name(name) => (self.predicate_result(name)?, SINK),
            Operand::Pair(p, q) => (self.predicate_result(p)?, self.predicate_result(q)?),
            _ => return Err(parts.error("a predicate was expected")),
        };
        self.emit(Op::Setp(Setp { compare, ty, ftz, logic, p, q, a, b, c }));
        Ok(())
    }
}

/// What combines a comparison with another predicate.
pub(super) fn logic(name: &str) -> Option<Logic> {
    Some(match name {
        "and" => Logic::And,
        "or" => Logic::Or,
        "xor" => Logic::Xor,
        _ => return None,
    })
}

fn compare(name: &str) -> Option<Compare> {
    Some(match name {
        "eq" => Compare::Eq,
        "ne" => Compare::Ne,
        "lt" | "lo" => Compare::Lt,
        "le" | "ls" => Compare::Le,
        "gt" | "hi" => Compare::Gt,
        "ge" | "hs" => Compare::Ge,
        "equ" => Compare::Equ,
        "neu" => Compare::Neu,
        "ltu" => Compare::Ltu,
        "leu" => Compare::Leu,
        "gtu" => Compare::Gtu,
        "geu" => Compare::Geu,
        "num" => Compare::Num,
        "nan" => Compare::Nan,
        _ => return None,
    })
}
