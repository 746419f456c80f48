//! Integers and bits.

use super::registers::{Element, Registers, multiversion};
use crate::ptx::op::{Args2, Args3, Int, IntOp, IntUnary, Op, Part, Permute};

/// An integer type: how it lies in a register, and its arithmetic.
trait Whole: Copy + Ord {
    /// What a lane of a register holds.
    type Slot: Element;
    const BITS: u32;
    const ONE: Self;
    fn of(slot: Self::Slot) -> Self;
    fn slot(self) -> Self::Slot;
    fn add(self, other: Self) -> Self;
    fn add_saturating(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn sub_saturating(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn mul_high(self, other: Self) -> Self;
    /// All ones where the divisor is zero, as GPUs do.
    fn div(self, other: Self) -> Self;
    /// The dividend where the divisor is zero.
    fn rem(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn not(self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn abs_difference(self, other: Self) -> Self;
    fn shl(self, by: u32) -> Self;
    fn shr(self, by: u32) -> Self;
    fn is_zero(self) -> bool;
    fn leading(self) -> u32;
    fn ones(self) -> u32;
    fn reversed(self) -> Self;
    /// Place of the highest bit that differs from the sign; all ones if there is none.
    fn find(self) -> u32;
    fn extract(self, at: u32, length: u32) -> Self;
}

macro_rules! whole {
    ($($ty:ty, $unsigned:ty, $slot:ty, $double:ty, $signed:expr;)*) => {$(
        impl Whole for $ty {
            type Slot = $slot;
            const BITS: u32 = <$ty>::BITS;
            const ONE: $ty = 1;
            #[inline(always)]
            fn of(slot: $slot) -> $ty { slot as $ty }
            // Through the unsigned type: 16 bits lie in a row with zeros above.
            #[inline(always)]
            fn slot(self) -> $slot { self as $unsigned as $slot }
            #[inline(always)]
            fn add(self, other: $ty) -> $ty { self.wrapping_add(other) }
            #[inline(always)]
            fn add_saturating(self, other: $ty) -> $ty { self.saturating_add(other) }
            #[inline(always)]
            fn sub(self, other: $ty) -> $ty { self.wrapping_sub(other) }
            #[inline(always)]
            fn sub_saturating(self, other: $ty) -> $ty { self.saturating_sub(other) }
            #[inline(always)]
            fn mul(self, other: $ty) -> $ty { self.wrapping_mul(other) }
            #[inline(always)]
            fn mul_high(self, other: $ty) -> $ty { (self as $double * other as $double >> <$ty>::BITS) as $ty }
            #[inline(always)]
            fn div(self, other: $ty) -> $ty { if other == 0 { !0 } else { self.wrapping_div(other) } }
            #[inline(always)]
            fn rem(self, other: $ty) -> $ty { if other == 0 { self } else { self.wrapping_rem(other) } }
            #[inline(always)]
            fn and(self, other: $ty) -> $ty { self & other }
            #[inline(always)]
            fn or(self, other: $ty) -> $ty { self | other }
            #[inline(always)]
            fn xor(self, other: $ty) -> $ty { self ^ other }
            #[inline(always)]
            fn not(self) -> $ty { !self }
            #[inline(always)]
            fn neg(self) -> $ty { self.wrapping_neg() }
            #[inline(always)]
            fn abs(self) -> $ty { if self < Self::of(0) { self.wrapping_neg() } else { self } }
            #[inline(always)]
            fn abs_difference(self, other: $ty) -> $ty { if self < other { other.wrapping_sub(self) } else { self.wrapping_sub(other) } }
            #[inline(always)]
            fn shl(self, by: u32) -> $ty { if by < <$ty>::BITS { self << by } else { 0 } }
            #[inline(always)]
            fn shr(self, by: u32) -> $ty { if by < <$ty>::BITS { self >> by } else if $signed { self >> (<$ty>::BITS - 1) } else { 0 } }
            #[inline(always)]
            fn is_zero(self) -> bool { self == 0 }
            #[inline(always)]
            fn leading(self) -> u32 { self.leading_zeros() }
            #[inline(always)]
            fn ones(self) -> u32 { self.count_ones() }
            #[inline(always)]
            fn reversed(self) -> $ty { self.reverse_bits() }
            #[inline(always)]
            fn find(self) -> u32 {
                let bits = if $signed && self < Self::of(0) { !self } else { self } as $unsigned;
                if bits == 0 { u32::MAX } else { <$ty>::BITS - 1 - bits.leading_zeros() }
            }
            #[inline(always)]
            fn extract(self, at: u32, length: u32) -> $ty {
                let (at, length) = (at & 0xff, length & 0xff);
                if length == 0 { return 0; }
                // Beyond the end the sign goes on.
                let shifted = Self::shr(self, at);
                if length >= <$ty>::BITS { return shifted; }
                let rest = <$ty>::BITS - length;
                if $signed && at.saturating_add(length) > <$ty>::BITS {
                    return shifted;
                }
                (shifted << rest) >> rest
            }
        }
    )*};
}
whole! {
    u16, u16, u32, u32, false;
    i16, u16, u32, i32, true;
    u32, u32, u32, u64, false;
    i32, u32, u32, i64, true;
    u64, u64, u64, u128, false;
    i64, u64, u64, i128, true;
}

multiversion! {
    /// Executes an instruction on integers in the lanes of `mask`.
    pub(crate) fn execute(registers: &mut Registers, mask: u32, op: &Op) {
        match *op {
            Op::Int { op, ty, args } => match ty {
                Int::U32 => binary::<u32>(registers, mask, op, args),
                Int::S32 => binary::<i32>(registers, mask, op, args),
                Int::U64 => binary::<u64>(registers, mask, op, args),
                Int::S64 => binary::<i64>(registers, mask, op, args),
                Int::U16 => binary::<u16>(registers, mask, op, args),
                Int::S16 => binary::<i16>(registers, mask, op, args),
            },
            Op::MulWide { ty, args: Args2 { d, a, b } } => match ty {
                Int::U32 => registers.map2(mask, d, a, b, |a: u32, b: u32| u64::from(a) * u64::from(b)),
                Int::S32 => registers.map2(mask, d, a, b, |a: i32, b: i32| i64::from(a) * i64::from(b)),
                Int::S16 => registers.map2(mask, d, a, b, |a: u32, b: u32| i32::from(a as i16) * i32::from(b as i16)),
                _ => registers.map2(mask, d, a, b, |a: u32, b: u32| (a & 0xffff).wrapping_mul(b & 0xffff)),
            },
            Op::Mad { part, ty, args } => multiply_add(registers, mask, part, ty, args),
            Op::IntUnary { op, ty, args } => match ty {
                Int::U32 => unary::<u32>(registers, mask, op, args.d, args.a),
                Int::S32 => unary::<i32>(registers, mask, op, args.d, args.a),
                Int::U64 => unary::<u64>(registers, mask, op, args.d, args.a),
                Int::S64 => unary::<i64>(registers, mask, op, args.d, args.a),
                Int::U16 => unary::<u16>(registers, mask, op, args.d, args.a),
                Int::S16 => unary::<i16>(registers, mask, op, args.d, args.a),
            },
            Op::Sad { ty, args } => match ty {
                Int::U32 => sad::<u32>(registers, mask, args),
                Int::S32 => sad::<i32>(registers, mask, args),
                Int::U64 => sad::<u64>(registers, mask, args),
                Int::S64 => sad::<i64>(registers, mask, args),
                Int::U16 => sad::<u16>(registers, mask, args),
                Int::S16 => sad::<i16>(registers, mask, args),
            },
            Op::Bfe { ty, args } => match ty {
                Int::S32 => extract::<i32>(registers, mask, args),
                Int::U64 => extract::<u64>(registers, mask, args),
                Int::S64 => extract::<i64>(registers, mask, args),
                _ => extract::<u32>(registers, mask, args),
            },
            _ => bits(registers, mask, op),
        }
    }
}

/// Calls `f`, so that the types of a closure's parameters are known.
#[inline(always)]
fn apply2<T>(a: T, b: T, f: impl Fn(T, T) -> T) -> T {
    f(a, b)
}

/// As [`apply2`].
#[inline(always)]
fn apply1<T>(a: T, f: impl Fn(T) -> T) -> T {
    f(a)
}

#[inline(always)]
fn binary<T: Whole>(registers: &mut Registers, mask: u32, op: IntOp, Args2 { d, a, b }: Args2) {
    macro_rules! each {
        ($f:expr) => {
            registers.map2(mask, d, a, b, |a: T::Slot, b: T::Slot| {
                let (a, b) = (T::of(a), T::of(b));
                T::slot(apply2(a, b, $f))
            })
        };
    }
    match op {
        IntOp::Add => each!(T::add),
        IntOp::AddSat => each!(T::add_saturating),
        IntOp::Sub => each!(T::sub),
        IntOp::SubSat => each!(T::sub_saturating),
        IntOp::Mul => each!(T::mul),
        IntOp::MulHi => each!(T::mul_high),
        IntOp::Div => each!(T::div),
        IntOp::Rem => each!(T::rem),
        IntOp::Min => each!(|a, b| if b < a { b } else { a }),
        IntOp::Max => each!(|a, b| if b > a { b } else { a }),
        IntOp::And => each!(T::and),
        IntOp::Or => each!(T::or),
        IntOp::Xor => each!(T::xor),
        IntOp::Shl => registers.map2(mask, d, a, b, |a: T::Slot, b: u32| T::of(a).shl(b).slot()),
        IntOp::Shr => registers.map2(mask, d, a, b, |a: T::Slot, b: u32| T::of(a).shr(b).slot()),
    }
}

#[inline(always)]
fn unary<T: Whole>(registers: &mut Registers, mask: u32, op: IntUnary, d: u16, a: u16) {
    macro_rules! each {
        ($f:expr) => {
            registers.map1(mask, d, a, |a: T::Slot| T::slot(apply1(T::of(a), $f)))
        };
    }
    match op {
        IntUnary::Neg => each!(T::neg),
        IntUnary::Abs => each!(T::abs),
        IntUnary::Not => each!(T::not),
        IntUnary::Cnot => each!(|a| if a.is_zero() { T::ONE } else { T::xor(a, a) }),
        IntUnary::Brev => each!(T::reversed),
        IntUnary::Clz => registers.map1(mask, d, a, |a: T::Slot| T::of(a).leading()),
        IntUnary::Popc => registers.map1(mask, d, a, |a: T::Slot| T::of(a).ones()),
        IntUnary::Bfind => registers.map1(mask, d, a, |a: T::Slot| T::of(a).find()),
        IntUnary::BfindShift => registers.map1(mask, d, a, |a: T::Slot| match T::of(a).find() {
            u32::MAX => u32::MAX,
            at => T::BITS - 1 - at,
        }),
    }
}

#[inline(always)]
fn sad<T: Whole>(registers: &mut Registers, mask: u32, Args3 { d, a, b, c }: Args3) {
    registers.map3(mask, d, a, b, c, |a: T::Slot, b: T::Slot, c: T::Slot| {
        T::of(c).add(T::of(a).abs_difference(T::of(b))).slot()
    });
}

#[inline(always)]
fn extract<T: Whole>(registers: &mut Registers, mask: u32, Args3 { d, a, b, c }: Args3) {
    registers.map3(mask, d, a, b, c, |a: T::Slot, at: u32, length: u32| T::of(a).extract(at, length).slot());
}

#[inline(always)]
fn multiply_add(registers: &mut Registers, mask: u32, part: Part, ty: Int, args: Args3) {
    let Args3 { d, a, b, c } = args;
    match (part, ty) {
        (Part::Wide, Int::U32) => {
            registers.map3(mask, d, a, b, c, |a: u32, b: u32, c: u64| (u64::from(a) * u64::from(b)).wrapping_add(c));
        }
        (Part::Wide, Int::S32) => {
            registers.map3(mask, d, a, b, c, |a: i32, b: i32, c: i64| (i64::from(a) * i64::from(b)).wrapping_add(c));
        }
        (Part::Wide, Int::S16) => registers.map3(mask, d, a, b, c, |a: u32, b: u32, c: i32| {
            (i32::from(a as i16) * i32::from(b as i16)).wrapping_add(c)
        }),
        (Part::Wide, _) => registers
            .map3(mask, d, a, b, c, |a: u32, b: u32, c: u32| (a & 0xffff).wrapping_mul(b & 0xffff).wrapping_add(c)),
        (Part::HighSat, _) => registers.map3(mask, d, a, b, c, |a: u32, b: u32, c: u32| {
            Whole::slot((a as i32).mul_high(b as i32).saturating_add(c as i32))
        }),
        (part, Int::U32) => mad::<u32>(registers, mask, part, args),
        (part, Int::S32) => mad::<i32>(registers, mask, part, args),
        (part, Int::U64) => mad::<u64>(registers, mask, part, args),
        (part, Int::S64) => mad::<i64>(registers, mask, part, args),
        (part, Int::U16) => mad::<u16>(registers, mask, part, args),
        (part, Int::S16) => mad::<i16>(registers, mask, part, args),
    }
}

#[inline(always)]
fn mad<T: Whole>(registers: &mut Registers, mask: u32, part: Part, Args3 { d, a, b, c }: Args3) {
    if part == Part::High {
        registers.map3(mask, d, a, b, c, |a: T::Slot, b: T::Slot, c: T::Slot| {
            T::of(a).mul_high(T::of(b)).add(T::of(c)).slot()
        });
    } else {
        registers
            .map3(mask, d, a, b, c, |a: T::Slot, b: T::Slot, c: T::Slot| T::of(a).mul(T::of(b)).add(T::of(c)).slot());
    }
}

/// Bits that move or are combined.
#[inline(always)]
fn bits(registers: &mut Registers, mask: u32, op: &Op) {
    match *op {
        Op::Bfi { wide, from, args: Args3 { d, a, b, c } } => {
            // Four operands: the field's place and length become one row first.
            let (at, length) = (*registers.lanes(b), *registers.lanes(c));
            if wide {
                let (from, mut to) = (*registers.get::<u64>(from), *registers.get::<u64>(a));
                for i in 0..to.len() {
                    to[i] = insert(from[i], to[i], at[i], length[i], 64);
                }
                registers.write(mask, d, &to);
            } else {
                let (from, mut to) = (*registers.lanes(from), *registers.lanes(a));
                for i in 0..to.len() {
                    to[i] = insert(u64::from(from[i]), u64::from(to[i]), at[i], length[i], 32) as u32;
                }
                registers.write(mask, d, &to);
            }
        }
        Op::Lop3 { table, args: Args3 { d, a, b, c } } => {
            let on = |bit: u8| 0u32.wrapping_sub(u32::from(table >> bit & 1));
            let ones = [on(0), on(1), on(2), on(3), on(4), on(5), on(6), on(7)];
            registers.map3(mask, d, a, b, c, |a: u32, b: u32, c: u32| {
                let low = (!b & ((!c & ones[0]) | (c & ones[1]))) | (b & ((!c & ones[2]) | (c & ones[3])));
                let high = (!b & ((!c & ones[4]) | (c & ones[5]))) | (b & ((!c & ones[6]) | (c & ones[7])));
                (!a & low) | (a & high)
            });
        }
        Op::Shf { left, clamp, args: Args3 { d, a, b, c } } => {
            registers.map3(mask, d, a, b, c, |low: u32, high: u32, by: u32| {
                let by = if clamp { by.min(32) } else { by & 31 };
                let both = u64::from(high) << 32 | u64::from(low);
                if left { (both << by >> 32) as u32 } else { (both >> by) as u32 }
            });
        }
        Op::Prmt { mode, args: Args3 { d, a, b, c } } => {
            registers.map3(mask, d, a, b, c, |a: u32, b: u32, c: u32| permute(mode, a, b, c));
        }
        Op::Carry { subtract, wide, uses, sets, carry, args: Args2 { d, a, b } } => {
            let before = if uses { registers.predicates()[usize::from(carry)] } else { 0 };
            let (mut values, mut after) = ([0u64; 32], 0u32);
            for (i, value) in values.iter_mut().enumerate() {
                let (a, b) = (registers.lane(a, wide, i), registers.lane(b, wide, i));
                let (a, b, extra) = (u128::from(a), u128::from(b), u128::from(before >> i & 1));
                let sum = if subtract { a.wrapping_sub(b).wrapping_sub(extra) } else { a + b + extra };
                *value = sum as u64;
                after |= u32::from(sum >> if wide { 64 } else { 32 } & 1 != 0) << i;
            }
            if wide {
                registers.write(mask, d, &values);
            } else {
                registers.write(mask, d, &values.map(|value| value as u32));
            }
            if sets {
                registers.set_predicate(carry, mask, after);
            }
        }
        Op::Dp4a { a_signed, b_signed, args: Args3 { d, a, b, c } } => {
            registers.map3(mask, d, a, b, c, |a: u32, b: u32, c: u32| {
                let part = |x: u32, i: u32, signed: bool| {
                    let byte = (x >> (8 * i)) as u8;
                    if signed { i32::from(byte as i8) } else { i32::from(byte) }
                };
                (0..4).fold(c as i32, |sum, i| sum.wrapping_add(part(a, i, a_signed) * part(b, i, b_signed))) as u32
            });
        }
        _ => {}
    }
}

#[inline(always)]
fn insert(from: u64, to: u64, at: u32, length: u32, bits: u32) -> u64 {
    let (at, length) = (at & 0xff, (length & 0xff).min(bits));
    if length == 0 || at >= bits {
        return to;
    }
    let field = (u64::MAX >> (64 - length)) << at;
    (to & !field) | (from << at & field)
}

#[inline(always)]
fn permute(mode: Permute, a: u32, b: u32, c: u32) -> u32 {
    let both = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
    let mut result = [0u8; 4];
    for (i, byte) in result.iter_mut().enumerate() {
        let n = (c & 3) as usize;
        let pick = match mode {
            Permute::Index => (c >> (4 * i)) as usize & 7,
            Permute::F4e => n + i,
            Permute::B4e => (n + 8 - i) & 7,
            Permute::Rc8 => n,
            Permute::Ecl => n.max(i),
            Permute::Ecr => n.min(i),
            Permute::Rc16 => (n & 1) * 2 + (i & 1),
        };
        *byte = both[pick];
        if mode == Permute::Index && c >> (4 * i + 3) & 1 != 0 {
            *byte = if *byte & 0x80 != 0 { 0xff } else { 0 };
        }
    }
    u32::from_le_bytes(result)
}
