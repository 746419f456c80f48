//! Floating-point arithmetic.
//!
//! Round to nearest in f32 and f64 is the host's. Other directions, and 16-bit formats, are rounded once from the exact
//! value. Results of f32 and of 16-bit formats that are not-a-number are the GPU's, whatever the operands were.

use super::directed;
use super::registers::{Registers, multiversion};
use super::rounding::{Exact, NAN32, flush, pack16, to_single, unpack16};
use super::transcendental;
use crate::ptx::Type;
use crate::ptx::op::{Args2, Args3, Float, FloatOp, FloatUnary, Instruction, Mods, Op, Pred, Property, Round};

multiversion! {
    /// Executes an instruction on floating-point numbers in the lanes of `mask`.
    pub(crate) fn execute(registers: &mut Registers, mask: u32, op: &Op) {
        match *op {
            Op::Fma { ty: Float::F32, mods: None, args: Args3 { d, a, b, c } } => {
                registers.map3(mask, d, a, b, c, |a: f32, b: f32, c: f32| canonical(a.mul_add(b, c)));
            }
            Op::Float { op, ty: Float::F32, mods: None, args: Args2 { d, a, b } } => match op {
                FloatOp::Add => registers.map2(mask, d, a, b, |a: f32, b: f32| canonical(a + b)),
                FloatOp::Sub => registers.map2(mask, d, a, b, |a: f32, b: f32| canonical(a - b)),
                FloatOp::Mul => registers.map2(mask, d, a, b, |a: f32, b: f32| canonical(a * b)),
                FloatOp::Div => registers.map2(mask, d, a, b, |a: f32, b: f32| canonical(a / b)),
                FloatOp::Max => registers.map2(mask, d, a, b, |a: f32, b: f32| maximum(a, b)),
                FloatOp::Min => registers.map2(mask, d, a, b, |a: f32, b: f32| canonical(-maximum(-a, -b))),
                FloatOp::CopySign => registers.map2(mask, d, a, b, |a: f32, b: f32| b.copysign(a)),
            },
            Op::FloatUnary { op, ty: Float::F32, mods: None, args } => {
                let (d, a) = (args.d, args.a);
                match op {
                    FloatUnary::Neg => registers.map1(mask, d, a, |a: u32| a ^ 0x8000_0000),
                    FloatUnary::Abs => registers.map1(mask, d, a, |a: u32| a & 0x7fff_ffff),
                    FloatUnary::Sqrt => registers.map1(mask, d, a, |a: f32| canonical(a.sqrt())),
                    FloatUnary::Rcp => registers.map1(mask, d, a, |a: f32| canonical(1.0 / a)),
                    FloatUnary::Ex2 => registers.map1(mask, d, a, |a: f32| canonical(transcendental::exp2(a))),
                    op => registers.map1(mask, d, a, |a: f32| unary32(op, Mods::default(), a)),
                }
            }
            Op::FloatUnary { op: FloatUnary::Ex2, ty: Float::F32, mods: Some(mods), args } if !mods.sat && mods.ftz => {
                registers.map1(mask, args.d, args.a, |a: f32| canonical(flush(transcendental::exp2(flush(a)))));
            }
            Op::Fma { ty: Float::F32, mods: Some(mods), args: Args3 { d, a, b, c } } => {
                registers.map3(mask, d, a, b, c, |a: f32, b: f32, c: f32| fused32(mods, a, b, c));
            }
            _ => general(registers, mask, op),
        }
    }
}

multiversion! {
    /// Executes the fused multiply-adds, sums and products of f32 that `code` begins with, without guards or modifiers;
    /// answers how many there are. Inner loops of products are little else, and a call for each is half of their time.
    pub(crate) fn run(registers: &mut Registers, mask: u32, code: &[Instruction]) -> usize {
        for (count, instruction) in code.iter().enumerate() {
            match instruction.op {
                _ if instruction.guard != Pred::TRUE => return count,
                Op::Fma { ty: Float::F32, mods: None, args: Args3 { d, a, b, c } } => {
                    registers.map3(mask, d, a, b, c, |a: f32, b: f32, c: f32| canonical(a.mul_add(b, c)));
                }
                Op::Float { op: FloatOp::Add, ty: Float::F32, mods: None, args: Args2 { d, a, b } } => {
                    registers.map2(mask, d, a, b, |a: f32, b: f32| canonical(a + b));
                }
                Op::Float { op: FloatOp::Mul, ty: Float::F32, mods: None, args: Args2 { d, a, b } } => {
                    registers.map2(mask, d, a, b, |a: f32, b: f32| canonical(a * b));
                }
                _ => return count,
            }
        }
        code.len()
    }
}

