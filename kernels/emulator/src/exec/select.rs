//! Moves, comparisons and choices.

use super::registers::{LANES, Registers, multiversion};
use super::rounding::{flush, unpack16_single};
use crate::ptx::Type;
use crate::ptx::op::{Args2, Args3, Compare, Logic, Op, Row, SINK, Setp};

multiversion! {
    /// Executes a move, comparison or choice in the lanes of `mask`.
    pub(crate) fn execute(registers: &mut Registers, mask: u32, op: &Op) {
        match *op {
            Op::Copy(args) => registers.map1(mask, args.d, args.a, |a: u32| a),
            Op::Copy64(args) => registers.map1(mask, args.d, args.a, |a: u64| a),
            Op::Selp { wide, p, args: Args2 { d, a, b } } => {
                let choice = registers.test(p);
                if wide {
                    let (a, mut to) = (*registers.get::<u64>(a), *registers.get::<u64>(b));
                    for i in 0..LANES {
                        to[i] = if choice >> i & 1 != 0 { a[i] } else { to[i] };
                    }
                    registers.write(mask, d, &to);
                } else {
                    let (a, mut to) = (*registers.lanes(a), *registers.lanes(b));
                    for i in 0..LANES {
                        to[i] = if choice >> i & 1 != 0 { a[i] } else { to[i] };
                    }
                    registers.write(mask, d, &to);
                }
            }
            Op::Setp(setp) => compare(registers, mask, setp),
            _ => other(registers, mask, op),
        }
    }
}

#[inline(always)]
fn compare(registers: &mut Registers, mask: u32, setp: Setp) {
    let Setp { compare, ty, ftz, a, b, .. } = setp;
    let bits = match ty {
        Type::U32 | Type::B32 => whole::<u32>(registers, compare, a, b),
        Type::S32 => whole::<i32>(registers, compare, a, b),
        Type::U64 | Type::B64 => whole::<u64>(registers, compare, a, b),
        Type::S64 => whole::<i64>(registers, compare, a, b),
        Type::F32 if ftz => real(registers, compare, a, b, flush),
        Type::F32 => real(registers, compare, a, b, |value: f32| value),
        Type::F64 => real(registers, compare, a, b, |value: f64| value),
        Type::F16 | Type::Bf16 => real(registers, compare, a, b, |bits: u32| unpack16_single(ty, bits as u16)),
        Type::S16 => narrow(registers, compare, a, b),
        // 16 bits without a sign lie in a row with zeros above.
        _ => whole::<u32>(registers, compare, a, b),
    };
    let c = registers.test(setp.c);
    let join = |bits: u32| match setp.logic {
        Logic::And => bits & c,
        Logic::Or => bits | c,
        Logic::Xor => bits ^ c,
    };
    registers.set_predicate(setp.p, mask, join(bits));
    if setp.q != SINK {
        registers.set_predicate(setp.q, mask, join(!bits));
    }
}

#[inline(always)]
fn whole<T: super::registers::Element + Ord>(registers: &Registers, compare: Compare, a: Row, b: Row) -> u32 {
    match compare {
        Compare::Eq | Compare::Equ => registers.compare(a, b, |a: T, b: T| a == b),
        Compare::Ne | Compare::Neu => registers.compare(a, b, |a: T, b: T| a != b),
        Compare::Lt | Compare::Ltu => registers.compare(a, b, |a: T, b: T| a < b),
        Compare::Le | Compare::Leu => registers.compare(a, b, |a: T, b: T| a <= b),
        Compare::Gt | Compare::Gtu => registers.compare(a, b, |a: T, b: T| a > b),
        Compare::Ge | Compare::Geu => registers.compare(a, b, |a: T, b: T| a >= b),
        Compare::Num => u32::MAX,
        Compare::Nan => 0,
    }
}

/// Signed 16-bit values.
fn narrow(registers: &Registers, compare: Compare, a: Row, b: Row) -> u32 {
    let signed = |bits: u32| bits as u16 as i16;
    registers.compare(a, b, |a: u32, b: u32| {
        let (a, b) = (signed(a), signed(b));
        match compare {
            Compare::Eq | Compare::Equ => a == b,
            Compare::Ne | Compare::Neu => a != b,
            Compare::Lt | Compare::Ltu => a < b,
            Compare::Le | Compare::Leu => a <= b,
            Compare::Gt | Compare::Gtu => a > b,
            Compare::Ge | Compare::Geu => a >= b,
            Compare::Num => true,
            Compare::Nan => false,
        }
    })
}

