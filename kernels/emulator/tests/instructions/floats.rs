//! Floating-point arithmetic that is rounded as IEEE 754 says, in every direction and format.

use crate::case::{Case, form, judged, same_but_signs_of_zeros, scalar};
use crate::exact::{BF16, Exact, F16, F32, F64, Format, Number, Round};
use crate::values::Kind;

/// A type: its name, format and registers.
#[derive(Clone, Copy)]
pub struct Type {
    pub name: &'static str,
    pub format: Format,
    pub kind: Kind,
    /// Numbers in a register.
    count: u32,
}

pub const TYPES: [Type; 6] = [
    Type { name: "f32", format: F32, kind: Kind::F32, count: 1 },
    Type { name: "f64", format: F64, kind: Kind::F64, count: 1 },
    Type { name: "f16", format: F16, kind: Kind::F16, count: 1 },
    Type { name: "f16x2", format: F16, kind: Kind::F16x2, count: 2 },
    Type { name: "bf16", format: BF16, kind: Kind::Bf16, count: 1 },
    Type { name: "bf16x2", format: BF16, kind: Kind::Bf16x2, count: 2 },
];

impl Type {
    /// Applies a function of single numbers to each in a register.
    fn each(self, values: &[u64], of: impl Fn(&[u64]) -> u64) -> u64 {
        let bits = self.kind.bits() / self.count;
        let part = |value: u64, k: u32| value >> (bits * k) & (u64::MAX >> (64 - bits));
        (0..self.count).fold(0, |word, k| {
            let values: Vec<u64> = values.iter().map(|value| part(*value, k)).collect();
            word | of(&values) << (bits * k)
        })
    }
}

/// What modifiers do around an operation.
#[derive(Clone, Copy, Debug)]
pub struct Modifiers {
    pub round: Round,
    pub ftz: bool,
    pub sat: bool,
    pub relu: bool,
}

impl Modifiers {
    /// The operation on exact numbers, rounded once.
    fn apply(self, format: Format, values: &[u64], of: fn(&[Number], Round) -> Number) -> u64 {
        let flush = |bits: u64| if self.ftz { format.flush(bits) } else { bits };
        let numbers: Vec<Number> = values.iter().map(|bits| format.number(flush(*bits))).collect();
        let result = match of(&numbers, self.round) {
            Number::Nan => format.nan(),
            Number::Infinite(negative) => format.infinity() | if negative { format.sign() } else { 0 },
            Number::Finite(exact) => format.round(&exact, self.round),
        };
        self.limit(format, flush(result))
    }

    /// `.sat` and `.relu`.
    pub fn limit(self, format: Format, bits: u64) -> u64 {
        let one = format.round(&Exact::integer(1), Round::Nearest);
        let negative = bits & format.sign() != 0;
        match format.is_nan(bits) {
            true if self.sat => 0,
            true => format.nan(),
            false if (self.sat || self.relu) && negative => 0,
            false if self.sat && bits > one => one,
            false => bits,
        }
    }

    fn name(self) -> String {
        let flag = |set: bool, name: &str| if set { format!(".{name}") } else { String::new() };
        flag(self.ftz, "ftz") + &flag(self.sat, "sat") + &flag(self.relu, "relu")
    }
}

fn is_zero(number: &Number) -> bool {
    matches!(number, Number::Finite(exact) if exact.is_zero())
}

fn is_negative(number: &Number) -> bool {
    match number {
        Number::Nan => false,
        Number::Infinite(negative) => *negative,
        Number::Finite(exact) => exact.negative,
    }
}

fn add(numbers: &[Number], round: Round) -> Number {
    match numbers {
        [Number::Finite(a), Number::Finite(b)] => Number::Finite(a.plus(b, round)),
        [Number::Nan, _] | [_, Number::Nan] => Number::Nan,
        [Number::Infinite(a), Number::Infinite(b)] if a != b => Number::Nan,
        [Number::Infinite(a), _] | [_, Number::Infinite(a)] => Number::Infinite(*a),
        _ => unreachable!("two numbers"),
    }
}

fn subtract(numbers: &[Number], round: Round) -> Number {
    let second = match numbers[1].clone() {
        Number::Nan => Number::Nan,
        Number::Infinite(negative) => Number::Infinite(!negative),
        Number::Finite(exact) => Number::Finite(exact.negated()),
    };
    add(&[numbers[0].clone(), second], round)
}

