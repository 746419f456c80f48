//! Integer and floating-point arithmetic, bits.

use super::super::Error;
use super::super::op::{
    Args1, Args2, Args3, Float, FloatOp, FloatUnary, Int, IntOp, IntUnary, Mods, Op, Part, Permute,
};
use super::super::syntax::Operand;
use super::super::types::Type;
use super::comparison::logic;
use super::{Decoder, Parts};

impl<'t, 'a> Decoder<'t, 'a> {
    pub(super) fn args1(&mut self, parts: &Parts<'a>, operands: &[Operand<'a>], ty: Type) -> Result<Args1, Error> {
        let [d, a] = self.exactly(parts, operands)?;
        Ok(Args1 { d: self.result(d, ty)?, a: self.source(a, ty)? })
    }

    pub(super) fn args2(&mut self, parts: &Parts<'a>, operands: &[Operand<'a>], ty: Type) -> Result<Args2, Error> {
        let [d, a, b] = self.exactly(parts, operands)?;
        Ok(Args2 { d: self.result(d, ty)?, a: self.source(a, ty)?, b: self.source(b, ty)? })
    }

    pub(super) fn args3(&mut self, parts: &Parts<'a>, operands: &[Operand<'a>], ty: Type) -> Result<Args3, Error> {
        let [d, a, b, c] = self.exactly(parts, operands)?;
        let (a, b, c) = (self.source(a, ty)?, self.source(b, ty)?, self.source(c, ty)?);
        Ok(Args3 { d: self.result(d, ty)?, a, b, c })
    }

    fn int(&self, parts: &Parts<'a>, ty: Type) -> Result<Int, Error> {
        Int::of(ty).ok_or_else(|| parts.error("an integer type was expected"))
    }

    pub(super) fn arithmetic(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        if parts.name == "dp4a" {
            return self.dp4a(parts, operands);
        }
        let wide = parts.flag("wide");
        let clamp = parts.flag("clamp");
        let wrap = parts.flag("wrap");
        let permute = if parts.name == "prmt" { permute(&mut parts) } else { Permute::Index };
        let ty = parts.ty()?;
        if parts.name == "not" && ty == Type::Pred {
            parts.finish()?;
            let [d, a] = self.exactly(&parts, operands)?;
            let Operand::Name(name) = d else { return Err(parts.error("a predicate was expected")) };
            let mut a = self.predicate(a)?;
            a.negated ^= true;
            let d = self.predicate_result(name)?;
            self.emit(Op::PredCopy { d, a });
            return Ok(());
        }
        if let Some(float) = Float::of(ty) {
            return self.float_arithmetic(parts, operands, float, ty);
        }
        let int = self.int(&parts, ty)?;
        let carries = matches!(parts.name, "add" | "sub") && parts.flag("cc");
        match parts.name {
            "mul" | "mad" if wide => return self.wide_product(parts, operands, ty),
            "mad" => return self.mad(parts, operands, ty),
            "addc" | "subc" => return self.carry(parts, operands, ty, true),
            "add" | "sub" if carries => return self.carry(parts, operands, ty, false),
            "bfe" => return self.bfe(parts, operands, ty),
            "bfi" => return self.bfi(parts, operands, ty),
            "shf" => return self.funnel(parts, operands, clamp),
            "lop3" => return self.lop3(parts, operands),
            "shl" | "shr" => {
                parts.finish()?;
                let [d, a, b] = self.exactly(&parts, operands)?;
                let args = Args2 { d: self.result(d, ty)?, a: self.source(a, ty)?, b: self.source(b, Type::U32)? };
                self.emit(Op::Int { op: if parts.name == "shl" { IntOp::Shl } else { IntOp::Shr }, ty: int, args });
                return Ok(());
            }
            "popc" | "clz" | "bfind" => {
                let shift = parts.flag("shiftamt");
                parts.finish()?;
                let [d, a] = self.exactly(&parts, operands)?;
                let args = Args1 { d: self.result(d, Type::U32)?, a: self.source(a, ty)? };
                let op = match parts.name {
                    "popc" => IntUnary::Popc,
                    "clz" => IntUnary::Clz,
                    _ if shift => IntUnary::BfindShift,
                    _ => IntUnary::Bfind,
                };
                self.emit(Op::IntUnary { op, ty: int, args });
                return Ok(());
            }
            _ if wrap => return Err(parts.error("`.wrap` is not emulated here")),
            _ => {}
        }
        let (high, _low, sat) = (parts.flag("hi"), parts.flag("lo"), parts.flag("sat"));
        parts.finish()?;
        match parts.name {
            "prmt" => {
                let args = self.args3(&parts, operands, Type::B32)?;
                self.emit(Op::Prmt { mode: permute, args });
            }
            "sad" => {
                let args = self.args3(&parts, operands, ty)?;
                self.emit(Op::Sad { ty: int, args });
            }
            "abs" | "neg" | "not" | "cnot" | "brev" => {
                let op = match parts.name {
                    "abs" => IntUnary::Abs,
                    "neg" => IntUnary::Neg,
                    "not" => IntUnary::Not,
                    "cnot" => IntUnary::Cnot,
                    _ => IntUnary::Brev,
                };
                let args = self.args1(&parts, operands, ty)?;
                self.emit(Op::IntUnary { op, ty: int, args });
            }
            name => {
                let op = match (name, high, sat) {
                    ("add", false, false) => IntOp::Add,
                    ("add", false, true) => IntOp::AddSat,
                    ("sub", false, false) => IntOp::Sub,
                    ("sub", false, true) => IntOp::SubSat,
                    ("mul", false, false) => IntOp::Mul,
                    ("mul", true, false) => IntOp::MulHi,
                    ("div", false, false) => IntOp::Div,
                    ("rem", false, false) => IntOp::Rem,
                    ("min", false, false) => IntOp::Min,
                    ("max", false, false) => IntOp::Max,
                    _ => return Err(parts.error("not emulated")),
                };
                if sat && int != Int::S32 {
                    return Err(parts.error("`.sat` is for `.s32` only"));
                }
                let args = self.args2(&parts, operands, ty)?;
                self.emit(Op::Int { op, ty: int, args });
            }
        }
        Ok(())
    }

    fn wide_product(&mut self, parts: Parts<'a>, operands: &[Operand<'a>], ty: Type) -> Result<(), Error> {
        parts.finish()?;
        let double = match ty {
            Type::U16 => Type::U32,
            Type::S16 => Type::S32,
            Type::U32 => Type::U64,
            Type::S32 => Type::S64,
            _ => return Err(parts.error("no wider type")),
        };
        let int = self.int(&parts, ty)?;
        if parts.name == "mul" {
            let [d, a, b] = self.exactly(&parts, operands)?;
            let args = Args2 { d: self.result(d, double)?, a: self.source(a, ty)?, b: self.source(b, ty)? };
            self.emit(Op::MulWide { ty: int, args });
        } else {
            let [d, a, b, c] = self.exactly(&parts, operands)?;
            let (a, b, c) = (self.source(a, ty)?, self.source(b, ty)?, self.source(c, double)?);
            let args = Args3 { d: self.result(d, double)?, a, b, c };
            self.emit(Op::Mad { part: Part::Wide, ty: int, args });
        }
        Ok(())
    }

    fn mad(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>], ty: Type) -> Result<(), Error> {
        let (high, low, sat) = (parts.flag("hi"), parts.flag("lo"), parts.flag("sat"));
        parts.finish()?;
        let part = match (high, low, sat) {
            (false, true, false) => Part::Low,
            (true, false, false) => Part::High,
            (true, false, true) if ty == Type::S32 => Part::HighSat,
            _ => return Err(parts.error("`.lo`, `.hi` or `.wide` was expected")),
        };
        let int = self.int(&parts, ty)?;
        let args = self.args3(&parts, operands, ty)?;
        self.emit(Op::Mad { part, ty: int, args });
        Ok(())
    }

    fn carry(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>], ty: Type, uses: bool) -> Result<(), Error> {
        let sets = parts.flag("cc") || !uses;
        parts.finish()?;
        let wide = match ty.bytes() {
            4 => false,
            8 => true,
            _ => return Err(parts.error("32 or 64 bits were expected")),
        };
        let carry = match self.carry {
            Some(carry) => carry,
            None => self.allot(Type::Pred, 1)?,
        };
        self.carry = Some(carry);
        let args = self.args2(&parts, operands, ty)?;
        let subtract = parts.name.starts_with("sub");
        self.emit(Op::Carry { subtract, wide, uses, sets, carry, args });
        Ok(())
    }

    fn bfe(&mut self, parts: Parts<'a>, operands: &[Operand<'a>], ty: Type) -> Result<(), Error> {
        parts.finish()?;
        let [d, a, b, c] = self.exactly(&parts, operands)?;
        let (a, b, c) = (self.source(a, ty)?, self.source(b, Type::U32)?, self.source(c, Type::U32)?);
        let args = Args3 { d: self.result(d, ty)?, a, b, c };
        let int = self.int(&parts, ty)?;
        self.emit(Op::Bfe { ty: int, args });
        Ok(())
    }

    fn bfi(&mut self, parts: Parts<'a>, operands: &[Operand<'a>], ty: Type) -> Result<(), Error> {
        parts.finish()?;
        let [d, from, a, b, c] = self.exactly(&parts, operands)?;
        let (from, a) = (self.source(from, ty)?, self.source(a, ty)?);
        let (b, c) = (self.source(b, Type::U32)?, self.source(c, Type::U32)?);
        let args = Args3 { d: self.result(d, ty)?, a, b, c };
        self.emit(Op::Bfi { wide: ty.bytes() == 8, from, args });
        Ok(())
    }

    fn funnel(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>], clamp: bool) -> Result<(), Error> {
        let (left, right) = (parts.flag("l"), parts.flag("r"));
        parts.finish()?;
        if left == right {
            return Err(parts.error("`.l` or `.r` was expected"));
        }
        let args = self.args3(&parts, operands, Type::B32)?;
        self.emit(Op::Shf { left, clamp, args });
        Ok(())
    }

    fn lop3(&mut self, parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        parts.finish()?;
        let [d, a, b, c, table] = self.exactly(&parts, operands)?;
        let Operand::Integer(table) = table else { return Err(parts.error("the table must be a number")) };
        let (a, b, c) = (self.source(a, Type::B32)?, self.source(b, Type::B32)?, self.source(c, Type::B32)?);
        let args = Args3 { d: self.result(d, Type::B32)?, a, b, c };
        self.emit(Op::Lop3 { table: *table as u8, args });
        Ok(())
    }

    fn dp4a(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let (a, b) = (parts.ty()?, parts.ty()?);
        parts.finish()?;
        let args = self.args3(&parts, operands, Type::B32)?;
        self.emit(Op::Dp4a { a_signed: a.signed(), b_signed: b.signed(), args });
        Ok(())
    }

    fn float_arithmetic(
        &mut self,
        mut parts: Parts<'a>,
        operands: &[Operand<'a>],
        float: Float,
        ty: Type,
    ) -> Result<(), Error> {
        let mods = Some(parts.mods()).filter(|mods| *mods != Mods::default());
        // Approximations may be exact: `div.approx` and `div.full` have an error of at most 2 ulp.
        let _ = parts.flag("approx") || parts.flag("full");
        parts.finish()?;
        let op = match parts.name {
            "add" => FloatOp::Add,
            "sub" => FloatOp::Sub,
            "mul" => FloatOp::Mul,
            "div" => FloatOp::Div,
            "min" => FloatOp::Min,
            "max" => FloatOp::Max,
            "abs" | "neg" => {
                let op = if parts.name == "abs" { FloatUnary::Abs } else { FloatUnary::Neg };
                let args = self.args1(&parts, operands, ty)?;
                self.emit(Op::FloatUnary { op, ty: float, mods, args });
                return Ok(());
            }
            "fma" | "mad" => {
                let args = self.args3(&parts, operands, ty)?;
                self.emit(Op::Fma { ty: float, mods, args });
                return Ok(());
            }
            _ => return Err(parts.error("no floating-point instruction")),
        };
        // `max.f32 d, a, b, c` of newer architectures: two steps.
        if matches!(op, FloatOp::Min | FloatOp::Max) && operands.len() == 4 {
            let first = self.args2(&parts, &operands[..3], ty)?;
            let temporary = self.allot(ty, 1)?;
            let b = self.source(&operands[3], ty)?;
            self.emit(Op::Float { op, ty: float, mods, args: Args2 { d: temporary, ..first } });
            self.emit(Op::Float { op, ty: float, mods, args: Args2 { d: first.d, a: temporary, b } });
            return Ok(());
        }
        let args = self.args2(&parts, operands, ty)?;
        self.emit(Op::Float { op, ty: float, mods, args });
        Ok(())
    }

    pub(super) fn bitwise(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let ty = parts.ty()?;
        parts.finish()?;
        if ty == Type::Pred {
            let [d, a, b] = self.exactly(&parts, operands)?;
            let Operand::Name(name) = d else { return Err(parts.error("a predicate was expected")) };
            let (a, b) = (self.predicate(a)?, self.predicate(b)?);
            let op = logic(parts.name).ok_or_else(|| parts.error("unknown"))?;
            let d = self.predicate_result(name)?;
            self.emit(Op::PredLogic { op, d, a, b });
            return Ok(());
        }
        let op = match parts.name {
            "and" => IntOp::And,
            "or" => IntOp::Or,
            _ => IntOp::Xor,
        };
        let int = self.int(&parts, ty)?;
        let args = self.args2(&parts, operands, ty)?;
        self.emit(Op::Int { op, ty: int, args });
        Ok(())
    }
}

fn permute(parts: &mut Parts<'_>) -> Permute {
    parts
        .find(|part| {
            Some(match part {
                "f4e" => Permute::F4e,
                "b4e" => Permute::B4e,
                "rc8" => Permute::Rc8,
                "ecl" => Permute::Ecl,
                "ecr" => Permute::Ecr,
                "rc16" => Permute::Rc16,
                _ => return None,
            })
        })
        .unwrap_or(Permute::Index)
}
