//! Instructions in which the lanes of a warp take part together.

use super::super::Error;
use super::super::op::{Args1, Args3, AtomOp, Op, Shuffle, Vote};
use super::super::syntax::Operand;
use super::super::types::Type;
use super::memory::operation;
use super::{Decoder, Parts};

impl<'t, 'a> Decoder<'t, 'a> {
    pub(super) fn collective(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        if parts.name == "activemask" {
            let ty = parts.ty()?;
            parts.finish()?;
            let [d] = self.exactly(&parts, operands)?;
            let d = self.result(d, ty)?;
            self.emit(Op::ActiveMask { d });
            return Ok(());
        }
        if !parts.flag("sync") {
            return Err(parts.error("without `.sync` it is not emulated"));
        }
        match parts.name {
            "shfl" => self.shuffle(parts, operands),
            "vote" => self.vote(parts, operands),
            "match" => self.matching(parts, operands),
            "redux" => self.reduction(parts, operands),
            _ => {
                parts.finish()?;
                let [d, mask] = self.exactly(&parts, operands)?;
                let (d, p) = self.pair_result(d, Type::B32)?;
                let mask = self.source(mask, Type::B32)?;
                self.emit(Op::Elect { p, d, mask });
                Ok(())
            }
        }
    }

    fn shuffle(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let mode = parts.find(|part| {
            Some(match part {
                "up" => Shuffle::Up,
                "down" => Shuffle::Down,
                "bfly" => Shuffle::Butterfly,
                "idx" => Shuffle::Index,
                _ => return None,
            })
        });
        let mode = mode.ok_or_else(|| parts.error("a mode was expected"))?;
        let ty = parts.ty()?;
        parts.finish()?;
        let [d, a, b, c, mask] = self.exactly(&parts, operands)?;
        let (d, p) = self.pair_result(d, ty)?;
        let (a, b, c) = (self.source(a, ty)?, self.source(b, Type::B32)?, self.source(c, Type::B32)?);
        let mask = self.source(mask, Type::B32)?;
        self.emit(Op::Shfl { mode, p, mask, args: Args3 { d, a, b, c } });
        Ok(())
    }

    fn vote(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let mode = parts.find(|part| {
            Some(match part {
                "all" => Vote::All,
                "any" => Vote::Any,
                "uni" => Vote::Uniform,
                "ballot" => Vote::Ballot,
                _ => return None,
            })
        });
        let mode = mode.ok_or_else(|| parts.error("a mode was expected"))?;
        let ty = parts.ty()?;
        parts.finish()?;
        let [d, operand, mask] = self.exactly(&parts, operands)?;
        let operand = self.predicate(operand)?;
        let mask = self.source(mask, Type::B32)?;
        let d = match (d, ty) {
            (Operand::Name(name), Type::Pred) => self.predicate_result(name)?,
            _ => self.result(d, ty)?,
        };
        if (mode == Vote::Ballot) == (ty == Type::Pred) {
            return Err(parts.error("another type was expected"));
        }
        self.emit(Op::Vote { mode, mask, operand, d });
        Ok(())
    }

    fn matching(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let (all, any) = (parts.flag("all"), parts.flag("any"));
        let ty = parts.ty()?;
        parts.finish()?;
        if all == any {
            return Err(parts.error("`.any` or `.all` was expected"));
        }
        let [d, a, mask] = self.exactly(&parts, operands)?;
        let (d, p) = self.pair_result(d, Type::B32)?;
        let (a, mask) = (self.source(a, ty)?, self.source(mask, Type::B32)?);
        self.emit(Op::Match { all, wide: ty.bytes() == 8, p, mask, d, a });
        Ok(())
    }

    fn reduction(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let op = parts.find(operation).ok_or_else(|| parts.error("an operation was expected"))?;
        let ty = parts.ty()?;
        parts.finish()?;
        let known = match op {
            AtomOp::Add | AtomOp::Min | AtomOp::Max => matches!(ty, Type::U32 | Type::S32),
            AtomOp::And | AtomOp::Or | AtomOp::Xor => ty == Type::B32,
            _ => false,
        };
        if !known {
            return Err(parts.error("no such operation on that type"));
        }
        let [d, a, mask] = self.exactly(&parts, operands)?;
        let args = Args1 { d: self.result(d, ty)?, a: self.source(a, ty)? };
        let mask = self.source(mask, Type::B32)?;
        self.emit(Op::Redux { op, signed: ty.signed(), mask, args });
        Ok(())
    }
}
