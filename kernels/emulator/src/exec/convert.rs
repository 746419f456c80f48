//! Conversions between formats.

use super::registers::{Registers, multiversion};
use super::rounding::{Exact, bfloat, flush, pack, pack16, to_single, unpack16};
use crate::ptx::Type;
use crate::ptx::op::{Args1, Args2, Convert, Mods, Op, Round};

multiversion! {
    /// Executes a conversion in the lanes of `mask`.
    pub(crate) fn execute(registers: &mut Registers, mask: u32, op: &Op) {
        match *op {
            Op::CvtPair { to: Type::Bf16x2, mods, round: Round::Nearest, args: Args2 { d, a, b } } if mods == Mods::default() => {
                registers.map2(mask, d, a, b, |high: f32, low: f32| bfloat(high) << 16 | bfloat(low));
            }
            Op::CvtPair { to, mods, round, args: Args2 { d, a, b } } => {
                registers.map2(mask, d, a, b, |high: f32, low: f32| {
                    u32::from(narrow(to, mods, high, round)) << 16 | u32::from(narrow(to, mods, low, round))
                });
            }
            Op::Cvt { how, args: Args1 { d, a } } => convert(registers, mask, how, d, a),
            _ => {}
        }
    }
}

fn narrow(to: Type, mods: Mods, value: f32, round: Round) -> u16 {
    let value = if mods.relu && value < 0.0 { 0.0 } else { value };
    pack16(to, f64::from(value), round)
}

/// The frequent ones in loops of their own, the others lane by lane.
#[inline(always)]
fn convert(registers: &mut Registers, mask: u32, how: Convert, d: u16, a: u16) {
    let plain = how.mods == Mods::default() && how.round == Round::Nearest;
    match (how.to, how.from) {
        (Type::S64 | Type::U64, Type::S32) if plain && !how.wide_source => {
            registers.map1(mask, d, a, |a: i32| i64::from(a));
        }
        (Type::U64 | Type::S64, Type::U32) if plain && !how.wide_source => {
            registers.map1(mask, d, a, |a: u32| u64::from(a));
        }
        (Type::U32 | Type::S32, Type::U64 | Type::S64) if plain && !how.wide => {
            registers.map1(mask, d, a, |a: u64| a as u32);
        }
        (Type::F32, Type::S32) if plain && !how.wide_source => registers.map1(mask, d, a, |a: i32| a as f32),
        (Type::F32, Type::U32) if plain && !how.wide_source => registers.map1(mask, d, a, |a: u32| a as f32),
        (Type::F32, Type::Bf16) if plain => {
            registers.map1(mask, d, a, |a: u32| if a & 0x7fff > 0x7f80 { super::rounding::NAN32 } else { a << 16 })
        }
        (Type::Bf16, Type::F32) if plain => registers.map1(mask, d, a, |a: f32| bfloat(a)),
        (Type::S32, Type::F32) if how.mods == Mods::default() && !how.wide => match how.round {
            Round::Zero => registers.map1(mask, d, a, |a: f32| a.trunc() as i32),
            Round::Down => registers.map1(mask, d, a, |a: f32| a.floor() as i32),
            Round::Up => registers.map1(mask, d, a, |a: f32| a.ceil() as i32),
            _ => registers.map1(mask, d, a, |a: f32| a.round_ties_even() as i32),
        },
        (Type::F32, Type::F32) if how.mods.sat && !how.mods.ftz && !how.integral => {
            registers.map1(mask, d, a, |a: f32| if a > 0.0 { a.min(1.0) } else { 0.0 });
        }
        (Type::F32, Type::F16) if plain => registers.map1(mask, d, a, |a: u32| unpack16(Type::F16, a as u16) as f32),
        _ => {
            let mut values = [0u64; 32];
            for (i, value) in values.iter_mut().enumerate() {
                *value = one(how, registers.lane(a, how.wide_source, i));
            }
            if how.wide {
                registers.write(mask, d, &values);
            } else {
                registers.write(mask, d, &values.map(|value| value as u32));
            }
        }
    }
}

/// A value on its way from one format to another.
#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    Real(f64),
}

/// Converts one value; the result is extended to the register's width as its type says.
fn one(how: Convert, bits: u64) -> u64 {
    let number = read(how, bits);
    let bits = if how.to.integral() { to_integer(how, number) } else { to_float(how, number) };
    let width = 8 * how.to.bytes() as u32;
    if how.to.signed() && width < 64 {
        let extended = ((bits << (64 - width)) as i64 >> (64 - width)) as u64;
        // A 16-bit register lies in its row with zeros above.
        return if how.narrow { extended & 0xffff } else { extended };
    }
    bits
}

fn read(how: Convert, bits: u64) -> Number {
    match how.from {
        Type::F64 => Number::Real(f64::from_bits(bits)),
        Type::F32 | Type::Tf32 => {
            let value = f32::from_bits(bits as u32);
            Number::Real(f64::from(if how.mods.ftz { flush(value) } else { value }))
        }
        Type::F16 | Type::Bf16 => Number::Real(unpack16(how.from, bits as u16)),
        ty => {
            let width = 8 * ty.bytes() as u32;
            let kept = bits << (64 - width);
            Number::Whole(if ty.signed() {
                i128::from(kept as i64 >> (64 - width))
            } else {
                i128::from(kept >> (64 - width))
            })
        }
    }
}

fn integral(value: f64, round: Round) -> f64 {
    match round {
        Round::Nearest => value.round_ties_even(),
        Round::Zero => value.trunc(),
        Round::Down => value.floor(),
        Round::Up => value.ceil(),
        Round::Away => value.round(),
    }
}

fn to_integer(how: Convert, number: Number) -> u64 {
    let width = 8 * how.to.bytes() as u32;
    let (least, most) =
        if how.to.signed() { (-(1i128 << (width - 1)), (1i128 << (width - 1)) - 1) } else { (0, (1i128 << width) - 1) };
    let value = match number {
        Number::Whole(value) if how.mods.sat => value.clamp(least, most),
        Number::Whole(value) => value,
        Number::Real(value) if value.is_nan() => {
            let zero = how.from != Type::F64 && width != 64;
            if zero { 0 } else { 1i128 << (width - 1) }
        }
        // Floats are clamped to the range whether `.sat` is there or not; `as` does so for i128.
        Number::Real(value) => (integral(value, how.round) as i128).clamp(least, most),
    };
    let all = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    value as u64 & all
}

fn to_float(how: Convert, number: Number) -> u64 {
    let mut exact = match number {
        Number::Real(value) if how.integral => Exact::from(integral(value, how.round)),
        Number::Real(value) => Exact::from(value),
        Number::Whole(value) => {
            let high = value as f64;
            Exact { high, low: (value - high as i128) as f64 }
        }
    };
    if how.mods.sat {
        exact = Exact::from(if exact.high > 0.0 { exact.high.min(1.0) } else { 0.0 });
    }
    if how.mods.relu && exact.high < 0.0 {
        exact = Exact::from(0.0);
    }
    let round = if how.integral { Round::Nearest } else { how.round };
    match how.to {
        Type::F64 => exact.to_f64(round).to_bits(),
        Type::F32 => {
            let value = to_single(exact, round);
            u64::from(if how.mods.ftz { flush(value) } else { value }.to_bits())
        }
        Type::Tf32 => u64::from(pack(exact.odd(), 8, 10, round)) << 13,
        ty => u64::from(pack16(ty, exact.odd(), round)),
    }
}
