//! Exact numbers, rounded once: the reference of floating-point arithmetic.
//!
//! A number is `magnitude * 2^exponent`, with as many bits as it needs. Quotients and roots are cut off far below the
//! last bit that any format keeps, and remember that something was cut off.

use std::cmp::Ordering;

/// A binary format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bits of the fraction.
    pub fraction: u32,
    /// Bits of the exponent.
    pub exponent: u32,
}

pub const F16: Format = Format { fraction: 10, exponent: 5 };
pub const BF16: Format = Format { fraction: 7, exponent: 8 };
pub const F32: Format = Format { fraction: 23, exponent: 8 };
pub const F64: Format = Format { fraction: 52, exponent: 11 };
/// In the upper bits of 32: bits of this format are shifted up by 13.
pub const TF32: Format = Format { fraction: 10, exponent: 8 };

/// Directions of rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    Nearest,
    Zero,
    Down,
    Up,
    /// To nearest, halves away from zero.
    Away,
}

impl Round {
    pub const FOUR: [(&'static str, Round); 4] =
        [("rn", Round::Nearest), ("rz", Round::Zero), ("rm", Round::Down), ("rp", Round::Up)];
}

/// What bits of a format stand for.
#[derive(Clone, Debug)]
pub enum Number {
    Nan,
    /// Whether it is negative.
    Infinite(bool),
    Finite(Exact),
}

/// `±magnitude * 2^exponent`; zero has a sign as well. Little end first.
#[derive(Clone, Debug)]
pub struct Exact {
    pub negative: bool,
    magnitude: Vec<u64>,
    exponent: i32,
    /// Whether the number is a little larger in magnitude, by less than the magnitude's last bit.
    more: bool,
}

impl Format {
    pub fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.fraction
    }

    pub fn sign(self) -> u64 {
        1 << (self.fraction + self.exponent)
    }

    /// The NaN that instructions give.
    pub fn nan(self) -> u64 {
        self.sign() - 1
    }

    pub fn is_nan(self, bits: u64) -> bool {
        bits & !self.sign() > self.infinity()
    }

    pub fn is_subnormal(self, bits: u64) -> bool {
        let magnitude = bits & !self.sign();
        magnitude != 0 && magnitude < 1 << self.fraction
    }

    /// Subnormal numbers become zero with their sign.
    pub fn flush(self, bits: u64) -> u64 {
        if self.is_subnormal(bits) { bits & self.sign() } else { bits }
    }

    /// The exponent of the last bit of subnormal numbers.
    fn last(self) -> i32 {
        2 - (1 << (self.exponent - 1)) - self.fraction as i32
    }

    pub fn number(self, bits: u64) -> Number {
        let negative = bits & self.sign() != 0;
        let magnitude = bits & !self.sign();
        if magnitude > self.infinity() {
            return Number::Nan;
        }
        if magnitude == self.infinity() {
            return Number::Infinite(negative);
        }
        let fraction = magnitude & ((1 << self.fraction) - 1);
        let biased = (magnitude >> self.fraction) as i32;
        let (fraction, exponent) = if biased == 0 {
            (fraction, self.last())
        } else {
            (fraction | 1 << self.fraction, self.last() + biased - 1)
        };
        Number::Finite(Exact { negative, magnitude: vec![fraction], exponent, more: false })
    }

    /// The nearest number of the format in that direction.
    pub fn round(self, exact: &Exact, round: Round) -> u64 {
        let sign = if exact.negative { self.sign() } else { 0 };
        let length = bit_length(&exact.magnitude) as i32;
        if length == 0 {
            return sign;
        }
        let last = (length + exact.exponent - 1 - self.fraction as i32).max(self.last());
        let (kept, rest) = cut(exact, last);
        let up = match round {
            Round::Nearest => rest == Some(Ordering::Greater) || rest == Some(Ordering::Equal) && kept & 1 == 1,
            Round::Away => matches!(rest, Some(Ordering::Greater | Ordering::Equal)),
            Round::Zero => false,
            Round::Down => exact.negative && rest.is_some(),
            Round::Up => !exact.negative && rest.is_some(),
        };
        // A carry out of the fraction goes into the exponent's bits by itself.
        let biased = (last - self.last()) as u64;
        let magnitude = (biased << self.fraction) + kept + u64::from(up);
        if magnitude < self.infinity() {
            return sign | magnitude;
        }
        let to_infinity = match round {
            Round::Nearest | Round::Away => true,
            Round::Zero => false,
            Round::Down => exact.negative,
            Round::Up => !exact.negative,
        };
        sign | if to_infinity { self.infinity() } else { self.infinity() - 1 }
    }
}

/// Whole multiples of `2^last` in the magnitude, and how what is left compares with half of that: `None` is nothing.
fn cut(exact: &Exact, last: i32) -> (u64, Option<Ordering>) {
    let shift = last - exact.exponent;
    if shift <= 0 {
        assert!(!exact.more, "too few bits");
        return (shifted(&exact.magnitude, -shift as u32)[0], None);
    }
    let bit = |at: i32| exact.magnitude.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 == 1);
    let kept = (0..64).filter(|at| bit(shift + at)).fold(0, |value, at| value | 1 << at);
    let below = exact.more || (0..shift - 1).any(bit);
    let rest = match (bit(shift - 1), below) {
        (false, false) => None,
        (false, true) => Some(Ordering::Less),
        (true, false) => Some(Ordering::Equal),
        (true, true) => Some(Ordering::Greater),
    };
    (kept, rest)
}

