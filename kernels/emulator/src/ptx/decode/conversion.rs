//! Conversions of numbers and of addresses.

use super::super::Error;
use super::super::op::{Args1, Args2, Convert, Op, Round};
use super::super::syntax::Operand;
use super::super::types::{Space, Type};
use super::{Decoder, Parts};

impl<'t, 'a> Decoder<'t, 'a> {
    pub(super) fn conversion(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        match parts.name {
            "cvt" => self.cvt(parts, operands),
            "cvta" => {
                let to = parts.flag("to");
                let space = space(&mut parts).ok_or_else(|| parts.error("a state space was expected"))?;
                let ty = parts.ty()?;
                parts.finish()?;
                let args = self.args1(&parts, operands, ty)?;
                self.emit(Op::Cvta { to, space, wide: ty.bytes() == 8, args });
                Ok(())
            }
            _ => {
                let space = space(&mut parts).ok_or_else(|| parts.error("a state space was expected"))?;
                parts.finish()?;
                let [p, a] = self.exactly(&parts, operands)?;
                let Operand::Name(name) = p else { return Err(parts.error("a predicate was expected")) };
                let (p, a) = (self.predicate_result(name)?, self.source(a, Type::B64)?);
                self.emit(Op::Isspacep { space, p, a });
                Ok(())
            }
        }
    }

    fn cvt(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let integral = parts.find(integral);
        if parts.flag("pack") {
            return Err(parts.error("not emulated"));
        }
        let mut mods = parts.mods();
        let to = parts.ty()?;
        if matches!(to, Type::F16x2 | Type::Bf16x2) {
            let from = parts.ty()?;
            if from != Type::F32 {
                return Err(parts.error("`.f32` was expected"));
            }
            let [d, a, b] = self.exactly(&parts, operands)?;
            let (a, b) = (self.source(a, Type::F32)?, self.source(b, Type::F32)?);
            parts.finish()?;
            let args = Args2 { d: self.result(d, Type::B32)?, a, b };
            self.emit(Op::CvtPair { to, mods, round: mods.round, args });
            return Ok(());
        }
        let from = parts.ty()?;
        parts.finish()?;
        let [d, a] = self.exactly(&parts, operands)?;
        let d = self.any_register(d)?;
        let (a, wide_source) = match a {
            Operand::Name(name) if self.scopes.register(name).is_some() => {
                let register = self.any_register(a)?;
                (register.row, register.ty.bytes() == 8)
            }
            _ => (self.source(a, from)?, from.bytes() == 8),
        };
        if d.ty.bytes() < to.bytes().max(2) {
            return Err(parts.error("the destination is too narrow"));
        }
        let round = integral.unwrap_or(mods.round);
        mods.round = Round::Nearest;
        let how = Convert {
            to,
            from,
            round,
            integral: integral.is_some(),
            mods,
            wide: d.ty.bytes() == 8,
            wide_source,
            narrow: d.ty.bytes() == 2,
        };
        self.emit(Op::Cvt { how, args: Args1 { d: d.row, a } });
        Ok(())
    }
}

fn integral(name: &str) -> Option<Round> {
    Some(match name {
        "rni" => Round::Nearest,
        "rzi" => Round::Zero,
        "rmi" => Round::Down,
        "rpi" => Round::Up,
        _ => return None,
    })
}

/// Takes a state space.
pub(super) fn space(parts: &mut Parts<'_>) -> Option<Space> {
    parts.find(|part| {
        Some(match part {
            "global" | "const" => Space::Global,
            "shared" | "shared::cta" => Space::Shared,
            "local" => Space::Local,
            "param" | "param::entry" | "param::func" => Space::Param,
            _ => return None,
        })
    })
}