fn multiply(numbers: &[Number], _: Round) -> Number {
    let (a, b) = (&numbers[0], &numbers[1]);
    match (a, b) {
        (Number::Nan, _) | (_, Number::Nan) => Number::Nan,
        (Number::Finite(a), Number::Finite(b)) => Number::Finite(a.times(b)),
        _ if is_zero(a) || is_zero(b) => Number::Nan,
        _ => Number::Infinite(is_negative(a) != is_negative(b)),
    }
}

fn fused(numbers: &[Number], round: Round) -> Number {
    add(&[multiply(&numbers[..2], round), numbers[2].clone()], round)
}

fn divide(numbers: &[Number], _: Round) -> Number {
    let (a, b) = (&numbers[0], &numbers[1]);
    let negative = is_negative(a) != is_negative(b);
    match (a, b) {
        (Number::Nan, _) | (_, Number::Nan) | (Number::Infinite(_), Number::Infinite(_)) => Number::Nan,
        _ if is_zero(a) && is_zero(b) => Number::Nan,
        (Number::Infinite(_), _) => Number::Infinite(negative),
        (_, Number::Infinite(_)) => {
            let zero = Exact::integer(0);
            Number::Finite(if negative { zero.negated() } else { zero })
        }
        _ if is_zero(b) => Number::Infinite(negative),
        (Number::Finite(a), Number::Finite(b)) => Number::Finite(a.over(b)),
    }
}

fn reciprocal(numbers: &[Number], round: Round) -> Number {
    divide(&[Number::Finite(Exact::integer(1)), numbers[0].clone()], round)
}

fn root(numbers: &[Number], _: Round) -> Number {
    match &numbers[0] {
        Number::Infinite(false) => Number::Infinite(false),
        Number::Finite(exact) if exact.is_zero() || !exact.negative => Number::Finite(exact.root()),
        _ => Number::Nan,
    }
}

type Operation = fn(&[Number], Round) -> Number;

/// `name{.round}{modifiers}.type` of so many operands.
fn operation(name: &str, ty: Type, count: usize, modifiers: Modifiers, round: &str, of: Operation) -> Case {
    let opcode = format!("{name}{round}{}.{}", modifiers.name(), ty.name);
    let operands = vec![ty.kind; count];
    if modifiers.relu {
        // What `.relu` makes of -0 the manual leaves open.
        let places: String = (0..count).map(|k| format!(", %a{k}")).collect();
        return judged(&format!("{opcode} %d0{places};"), &[ty.kind], &operands, move |v, found| {
            let expected = ty.each(v, |v| modifiers.apply(ty.format, v, of));
            let same = same_but_signs_of_zeros(expected, found[0]);
            if same { Ok(()) } else { Err(format!("expected {expected:x}")) }
        });
    }
    scalar(&opcode, ty.kind, &operands, move |v| ty.each(v, |v| modifiers.apply(ty.format, v, of)))
}

/// Everything that a type has of one operation; `bare` is whether the direction may be left out.
fn family(name: &str, ty: Type, count: usize, bare: bool, of: Operation) -> Vec<Case> {
    let short = ty.kind != Kind::F32 && ty.kind != Kind::F64;
    let brain = ty.format == BF16;
    let divides = matches!(name, "div" | "rcp" | "sqrt");
    if short && divides {
        return Vec::new();
    }
    let mut cases = Vec::new();
    for (direction, round) in Round::FOUR.into_iter().take(if short { 1 } else { 4 }) {
        for flags in 0..8u32 {
            let modifiers = Modifiers { round, ftz: flags & 1 != 0, sat: flags & 2 != 0, relu: flags & 4 != 0 };
            let wrong = (modifiers.ftz || modifiers.sat) && (ty.kind == Kind::F64 || brain)
                || modifiers.sat && (divides || modifiers.relu)
                || modifiers.relu && !(short && name == "fma");
            if wrong {
                continue;
            }
            cases.push(operation(name, ty, count, modifiers, &format!(".{direction}"), of));
            if bare && round == Round::Nearest {
                cases.push(operation(name, ty, count, modifiers, "", of));
            }
        }
    }
    cases
}

