//! Arithmetic of f64 rounded down, up or to zero: on integers, since what the host's rounding leaves over can itself
//! be too small for an f64.

use crate::ptx::op::Round;

/// `±magnitude * 2^exponent`. Where bits below the last were not zero, the last is set: there are always so many that
/// it lies below those of an f64.
#[derive(Clone, Copy)]
struct Wide {
    negative: bool,
    magnitude: u128,
    exponent: i32,
}

impl Wide {
    /// A finite number.
    fn of(value: f64) -> Wide {
        let bits = value.to_bits();
        let (biased, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
        let whole = if biased == 0 { fraction } else { fraction | 1 << 52 };
        Wide { negative: value.is_sign_negative(), magnitude: whole.into(), exponent: biased.max(1) - 1075 }
    }

    /// The same number with its first bit two places below the top, so that a sum fits.
    fn raised(self) -> Wide {
        let by = self.magnitude.leading_zeros() - 2;
        Wide { magnitude: self.magnitude << by, exponent: self.exponent - by as i32, ..self }
    }

    fn plus(self, other: Wide, round: Round) -> Wide {
        match (self.magnitude, other.magnitude) {
            (0, 0) if self.negative == other.negative => return self,
            (0, 0) => return Wide { negative: round == Round::Down, ..self },
            (0, _) => return other,
            (_, 0) => return self,
            _ => {}
        }
        let (a, b) = (self.raised(), other.raised());
        let (a, b) = if (a.exponent, a.magnitude) < (b.exponent, b.magnitude) { (b, a) } else { (a, b) };
        let smaller = lowered(b.magnitude, (a.exponent - b.exponent) as u32);
        if a.negative == b.negative {
            return Wide { magnitude: a.magnitude + smaller, ..a };
        }
        let magnitude = a.magnitude - smaller;
        Wide { magnitude, negative: if magnitude == 0 { round == Round::Down } else { a.negative }, ..a }
    }

    /// The product of numbers of 53 bits.
    fn times(self, other: Wide) -> Wide {
        Wide {
            negative: self.negative != other.negative,
            magnitude: self.magnitude * other.magnitude,
            exponent: self.exponent + other.exponent,
        }
    }

    fn to_f64(self, round: Round) -> f64 {
        const LAST: i32 = -1074;
        const INFINITY: u64 = 0x7ff << 52;
        let sign = u64::from(self.negative) << 63;
        let length = 128 - self.magnitude.leading_zeros() as i32;
        if length == 0 {
            return f64::from_bits(sign);
        }
        let last = (self.exponent + length - 53).max(LAST);
        let shift = last - self.exponent;
        let (kept, inexact) = match shift {
            ..=0 => (self.magnitude << -shift, false),
            1..=127 => (self.magnitude >> shift, self.magnitude & ((1 << shift) - 1) != 0),
            _ => (0, true),
        };
        let away = round == if self.negative { Round::Down } else { Round::Up };
        let bits = ((last - LAST) as u64) << 52;
        let bits = bits + kept as u64 + u64::from(away && inexact);
        f64::from_bits(sign | if bits < INFINITY || away { bits.min(INFINITY) } else { INFINITY - 1 })
    }
}

/// Shifted right; the last bit is set where others were lost.
fn lowered(magnitude: u128, by: u32) -> u128 {
    match by {
        0 => magnitude,
        1..=127 => magnitude >> by | u128::from(magnitude & ((1 << by) - 1) != 0),
        _ => u128::from(magnitude != 0),
    }
}

/// `a + b`.
pub(crate) fn sum(a: f64, b: f64, round: Round) -> f64 {
    fused(a, 1.0, b, round)
}

/// `a b + c`.
pub(crate) fn fused(a: f64, b: f64, c: f64, round: Round) -> f64 {
    if !(a.is_finite() && b.is_finite() && c.is_finite()) {
        return a.mul_add(b, c);
    }
    Wide::of(a).times(Wide::of(b)).plus(Wide::of(c), round).to_f64(round)
}

/// `a b`.
pub(crate) fn product(a: f64, b: f64, round: Round) -> f64 {
    if !(a.is_finite() && b.is_finite()) {
        return a * b;
    }
    Wide::of(a).times(Wide::of(b)).to_f64(round)
}

/// `a / b`.
pub(crate) fn quotient(a: f64, b: f64, round: Round) -> f64 {
    if !(a.is_finite() && b.is_finite()) || a == 0.0 || b == 0.0 {
        return a / b;
    }
    let (a, b) = (Wide::of(a).raised(), Wide::of(b));
    let (whole, rest) = (a.magnitude / b.magnitude, a.magnitude % b.magnitude);
    let magnitude = whole | u128::from(rest != 0);
    Wide { negative: a.negative != b.negative, magnitude, exponent: a.exponent - b.exponent }.to_f64(round)
}

/// The square root.
pub(crate) fn root(a: f64, round: Round) -> f64 {
    if a.is_nan() || a <= 0.0 || a.is_infinite() {
        return a.sqrt();
    }
    let mut a = Wide::of(a).raised();
    if a.exponent % 2 != 0 {
        (a.magnitude, a.exponent) = (a.magnitude << 1, a.exponent - 1);
    }
    let whole = a.magnitude.isqrt();
    let magnitude = whole | u128::from(whole * whole != a.magnitude);
    Wide { negative: false, magnitude, exponent: a.exponent / 2 }.to_f64(round)
}
