//! Rounding of exact results to a format, in any direction.

use crate::ptx::Type;
use crate::ptx::op::Round;

/// Not-a-number as f32 arithmetic of a GPU makes it.
pub(crate) const NAN32: u32 = 0x7fff_ffff;
/// Not-a-number as 16-bit arithmetic of a GPU makes it.
pub(crate) const NAN16: u16 = 0x7fff;

/// The exact value `high + low`, with `high` the sum rounded to nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exact {
    pub high: f64,
    pub low: f64,
}

impl Exact {
    /// A value that is exact already.
    #[inline(always)]
    pub fn from(high: f64) -> Exact {
        Exact { high, low: 0.0 }
    }

    /// `a + b` without error (Knuth's two-sum).
    #[inline(always)]
    pub fn sum(a: f64, b: f64) -> Exact {
        let high = a + b;
        if !high.is_finite() {
            return Exact::from(high);
        }
        let rest = high - a;
        Exact { high, low: (a - (high - rest)) + (b - rest) }
    }

    /// `a / b`, `low` having the right sign.
    pub fn quotient(a: f64, b: f64) -> Exact {
        let high = a / b;
        if !high.is_finite() || high == 0.0 || !b.is_finite() {
            return Exact::from(high);
        }
        let rest = (-high).mul_add(b, a);
        Exact { high, low: if rest == 0.0 { 0.0 } else { tiny(high).copysign(rest * b.signum()) } }
    }

    /// The square root of `a`, `low` having the right sign.
    pub fn root(a: f64) -> Exact {
        let high = a.sqrt();
        if !high.is_finite() || high == 0.0 {
            return Exact::from(high);
        }
        let rest = (-high).mul_add(high, a);
        Exact { high, low: if rest == 0.0 { 0.0 } else { tiny(high).copysign(rest) } }
    }

    /// Rounded to odd: a later rounding to a narrower format is the same as of the exact value.
    #[inline(always)]
    pub fn odd(self) -> f64 {
        if self.low == 0.0 || !self.high.is_finite() || self.high.to_bits() & 1 == 1 {
            return self.high;
        }
        if self.low > 0.0 { self.high.next_up() } else { self.high.next_down() }
    }

    /// Rounded to f64: of numbers that are far from its ends.
    pub fn to_f64(self, round: Round) -> f64 {
        let Exact { high, low } = self;
        let up = low > 0.0;
        match round {
            _ if low == 0.0 || high.is_nan() => high,
            Round::Up if up => high.next_up(),
            Round::Down if !up => high.next_down(),
            Round::Zero if high > 0.0 && !up => high.next_down(),
            Round::Zero if high < 0.0 && up => high.next_up(),
            _ => high,
        }
    }
}

/// Less than half a unit in the last place of `value`, and not zero.
fn tiny(value: f64) -> f64 {
    (value.abs() * 2f64.powi(-60)).max(f64::from_bits(1))
}

/// A value to a binary format of `exponent` and `fraction` bits; not-a-number becomes all ones below the sign.
pub(crate) fn pack(value: f64, exponent: u32, fraction: u32, round: Round) -> u32 {
    let infinity = ((1u32 << exponent) - 1) << fraction;
    let sign = u32::from(value.is_sign_negative()) << (exponent + fraction);
    if value.is_nan() {
        return infinity | ((1 << fraction) - 1);
    }
    if value.is_infinite() {
        return sign | infinity;
    }
    if value == 0.0 {
        return sign;
    }
    let magnitude = value.abs();
    let lowest = 2 - (1i32 << (exponent - 1));
    // A subnormal f64 counts with the lowest exponent of f64, which is below that of any narrower format.
    let scale = (((magnitude.to_bits() >> 52) as i32) - 1023).max(lowest);
    let units = magnitude * power(fraction as i32 - scale);
    let whole = units.trunc();
    let rest = units - whole;
    let whole = whole as u32;
    let up = match round {
        Round::Nearest => rest > 0.5 || rest == 0.5 && whole & 1 == 1,
        Round::Away => rest >= 0.5,
        Round::Zero => false,
        Round::Down => sign != 0 && rest > 0.0,
        Round::Up => sign == 0 && rest > 0.0,
    };
    let exponent_bits = (scale - lowest) as u32;
    let bits = (u64::from(exponent_bits) << fraction) + u64::from(whole) + u64::from(up);
    if bits >= u64::from(infinity) {
        let stays = match round {
            Round::Nearest | Round::Away => false,
            Round::Zero => true,
            Round::Down => sign == 0,
            Round::Up => sign != 0,
        };
        return sign | if stays { infinity - 1 } else { infinity };
    }
    sign | bits as u32
}