/// The smaller or larger: a number rather than NaN, unless `.NaN`; +0 is larger than -0.
fn extreme(name: &'static str, ty: Type, ftz: bool, nan: bool) -> Case {
    let flags = format!("{}{}", if ftz { ".ftz" } else { "" }, if nan { ".NaN" } else { "" });
    let format = ty.format;
    let of = move |v: &[u64]| {
        let flush = |bits: u64| if ftz { format.flush(bits) } else { bits };
        let (a, b) = (flush(v[0]), flush(v[1]));
        // Bits in the order of the numbers.
        let key = |bits: u64| {
            let magnitude = (bits & !format.sign()) as i64;
            if bits & format.sign() != 0 { -1 - magnitude } else { magnitude }
        };
        match (format.is_nan(a), format.is_nan(b)) {
            (true, true) => format.nan(),
            (true, false) | (false, true) if nan => format.nan(),
            (true, false) => b,
            (false, true) => a,
            _ if (key(a) < key(b)) == (name == "min") => a,
            _ => b,
        }
    };
    let bits = ty.kind;
    let opcode = format!("{name}{flags}.{} %d0, %a0, %a1;", ty.name);
    // The bits of a NaN are named here: those of the canonical one.
    let exact = if bits.bits() == 64 { bits } else { [Kind::I16, Kind::I32][bits.bits() as usize / 16 - 1] };
    form(&opcode, &[exact], &[bits; 2], move |v| vec![ty.each(v, of)])
}

fn signs(ty: Type) -> Vec<Case> {
    let format = ty.format;
    let mut cases = vec![
        scalar(&format!("abs.{}", ty.name), ty.kind, &[ty.kind], move |v| ty.each(v, |v| v[0] & !format.sign())),
        scalar(&format!("neg.{}", ty.name), ty.kind, &[ty.kind], move |v| ty.each(v, |v| v[0] ^ format.sign())),
    ];
    if matches!(ty.name, "f32" | "f16" | "f16x2") {
        let flushed = move |v: &[u64], of: fn(u64, u64) -> u64| ty.each(v, |v| of(format.flush(v[0]), format.sign()));
        cases.extend([
            scalar(&format!("abs.ftz.{}", ty.name), ty.kind, &[ty.kind], move |v| flushed(v, |a, sign| a & !sign)),
            scalar(&format!("neg.ftz.{}", ty.name), ty.kind, &[ty.kind], move |v| flushed(v, |a, sign| a ^ sign)),
        ]);
    }
    if matches!(ty.name, "f32" | "f64") {
        let exact = if ty.name == "f32" { Kind::I32 } else { Kind::I64 };
        cases.push(form(&format!("copysign.{} %d0, %a0, %a1;", ty.name), &[exact], &[ty.kind; 2], move |v| {
            vec![v[1] & !format.sign() | v[0] & format.sign()]
        }));
        cases.extend(properties(ty));
    }
    cases
}

/// Zeros count as normal numbers.
fn properties(ty: Type) -> Vec<Case> {
    let format = ty.format;
    let property = |name: &str, of: fn(Format, u64) -> bool| {
        scalar(&format!("testp.{name}.{}", ty.name), Kind::Pred, &[ty.kind], move |v| u64::from(of(format, v[0])))
    };
    vec![
        property("finite", |format, bits| bits & !format.sign() < format.infinity()),
        property("infinite", |format, bits| bits & !format.sign() == format.infinity()),
        property("number", |format, bits| !format.is_nan(bits)),
        property("notanumber", Format::is_nan),
        property("normal", |format, bits| bits & !format.sign() < format.infinity() && !format.is_subnormal(bits)),
        property("subnormal", Format::is_subnormal),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for ty in TYPES {
        cases.extend(family("add", ty, 2, true, add));
        cases.extend(family("sub", ty, 2, true, subtract));
        cases.extend(family("mul", ty, 2, true, multiply));
        cases.extend(family("fma", ty, 3, false, fused));
        cases.extend(family("div", ty, 2, false, divide));
        cases.extend(family("rcp", ty, 1, false, reciprocal));
        cases.extend(family("sqrt", ty, 1, false, root));
        cases.extend(signs(ty));
        for name in ["min", "max"] {
            for nan in [false, true] {
                if nan && ty.name == "f64" {
                    continue;
                }
                cases.push(extreme(name, ty, false, nan));
                if ty.name != "f64" && ty.format != BF16 {
                    cases.push(extreme(name, ty, true, nan));
                }
            }
        }
    }
    cases
}
