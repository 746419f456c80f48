//! Functions of floating-point numbers, and moves.

use super::super::Error;
use super::super::op::{Args1, Float, FloatOp, FloatUnary, Mods, Op, Property};
use super::super::syntax::Operand;
use super::super::types::Type;
use super::operand::Writing;
use super::{Decoder, Parts};

impl<'t, 'a> Decoder<'t, 'a> {
    pub(super) fn floating(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let property = if parts.name == "testp" { parts.find(property) } else { None };
        let mods = Some(parts.mods()).filter(|mods| *mods != Mods::default());
        let _ = parts.flag("approx");
        let ty = parts.ty()?;
        parts.finish()?;
        let float = Float::of(ty).ok_or_else(|| parts.error("a floating-point type was expected"))?;
        let op = match parts.name {
            "copysign" => {
                let args = self.args2(&parts, operands, ty)?;
                self.emit(Op::Float { op: FloatOp::CopySign, ty: float, mods, args });
                return Ok(());
            }
            "testp" => {
                let property = property.ok_or_else(|| parts.error("a property was expected"))?;
                let [p, a] = self.exactly(&parts, operands)?;
                let Operand::Name(name) = p else { return Err(parts.error("a predicate was expected")) };
                let (p, a) = (self.predicate_result(name)?, self.source(a, ty)?);
                self.emit(Op::Testp { property, ty: float, p, a });
                return Ok(());
            }
            "sqrt" => FloatUnary::Sqrt,
            "rcp" => FloatUnary::Rcp,
            "rsqrt" => FloatUnary::Rsqrt,
            "ex2" => FloatUnary::Ex2,
            "lg2" => FloatUnary::Lg2,
            "sin" => FloatUnary::Sin,
            "cos" => FloatUnary::Cos,
            _ => FloatUnary::Tanh,
        };
        let args = self.args1(&parts, operands, ty)?;
        self.emit(Op::FloatUnary { op, ty: float, mods, args });
        Ok(())
    }

    pub(super) fn mov(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let ty = parts.ty()?;
        parts.finish()?;
        let [d, a] = self.exactly(&parts, operands)?;
        if ty == Type::Pred {
            let Operand::Name(name) = d else { return Err(parts.error("a predicate was expected")) };
            let a = self.predicate(a)?;
            let d = self.predicate_result(name)?;
            self.emit(Op::PredCopy { d, a });
            return Ok(());
        }
        match (d, a) {
            (Operand::Vector(list), _) => {
                let (bits, part) = part(&parts, ty, list.len())?;
                let (to, _) = self.rows::<4>(d, part, Writing::Yes)?;
                let a = self.source(a, ty)?;
                self.emit(Op::Unpack { bits, count: list.len() as u8, a, to });
            }
            (_, Operand::Vector(list)) => {
                let (bits, part) = part(&parts, ty, list.len())?;
                let (from, _) = self.rows::<4>(a, part, Writing::No)?;
                let d = self.result(d, ty)?;
                self.emit(Op::Pack { bits, count: list.len() as u8, d, from });
            }
            _ => {
                let args = Args1 { d: self.result(d, ty)?, a: self.source(a, ty)? };
                self.emit(if ty.bytes() == 8 { Op::Copy64(args) } else { Op::Copy(args) });
            }
        }
        Ok(())
    }
}

/// Bits and type of each of `count` parts of a value.
fn part(parts: &Parts<'_>, ty: Type, count: usize) -> Result<(u8, Type), Error> {
    match 8 * ty.bytes() / count.max(1) {
        8 => Ok((8, Type::B8)),
        16 => Ok((16, Type::B16)),
        32 => Ok((32, Type::B32)),
        _ => Err(parts.error("a vector of another length was expected")),
    }
}

fn property(name: &str) -> Option<Property> {
    Some(match name {
        "finite" => Property::Finite,
        "infinite" => Property::Infinite,
        "number" => Property::Number,
        "notanumber" => Property::NotANumber,
        "normal" => Property::Normal,
        "subnormal" => Property::Subnormal,
        _ => return None,
    })
}