/// 2 to the power of `n`, exactly, for -1022 < n < 1024.
fn power(n: i32) -> f64 {
    f64::from_bits(((1023 + n.clamp(-1022, 1023)) as u64) << 52)
}

/// Bits of a value in a 16-bit format.
pub(crate) fn pack16(ty: Type, value: f64, round: Round) -> u16 {
    let bits = if ty == Type::F16 || ty == Type::F16x2 { pack(value, 5, 10, round) } else { pack(value, 8, 7, round) };
    if value.is_nan() { NAN16 } else { bits as u16 }
}

/// The value of bits of a 16-bit format.
pub(crate) fn unpack16(ty: Type, bits: u16) -> f64 {
    f64::from(unpack16_single(ty, bits))
}

/// The value of bits of a 16-bit format.
#[inline(always)]
pub(crate) fn unpack16_single(ty: Type, bits: u16) -> f32 {
    if ty == Type::F16 || ty == Type::F16x2 {
        half::f16::from_bits(bits).to_f32_const()
    } else {
        f32::from_bits(u32::from(bits) << 16)
    }
}

/// An exact value to f32.
#[inline(always)]
pub(crate) fn to_single(value: Exact, round: Round) -> f32 {
    let exact = value.odd();
    if exact.is_nan() {
        return f32::from_bits(NAN32);
    }
    let near = exact as f32;
    let over = f64::from(near) > exact;
    let under = f64::from(near) < exact;
    match round {
        Round::Down if over => near.next_down(),
        Round::Up if under => near.next_up(),
        Round::Zero if over && exact > 0.0 => near.next_down(),
        Round::Zero if under && exact < 0.0 => near.next_up(),
        Round::Away => f32::from_bits(pack(exact, 8, 23, round)),
        _ => near,
    }
}

/// An f32 to bfloat16, to nearest, ties to even.
#[inline(always)]
pub(crate) fn bfloat(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if value.is_nan() { u32::from(NAN16) } else { rounded }
}

/// Subnormals to zero of the same sign.
#[inline(always)]
pub(crate) fn flush(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE { f32::from_bits(value.to_bits() & 0x8000_0000) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_agrees_with_the_host() {
        let mut bits = 1u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f32::from_bits((bits >> 32) as u32);
            if value.is_nan() {
                continue;
            }
            let wide = f64::from(value);
            assert_eq!(pack(wide, 8, 23, Round::Nearest), value.to_bits());
            assert_eq!(pack16(Type::F16, wide, Round::Nearest), half::f16::from_f32(value).to_bits());
            assert_eq!(pack16(Type::Bf16, wide, Round::Nearest), half::bf16::from_f32(value).to_bits());
            assert_eq!(bfloat(value) as u16, half::bf16::from_f32(value).to_bits());
            let double = f64::from_bits(bits ^ 0x1234);
            if !double.is_nan() {
                assert_eq!(pack(double, 8, 23, Round::Nearest), (double as f32).to_bits());
            }
        }
    }

    #[test]
    fn directions_enclose_the_exact_value() {
        let third = Exact::quotient(1.0, 3.0);
        let (down, up) = (to_single(third, Round::Down), to_single(third, Round::Up));
        assert!(f64::from(down) < 1.0 / 3.0 && f64::from(up) > 1.0 / 3.0 && down.next_up() == up);
        assert_eq!(to_single(Exact::quotient(-1.0, 3.0), Round::Zero), -down);
        assert_eq!(pack16(Type::F16, 70000.0, Round::Zero), 0x7bff);
        assert_eq!(pack16(Type::F16, 70000.0, Round::Nearest), 0x7c00);
        // 1 + 2^-60 is no f64.
        assert_eq!(Exact::sum(1.0, 2f64.powi(-60)).to_f64(Round::Up), 1f64.next_up());
    }
}