/// Not-a-number as a GPU makes it.
#[inline(always)]
fn canonical(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(NAN32) } else { value }
}

/// The greater one, the other one where one is not-a-number; 0 is greater than -0.
#[inline(always)]
fn maximum(a: f32, b: f32) -> f32 {
    let greater = if a > b {
        a
    } else if b > a {
        b
    } else if a == b {
        // Equal, or zeros of both signs: the sign survives only in both.
        f32::from_bits(a.to_bits() & b.to_bits())
    } else if a.is_nan() {
        b
    } else {
        a
    };
    canonical(greater)
}

/// All that is not in a loop of its own.
fn general(registers: &mut Registers, mask: u32, op: &Op) {
    let mods = match op {
        Op::Float { mods, .. } | Op::Fma { mods, .. } | Op::FloatUnary { mods, .. } => mods.unwrap_or_default(),
        _ => Mods::default(),
    };
    match *op {
        Op::Float { op, ty, args: Args2 { d, a, b }, .. } => match ty {
            Float::F32 => registers.map2(mask, d, a, b, |a: f32, b: f32| binary32(op, mods, a, b)),
            Float::F64 => registers.map2(mask, d, a, b, |a: f64, b: f64| binary64(op, mods.round, a, b)),
            _ => registers.map2(mask, d, a, b, |a: u32, b: u32| {
                halves(ty, |ty, i| binary16(op, ty, mods, half(a, i), half(b, i)))
            }),
        },
        Op::Fma { ty, args: Args3 { d, a, b, c }, .. } => match ty {
            Float::F32 => registers.map3(mask, d, a, b, c, |a: f32, b: f32, c: f32| fused32(mods, a, b, c)),
            Float::F64 => registers.map3(mask, d, a, b, c, |a: f64, b: f64, c: f64| match mods.round {
                Round::Nearest => a.mul_add(b, c),
                round => directed::fused(a, b, c, round),
            }),
            _ => registers.map3(mask, d, a, b, c, |a: u32, b: u32, c: u32| {
                halves(ty, |ty, i| fused16(ty, mods, half(a, i), half(b, i), half(c, i)))
            }),
        },
        Op::FloatUnary { op, ty, args, .. } => match ty {
            Float::F32 => registers.map1(mask, args.d, args.a, |a: f32| unary32(op, mods, a)),
            Float::F64 => registers.map1(mask, args.d, args.a, |a: f64| unary64(op, mods.round, a)),
            _ => registers.map1(mask, args.d, args.a, |a: u32| halves(ty, |ty, i| unary16(op, ty, mods, half(a, i)))),
        },
        Op::Testp { property, ty, p, a } => {
            let bits = match ty {
                Float::F64 => registers.compare(a, a, |a: f64, _| holds(property, a, a.is_subnormal())),
                Float::F32 => registers.compare(a, a, |a: f32, _| holds(property, f64::from(a), a.is_subnormal())),
                _ => 0,
            };
            registers.set_predicate(p, mask, bits);
        }
        _ => {}
    }
}

fn holds(property: Property, value: f64, subnormal: bool) -> bool {
    match property {
        Property::Finite => value.is_finite(),
        Property::Infinite => value.is_infinite(),
        Property::Number => !value.is_nan(),
        Property::NotANumber => value.is_nan(),
        // Zeros count as normal.
        Property::Normal => value.is_finite() && !subnormal,
        Property::Subnormal => subnormal,
    }
}

/// A sum of exactly zero has the sign of both addends, else that of the direction.
#[inline(always)]
fn signed_zero(sum: f64, round: Round, a: f64, b: f64) -> f64 {
    if sum != 0.0 || !(a + b == 0.0) {
        sum
    } else if a.is_sign_negative() == b.is_sign_negative() {
        a
    } else if round == Round::Down {
        -0.0
    } else {
        0.0
    }
}