fn bit_length(words: &[u64]) -> u32 {
    let top = words.iter().rposition(|word| *word != 0);
    top.map_or(0, |at| 64 * at as u32 + 64 - words[at].leading_zeros())
}

fn shifted(words: &[u64], by: u32) -> Vec<u64> {
    let mut result = vec![0; words.len() + by as usize / 64 + 1];
    for (i, word) in words.iter().enumerate() {
        let wide = u128::from(*word) << (by % 64);
        result[i + by as usize / 64] |= wide as u64;
        result[i + by as usize / 64 + 1] |= (wide >> 64) as u64;
    }
    result
}

fn compare(a: &[u64], b: &[u64]) -> Ordering {
    let word = |words: &[u64], i: usize| words.get(i).copied().unwrap_or(0);
    let longest = a.len().max(b.len());
    (0..longest).rev().map(|i| word(a, i).cmp(&word(b, i))).find(|one| one.is_ne()).unwrap_or(Ordering::Equal)
}

/// `a + b`, or `a - b` where `b` is not larger.
fn sum(a: &[u64], b: &[u64], subtract: bool) -> Vec<u64> {
    let mut carry = 0i128;
    (0..a.len().max(b.len()) + 1)
        .map(|i| {
            let word = |words: &[u64]| i128::from(words.get(i).copied().unwrap_or(0));
            let value = if subtract { word(a) - word(b) } else { word(a) + word(b) } + carry;
            carry = value >> 64;
            value as u64
        })
        .collect()
}

impl Exact {
    pub fn integer(value: i128) -> Exact {
        let magnitude = value.unsigned_abs();
        Exact {
            negative: value < 0,
            magnitude: vec![magnitude as u64, (magnitude >> 64) as u64],
            exponent: 0,
            more: false,
        }
    }

    pub fn is_zero(&self) -> bool {
        bit_length(&self.magnitude) == 0
    }

    pub fn negated(mut self) -> Exact {
        self.negative ^= true;
        self
    }

    /// The sum. An exact zero of opposite signs is negative only where the direction is down.
    pub fn plus(&self, other: &Exact, round: Round) -> Exact {
        let exponent = self.exponent.min(other.exponent);
        let aligned = |one: &Exact| shifted(&one.magnitude, (one.exponent - exponent) as u32);
        let (a, b) = (aligned(self), aligned(other));
        let done = |negative, magnitude| Exact { negative, magnitude, exponent, more: false };
        if self.negative == other.negative {
            return done(self.negative, sum(&a, &b, false));
        }
        match compare(&a, &b) {
            Ordering::Equal => done(round == Round::Down, vec![0]),
            Ordering::Greater => done(self.negative, sum(&a, &b, true)),
            Ordering::Less => done(other.negative, sum(&b, &a, true)),
        }
    }

    /// The product of numbers of at most 64 bits.
    pub fn times(&self, other: &Exact) -> Exact {
        let product = u128::from(self.magnitude[0]) * u128::from(other.magnitude[0]);
        Exact {
            negative: self.negative != other.negative,
            magnitude: vec![product as u64, (product >> 64) as u64],
            exponent: self.exponent + other.exponent,
            more: false,
        }
    }

