//! Matrices spread over the lanes of a warp.

use super::super::Error;
use super::super::op::{Args1, Mma, MmaShape, Op, Row};
use super::super::syntax::Operand;
use super::super::types::Type;
use super::operand::Writing;
use super::{Decoder, Parts};

impl<'t, 'a> Decoder<'t, 'a> {
    pub(super) fn matrix(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        if !parts.flag("sync") || !parts.flag("aligned") {
            return Err(parts.error("`.sync.aligned` was expected"));
        }
        match parts.name {
            "mma" => self.mma(parts, operands),
            "movmatrix" => {
                let fits = parts.flag("m8n8") && parts.flag("trans") && parts.flag("b16");
                parts.finish()?;
                if !fits {
                    return Err(parts.error("`.m8n8.trans.b16` was expected"));
                }
                let [d, a] = self.exactly(&parts, operands)?;
                let args = Args1 { d: self.result(d, Type::B32)?, a: self.source(a, Type::B32)? };
                self.emit(Op::Movmatrix(args));
                Ok(())
            }
            _ => self.matrix_move(parts, operands),
        }
    }

    fn matrix_move(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let load = parts.name == "ldmatrix";
        let fits = parts.flag("m8n8") && parts.flag("b16") && (parts.flag("shared") || parts.flag("shared::cta"));
        let transpose = parts.flag("trans");
        let count = parts.find(|part| match part {
            "x1" => Some(1u8),
            "x2" => Some(2),
            "x4" => Some(4),
            _ => None,
        });
        parts.finish()?;
        let Some(count) = count.filter(|_| fits) else {
            return Err(parts.error("`.m8n8.x1`, `.x2` or `.x4`, `.shared.b16` was expected"));
        };
        let [first, second] = self.exactly(&parts, operands)?;
        let (value, place) = if load { (first, second) } else { (second, first) };
        let (address, _) = self.address(place)?;
        let writing = if load { Writing::Yes } else { Writing::No };
        let (rows, found) = self.rows::<4>(value, Type::B32, writing)?;
        if found != usize::from(count) {
            return Err(parts.error(&format!("{count} registers were expected")));
        }
        self.emit(if load {
            Op::Ldmatrix { count, transpose, address, rows }
        } else {
            Op::Stmatrix { count, transpose, address, rows }
        });
        Ok(())
    }

    fn mma(&mut self, mut parts: Parts<'a>, operands: &[Operand<'a>]) -> Result<(), Error> {
        let k = parts.find(|part| Some(part.strip_prefix("m16n8k")?.parse::<u8>().ok()).flatten());
        let k = k.ok_or_else(|| parts.error("a shape m16n8k.. was expected"))?;
        if !parts.flag("row") || !parts.flag("col") {
            return Err(parts.error("`.row.col` was expected"));
        }
        let saturate = parts.flag("satfinite");
        let (d, a, b, c) = (parts.ty()?, parts.ty()?, parts.ty()?, parts.ty()?);
        parts.finish()?;
        let known = match (a, b, d) {
            (Type::F16, Type::F16, Type::F32 | Type::F16) | (Type::Bf16, Type::Bf16, Type::F32) => k == 8 || k == 16,
            (Type::Tf32, Type::Tf32, Type::F32) => k == 4 || k == 8,
            (Type::S8 | Type::U8, Type::S8 | Type::U8, Type::S32) => k == 16 || k == 32,
            _ => false,
        };
        if !known || c != d {
            return Err(parts.error("no such shape with such types"));
        }
        // Bits of a row of `a` in a group of four lanes, two rows a register.
        let width = a.bytes() * usize::from(k) / 16;
        let accumulators = if d == Type::F16 { 2 } else { 4 };
        let [rd, ra, rb, rc] = self.exactly(&parts, operands)?;
        let mma = Mma {
            shape: MmaShape { k, a, b, accumulate: d, saturate },
            d: self.fragment(&parts, rd, accumulators, Writing::Yes)?,
            a: self.fragment(&parts, ra, 2 * width, Writing::No)?,
            b: self.fragment(&parts, rb, width, Writing::No)?,
            c: self.fragment(&parts, rc, accumulators, Writing::No)?,
        };
        let number = self.mmas.len();
        self.mmas.push(mma);
        let number = u16::try_from(number).map_err(|_| parts.error("too many of them in a kernel"))?;
        self.emit(Op::Mma { number });
        Ok(())
    }

    fn fragment<const N: usize>(
        &mut self,
        parts: &Parts<'a>,
        operand: &Operand<'a>,
        count: usize,
        writing: Writing,
    ) -> Result<[Row; N], Error> {
        let (rows, found) = self.rows::<N>(operand, Type::B32, writing)?;
        if found == count {
            Ok(rows)
        } else {
            Err(parts.error(&format!("{count} registers were expected, not {found}")))
        }
    }
}
