//! Operands to rows and predicates.

use super::super::Error;
use super::super::Value;
use super::super::op::{Address, Pred, Row, SINK, Special};
use super::super::syntax::Operand;
use super::super::types::{Space, Type};
use super::scope::{Place, Register};
use super::{Decoder, Parts};

impl<'t, 'a> Decoder<'t, 'a> {
    /// Exactly `N` operands.
    pub(super) fn exactly<'o, const N: usize>(
        &self,
        parts: &Parts<'_>,
        operands: &'o [Operand<'a>],
    ) -> Result<&'o [Operand<'a>; N], Error> {
        operands.try_into().map_err(|_| parts.error(&format!("{N} operands were expected, not {}", operands.len())))
    }

    pub(super) fn register(&self, name: &str) -> Result<Register, Error> {
        self.scopes.register(name).ok_or_else(|| self.error(format!("`{name}` is no register")))
    }

    /// The row of a value of type `ty`: a register of that width, an immediate, a special register or an address.
    pub(super) fn source(&mut self, operand: &Operand<'a>, ty: Type) -> Result<Row, Error> {
        match operand {
            Operand::Name(name) => {
                if let Some(register) = self.scopes.register(name) {
                    return self.width(register, ty, name);
                }
                if let Some(special) = special(name) {
                    return self.special_source(special, ty);
                }
                let place = self.place(name)?;
                self.constant(Value::of(place, 0), ty.bytes() == 8)
            }
            Operand::Address(Some(name), offset) => {
                let place = self.place(name)?;
                self.constant(Value::of(place, *offset), ty.bytes() == 8)
            }
            _ => {
                let bits = self.immediate(operand, ty)?;
                self.constant(Value::Bits(bits), ty.bytes() == 8)
            }
        }
    }

    fn special_source(&mut self, special: Special, ty: Type) -> Result<Row, Error> {
        let row = self.special(special)?;
        match (special.wide(), ty.bytes()) {
            (true, 4) | (true, 8) | (false, 4) | (false, 2) => Ok(row),
            _ => Err(self.error("a special register of another width")),
        }
    }

    fn immediate(&self, operand: &Operand<'a>, ty: Type) -> Result<u64, Error> {
        let bits = match (operand, ty) {
            (Operand::Integer(value), Type::F32) => u64::from((*value as i64 as f32).to_bits()),
            (Operand::Integer(value), Type::F64) => (*value as i64 as f64).to_bits(),
            (Operand::Integer(value), _) => *value,
            (Operand::Single(bits), Type::F64) => f64::from(f32::from_bits(*bits)).to_bits(),
            (Operand::Single(bits), _) => u64::from(*bits),
            (Operand::Double(bits), Type::F32) => u64::from((f64::from_bits(*bits) as f32).to_bits()),
            (Operand::Double(bits), Type::F64 | Type::B64) => *bits,
            _ => return Err(self.error(format!("a value was expected, not {operand:?}"))),
        };
        Ok(match ty.bytes() {
            1 => bits & 0xff,
            2 => bits & 0xffff,
            4 => bits & 0xffff_ffff,
            _ => bits,
        })
    }

    fn width(&self, register: Register, ty: Type, name: &str) -> Result<Row, Error> {
        if register.ty != Type::Pred && register.ty.bytes().max(2) == ty.bytes().max(2) {
            return Ok(register.row);
        }
        Err(self.error(format!("`{name}` is a {:?}, a value of {} bits was expected", register.ty, 8 * ty.bytes())))
    }

    /// The row of a result of type `ty`; `_` is [`SINK`].
    pub(super) fn destination(&self, operand: &Operand<'a>, ty: Type) -> Result<Row, Error> {
        match operand {
            Operand::Name("_") => Ok(SINK),
            Operand::Name(name) => self.width(self.register(name)?, ty, name),
            _ => Err(self.error(format!("a register was expected, not {operand:?}"))),
        }
    }

    /// A result that may not be `_`.
    pub(super) fn result(&self, operand: &Operand<'a>, ty: Type) -> Result<Row, Error> {
        match self.destination(operand, ty)? {
            SINK => Err(self.error("`_` can not stand here")),
            row => Ok(row),
        }
    }

    /// A register of any width: its row and its type.
    pub(super) fn any_register(&self, operand: &Operand<'a>) -> Result<Register, Error> {
        match operand {
            Operand::Name(name) => {
                let register = self.register(name)?;
                if register.ty == Type::Pred { Err(self.error("a predicate can not stand here")) } else { Ok(register) }
            }
            _ => Err(self.error(format!("a register was expected, not {operand:?}"))),
        }
    }

    pub(super) fn predicate(&mut self, operand: &Operand<'a>) -> Result<Pred, Error> {
        let (name, negated) = match operand {
            Operand::Name(name) => (*name, false),
            Operand::Not(name) => (*name, true),
            Operand::Integer(value) => return Ok(Pred { index: 0, negated: *value == 0 }),
            _ => return Err(self.error(format!("a predicate was expected, not {operand:?}"))),
        };
        match self.register(name)? {
            Register { row, ty: Type::Pred } => Ok(Pred { index: row, negated }),
            _ => Err(self.error(format!("`{name}` is no predicate"))),
        }
    }

    /// A predicate that is written; `_` is [`SINK`].
    pub(super) fn predicate_result(&mut self, name: &str) -> Result<u16, Error> {
        if name == "_" {
            return Ok(SINK);
        }
        match self.register(name)? {
            Register { row, ty: Type::Pred } => Ok(row),
            _ => Err(self.error(format!("`{name}` is no predicate"))),
        }
    }

    /// `%r1|%p1` or `%r1`: the row, and the predicate or [`SINK`].
    pub(super) fn pair_result(&mut self, operand: &Operand<'a>, ty: Type) -> Result<(Row, u16), Error> {
        match operand {
            Operand::Pair(first, second) => {
                let row = self.destination(&Operand::Name(first), ty)?;
                Ok((row, self.predicate_result(second)?))
            }
            _ => Ok((self.destination(operand, ty)?, SINK)),
        }
    }

    /// Where a variable lies.
    pub(super) fn place(&mut self, name: &'a str) -> Result<Place, Error> {
        if let Some(place) = self.scopes.variable(name) {
            return Ok(place);
        }
        if let Some(index) = self.outer.get(name) {
            return Ok(Place::Global(*index));
        }
        if let Some(offset) = self.shared_outer.get(name) {
            return Ok(Place::Shared(*offset));
        }
        let found = self.tree.shared_variable(name).ok_or_else(|| self.error(format!("unknown name `{name}`")))?;
        if found.external && found.size == 0 {
            self.dynamic_align = self.dynamic_align.max(found.align);
            return Ok(Place::DynamicShared);
        }
        let offset = self.shared.next_multiple_of(found.align);
        self.shared = offset + found.size;
        self.shared_outer.insert(name, offset as u64);
        Ok(Place::Shared(offset as u64))
    }

    /// An address operand, and the space that its name lies in if it is a variable.
    pub(super) fn address(&mut self, operand: &Operand<'a>) -> Result<(Address, Option<Space>), Error> {
        let Operand::Address(name, offset) = operand else {
            return Err(self.error(format!("an address was expected, not {operand:?}")));
        };
        let Some(name) = name else {
            let base = self.constant(Value::Bits(*offset as u64), true)?;
            return Ok((Address { base, wide: true, offset: 0 }, None));
        };
        if let Some(register) = self.scopes.register(name) {
            let wide = match register.ty.bytes() {
                8 => true,
                4 => false,
                _ => return Err(self.error(format!("`{name}` can not hold an address"))),
            };
            let offset = i32::try_from(*offset).map_err(|_| self.error("an offset of more than 32 bits"))?;
            return Ok((Address { base: register.row, wide, offset }, None));
        }
        let place = self.place(name)?;
        let base = self.constant(Value::of(place, *offset), true)?;
        Ok((Address { base, wide: true, offset: 0 }, Some(place.space())))
    }

    /// Registers between braces, or one without; all of the width of `ty`.
    pub(super) fn rows<const N: usize>(
        &mut self,
        operand: &Operand<'a>,
        ty: Type,
        write: Writing,
    ) -> Result<([Row; N], usize), Error> {
        let one = std::slice::from_ref(operand);
        let list = if let Operand::Vector(list) = operand { list.as_slice() } else { one };
        if list.len() > N {
            return Err(self.error(format!("at most {N} registers were expected")));
        }
        let mut rows = [SINK; N];
        for (row, operand) in rows.iter_mut().zip(list) {
            *row = match write {
                Writing::Yes => self.destination(operand, ty)?,
                Writing::No => self.source(operand, ty)?,
            };
        }
        Ok((rows, list.len()))
    }
}