    /// The quotient of numbers of at most 53 bits, the divisor not zero.
    pub fn over(&self, other: &Exact) -> Exact {
        let shift = 64 + self.magnitude[0].leading_zeros();
        let (a, b) = (u128::from(self.magnitude[0]), u128::from(other.magnitude[0]));
        let shift = if a == 0 { 0 } else { shift };
        let quotient = (a << shift) / b;
        Exact {
            negative: self.negative != other.negative,
            magnitude: vec![quotient as u64, (quotient >> 64) as u64],
            exponent: self.exponent - other.exponent - shift as i32,
            more: (a << shift) % b != 0,
        }
    }

    /// The root of a number of at most 53 bits that is not negative.
    pub fn root(&self) -> Exact {
        let a = u128::from(self.magnitude[0]);
        // An even exponent, and the most bits that fit.
        let room = a.leading_zeros().saturating_sub(2);
        let shift = if (self.exponent - room as i32) % 2 == 0 { room } else { room.saturating_sub(1) };
        let shift = if a == 0 { (self.exponent % 2).unsigned_abs() } else { shift };
        let root = (a << shift).isqrt();
        Exact {
            negative: self.negative,
            magnitude: vec![root as u64, (root >> 64) as u64],
            exponent: (self.exponent - shift as i32) / 2,
            more: root * root != a << shift,
        }
    }

    /// The nearest integer in that direction, halves to even, its sign kept.
    pub fn integral(&self, round: Round) -> Exact {
        if self.exponent >= 0 {
            return self.clone();
        }
        let (kept, rest) = cut(self, 0);
        let up = match round {
            Round::Nearest => rest == Some(Ordering::Greater) || rest == Some(Ordering::Equal) && kept & 1 == 1,
            Round::Away => matches!(rest, Some(Ordering::Greater | Ordering::Equal)),
            Round::Zero => false,
            Round::Down => self.negative && rest.is_some(),
            Round::Up => !self.negative && rest.is_some(),
        };
        Exact { negative: self.negative, magnitude: vec![kept + u64::from(up)], exponent: 0, more: false }
    }

    /// The integer that it is, at the ends of `i128` where it is beyond them.
    pub fn to_integer(&self) -> i128 {
        if bit_length(&self.magnitude) as i32 + self.exponent > 120 {
            return if self.negative { i128::MIN } else { i128::MAX };
        }
        let words = shifted(&self.magnitude, self.exponent.max(0) as u32);
        let value = i128::from(words[0]) | i128::from(words.get(1).copied().unwrap_or(0)) << 64;
        if self.negative { -value } else { value }
    }
}

/// The reference's reference: sums, products, quotients and roots of the machine, which rounds to nearest.
#[test]
fn rounding_to_nearest_is_that_of_the_machine() {
    let value = |format: Format, bits: u64| match format.number(bits) {
        Number::Finite(exact) => exact,
        other => panic!("{other:?}"),
    };
    let mut bits = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..20_000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (x, y) = (f64::from_bits(bits), f64::from_bits(bits.rotate_left(20) ^ (bits >> 1)));
        let (p, q) = (f32::from_bits((bits >> 32) as u32), f32::from_bits((bits >> 9) as u32));
        if x.is_finite() && y.is_finite() && y != 0.0 {
            let (a, b) = (value(F64, x.to_bits()), value(F64, y.to_bits()));
            assert_eq!(F64.round(&a.plus(&b, Round::Nearest), Round::Nearest), (x + y).to_bits());
            assert_eq!(F64.round(&a.times(&b), Round::Nearest), (x * y).to_bits());
            assert_eq!(F64.round(&a.over(&b), Round::Nearest), (x / y).to_bits());
            assert_eq!(F64.round(&value(F64, x.abs().to_bits()).root(), Round::Nearest), x.abs().sqrt().to_bits());
            assert_eq!(F32.round(&a, Round::Nearest), u64::from((x as f32).to_bits()));
            assert_eq!(
                a.integral(Round::Zero).to_integer().clamp(i64::MIN.into(), i64::MAX.into()),
                i128::from(x as i64)
            );
        }
        if p.is_finite() && q.is_finite() && q != 0.0 {
            let (a, b) = (value(F32, u64::from(p.to_bits())), value(F32, u64::from(q.to_bits())));
            assert_eq!(F32.round(&a.times(&b), Round::Nearest), u64::from((p * q).to_bits()));
            assert_eq!(F32.round(&a.over(&b), Round::Nearest), u64::from((p / q).to_bits()));
        }
    }
}