#[inline(always)]
fn finish(value: f32, mods: Mods) -> f32 {
    let value = if mods.ftz { flush(value) } else { value };
    if mods.sat {
        // Not-a-number becomes zero as well.
        return if value > 0.0 { value.min(1.0) } else { 0.0 };
    }
    if mods.relu && value < 0.0 { 0.0 } else { canonical(value) }
}

#[inline(always)]
fn operand(value: f32, mods: Mods) -> f32 {
    if mods.ftz { flush(value) } else { value }
}

fn binary32(op: FloatOp, mods: Mods, a: f32, b: f32) -> f32 {
    let (a, b) = (operand(a, mods), operand(b, mods));
    let (x, y) = (f64::from(a), f64::from(b));
    let near = mods.round == Round::Nearest;
    let sum = |y: f64| {
        let sum = Exact::sum(x, y);
        if sum.high == 0.0 { signed_zero(0.0, mods.round, x, y) as f32 } else { to_single(sum, mods.round) }
    };
    let value = match op {
        FloatOp::Add if near => a + b,
        FloatOp::Sub if near => a - b,
        FloatOp::Mul if near => a * b,
        FloatOp::Div if near => a / b,
        FloatOp::Add => sum(y),
        FloatOp::Sub => sum(-y),
        FloatOp::Mul => to_single(Exact::from(x * y), mods.round),
        FloatOp::Div => to_single(Exact::quotient(x, y), mods.round),
        FloatOp::Max | FloatOp::Min if mods.nan && (a.is_nan() || b.is_nan()) => f32::NAN,
        FloatOp::Max => maximum(a, b),
        FloatOp::Min => -maximum(-a, -b),
        FloatOp::CopySign => return b.copysign(a),
    };
    finish(value, mods)
}

#[inline(always)]
fn fused32(mods: Mods, a: f32, b: f32, c: f32) -> f32 {
    let (a, b, c) = (operand(a, mods), operand(b, mods), operand(c, mods));
    if mods.round == Round::Nearest {
        return finish(a.mul_add(b, c), mods);
    }
    // The product of two f32 is exact in f64.
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = Exact::sum(product, c);
    let value =
        if sum.high == 0.0 { signed_zero(0.0, mods.round, product, c) as f32 } else { to_single(sum, mods.round) };
    finish(value, mods)
}

fn binary64(op: FloatOp, round: Round, a: f64, b: f64) -> f64 {
    let near = round == Round::Nearest;
    match op {
        FloatOp::Add if near => a + b,
        FloatOp::Sub if near => a - b,
        FloatOp::Mul if near => a * b,
        FloatOp::Div if near => a / b,
        FloatOp::Add => directed::sum(a, b, round),
        FloatOp::Sub => directed::sum(a, -b, round),
        FloatOp::Mul => directed::product(a, b, round),
        FloatOp::Div => directed::quotient(a, b, round),
        FloatOp::Max | FloatOp::Min if a.is_nan() => b,
        FloatOp::Max | FloatOp::Min if b.is_nan() => a,
        FloatOp::Max if a == b => {
            if a.is_sign_negative() {
                b
            } else {
                a
            }
        }
        FloatOp::Min if a == b => {
            if a.is_sign_negative() {
                a
            } else {
                b
            }
        }
        FloatOp::Max => a.max(b),
        FloatOp::Min => a.min(b),
        FloatOp::CopySign => b.copysign(a),
    }
}

fn half(register: u32, i: u32) -> u16 {
    (register >> (16 * i)) as u16
}

/// Computes one or two halves.
fn halves(ty: Float, f: impl Fn(Type, u32) -> u16) -> u32 {
    match ty {
        Float::F16 => u32::from(f(Type::F16, 0)),
        Float::Bf16 => u32::from(f(Type::Bf16, 0)),
        Float::F16x2 => u32::from(f(Type::F16, 0)) | u32::from(f(Type::F16, 1)) << 16,
        _ => u32::from(f(Type::Bf16, 0)) | u32::from(f(Type::Bf16, 1)) << 16,
    }
}