/// Comparisons of floats; `value` reads an operand.
#[expect(
    clippy::neg_cmp_op_on_partial_ord,
    clippy::eq_op,
    clippy::double_comparisons,
    reason = "where an operand may be not-a-number there is no other way to say the same"
)]
#[inline(always)]
fn real<T: super::registers::Element, V: PartialOrd>(
    registers: &Registers,
    compare: Compare,
    a: Row,
    b: Row,
    value: impl Fn(T) -> V,
) -> u32 {
    macro_rules! each {
        ($f:expr) => {
            registers.compare(a, b, |a: T, b: T| {
                let (a, b) = (value(a), value(b));
                holds(&a, &b, $f)
            })
        };
    }
    match compare {
        Compare::Eq => each!(|a, b| a == b),
        // `!=` of the host is true of unordered operands; that of PTX is not.
        Compare::Ne => each!(|a, b| a < b || a > b),
        Compare::Lt => each!(|a, b| a < b),
        Compare::Le => each!(|a, b| a <= b),
        Compare::Gt => each!(|a, b| a > b),
        Compare::Ge => each!(|a, b| a >= b),
        Compare::Equ => each!(|a, b| !(a < b || a > b)),
        Compare::Neu => each!(|a, b| a != b),
        Compare::Ltu => each!(|a, b| !(a >= b)),
        Compare::Leu => each!(|a, b| !(a > b)),
        Compare::Gtu => each!(|a, b| !(a <= b)),
        Compare::Geu => each!(|a, b| !(a < b)),
        Compare::Num => each!(|a, b| a == a && b == b),
        Compare::Nan => each!(|a, b| a != a || b != b),
    }
}

/// Calls `f`, so that the types of a closure's parameters are known.
#[inline(always)]
fn holds<V>(a: &V, b: &V, f: impl Fn(&V, &V) -> bool) -> bool {
    f(a, b)
}

fn other(registers: &mut Registers, mask: u32, op: &Op) {
    match *op {
        Op::Set { float, p, d } => {
            let bits = registers.predicates()[usize::from(p)];
            let one = if float { 1f32.to_bits() } else { u32::MAX };
            let values = std::array::from_fn::<u32, LANES, _>(|i| if bits >> i & 1 != 0 { one } else { 0 });
            registers.write(mask, d, &values);
        }
        Op::Slct { wide, float, ftz, args: Args3 { d, a, b, c } } => {
            let bits = if float {
                registers.compare(c, c, |c: f32, _| c >= 0.0 || ftz && c.is_subnormal())
            } else {
                registers.compare(c, c, |c: i32, _| c >= 0)
            };
            for i in (0..LANES).filter(|i| mask >> i & 1 != 0) {
                let from = if bits >> i & 1 != 0 { a } else { b };
                let value = registers.lane(from, wide, i);
                registers.set_lane(d, wide, i, value);
            }
        }
        Op::PredLogic { op, d, a, b } => {
            let (a, b) = (registers.test(a), registers.test(b));
            let bits = match op {
                Logic::And => a & b,
                Logic::Or => a | b,
                Logic::Xor => a ^ b,
            };
            registers.set_predicate(d, mask, bits);
        }
        Op::PredCopy { d, a } => {
            let bits = registers.test(a);
            registers.set_predicate(d, mask, bits);
        }
        Op::Pack { bits, count, d, from } => {
            let wide = u32::from(bits) * u32::from(count) == 64;
            for i in (0..LANES).filter(|i| mask >> i & 1 != 0) {
                let value = (0..usize::from(count)).fold(0u64, |value, part| {
                    let kept = registers.lane(from[part], false, i) & ((1 << bits) - 1);
                    value | kept << (usize::from(bits) * part)
                });
                registers.set_lane(d, wide, i, value);
            }
        }
        Op::Unpack { bits, count, a, to } => {
            let wide = u32::from(bits) * u32::from(count) == 64;
            let values: [u64; LANES] = std::array::from_fn(|i| registers.lane(a, wide, i));
            for part in (0..usize::from(count)).filter(|part| to[*part] != SINK) {
                let parts = values.map(|value| (value >> (usize::from(bits) * part)) as u32 & mask_of(bits));
                registers.write(mask, to[part], &parts);
            }
        }
        _ => {}
    }
}

fn mask_of(bits: u8) -> u32 {
    if bits == 32 { u32::MAX } else { (1 << bits) - 1 }
}