/// Whether registers are written or read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    Yes,
    No,
}

/// The special register of that name.
fn special(name: &str) -> Option<Special> {
    let axis = |name: &str| match name {
        "x" => Some(0),
        "y" => Some(1),
        "z" => Some(2),
        _ => None,
    };
    let name = name.strip_prefix('%')?;
    if let Some((vector, component)) = name.split_once('.') {
        let axis = axis(component)?;
        return Some(match vector {
            "tid" => Special::Tid(axis),
            "ntid" => Special::Ntid(axis),
            "ctaid" => Special::Ctaid(axis),
            "nctaid" => Special::Nctaid(axis),
            _ => return None,
        });
    }
    Some(match name {
        "laneid" => Special::LaneId,
        "warpid" => Special::WarpId,
        "nwarpid" => Special::NwarpId,
        "smid" => Special::SmId,
        "nsmid" => Special::NsmId,
        "gridid" => Special::GridId,
        "lanemask_eq" => Special::LaneMaskEq,
        "lanemask_lt" => Special::LaneMaskLt,
        "lanemask_le" => Special::LaneMaskLe,
        "lanemask_gt" => Special::LaneMaskGt,
        "lanemask_ge" => Special::LaneMaskGe,
        "dynamic_smem_size" => Special::DynamicShared,
        "total_smem_size" => Special::TotalShared,
        "clock" => Special::Clock,
        "clock_hi" => Special::ClockHi,
        "clock64" => Special::Clock64,
        "globaltimer" => Special::GlobalTimer,
        _ => return None,
    })
}