/// Applies the modifiers to a result of 16 bits.
fn finish16(ty: Type, mods: Mods, value: f64, round: Round) -> u16 {
    let value = if mods.sat {
        if value > 0.0 { value.min(1.0) } else { 0.0 }
    } else if mods.relu && value < 0.0 {
        0.0
    } else {
        value
    };
    flush16(ty, mods, pack16(ty, value, round))
}

fn flush16(ty: Type, mods: Mods, bits: u16) -> u16 {
    let subnormal = bits & if ty == Type::F16 { 0x7c00 } else { 0x7f80 } == 0;
    if mods.ftz && subnormal { bits & 0x8000 } else { bits }
}

fn operand16(ty: Type, mods: Mods, bits: u16) -> f64 {
    unpack16(ty, flush16(ty, mods, bits))
}

fn binary16(op: FloatOp, ty: Type, mods: Mods, a: u16, b: u16) -> u16 {
    if op == FloatOp::CopySign {
        return (b & 0x7fff) | (a & 0x8000);
    }
    let (x, y) = (operand16(ty, mods, a), operand16(ty, mods, b));
    if matches!(op, FloatOp::Min | FloatOp::Max) && mods.nan && (x.is_nan() || y.is_nan()) {
        return 0x7fff;
    }
    let value = match op {
        FloatOp::Add => Exact::sum(x, y).odd(),
        FloatOp::Sub => Exact::sum(x, -y).odd(),
        // 22 bits at most.
        FloatOp::Mul => x * y,
        op => binary64(op, Round::Nearest, x, y),
    };
    finish16(ty, mods, value, mods.round)
}

fn fused16(ty: Type, mods: Mods, a: u16, b: u16, c: u16) -> u16 {
    let product = operand16(ty, mods, a) * operand16(ty, mods, b);
    finish16(ty, mods, Exact::sum(product, operand16(ty, mods, c)).odd(), mods.round)
}

fn unary16(op: FloatUnary, ty: Type, mods: Mods, a: u16) -> u16 {
    let a = flush16(ty, mods, a);
    match op {
        FloatUnary::Neg => a ^ 0x8000,
        FloatUnary::Abs => a & 0x7fff,
        op => pack16(ty, f64::from(unary32(op, Mods::default(), unpack16(ty, a) as f32)), Round::Nearest),
    }
}

fn unary32(op: FloatUnary, mods: Mods, a: f32) -> f32 {
    let a = operand(a, mods);
    let x = f64::from(a);
    let value = match op {
        FloatUnary::Neg => return f32::from_bits(a.to_bits() ^ 0x8000_0000),
        FloatUnary::Abs => return a.abs(),
        FloatUnary::Sqrt if mods.round == Round::Nearest => a.sqrt(),
        FloatUnary::Sqrt => to_single(Exact::root(x), mods.round),
        FloatUnary::Rcp if mods.round == Round::Nearest => 1.0 / a,
        FloatUnary::Rcp => to_single(Exact::quotient(1.0, x), mods.round),
        FloatUnary::Ex2 => transcendental::exp2(a),
        FloatUnary::Rsqrt if a == 0.0 => f32::INFINITY.copysign(a),
        FloatUnary::Rsqrt => (1.0 / x.sqrt()) as f32,
        FloatUnary::Lg2 => x.log2() as f32,
        FloatUnary::Sin => x.sin() as f32,
        FloatUnary::Cos => x.cos() as f32,
        FloatUnary::Tanh => x.tanh() as f32,
    };
    finish(value, mods)
}

fn unary64(op: FloatUnary, round: Round, a: f64) -> f64 {
    match op {
        FloatUnary::Neg => -a,
        FloatUnary::Abs => a.abs(),
        FloatUnary::Sqrt if round == Round::Nearest => a.sqrt(),
        FloatUnary::Sqrt => directed::root(a, round),
        FloatUnary::Rcp if round == Round::Nearest => 1.0 / a,
        FloatUnary::Rcp => directed::quotient(1.0, a, round),
        FloatUnary::Rsqrt => 1.0 / a.sqrt(),
        FloatUnary::Ex2 => a.exp2(),
        FloatUnary::Lg2 => a.log2(),
        FloatUnary::Sin => a.sin(),
        FloatUnary::Cos => a.cos(),
        FloatUnary::Tanh => a.tanh(),
    }
}
