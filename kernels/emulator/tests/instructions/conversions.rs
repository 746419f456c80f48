//! `cvt` between all types, in every direction, with its clamps.

use crate::case::{Case, form, judged, same_but_signs_of_zeros, scalar};
use crate::exact::{BF16, Exact, F16, F32, F64, Format, Number, Round, TF32};
use crate::floats::Modifiers;
use crate::integers;
use crate::values::Kind;

/// Integer types and registers for them: 8 bits lie in registers of 16.
const INTEGERS: [integers::Type; 8] = [
    integers::Type { name: "u8", kind: Kind::I16, signed: false },
    integers::Type { name: "s8", kind: Kind::I16, signed: true },
    integers::U16,
    integers::S16,
    integers::U32,
    integers::S32,
    integers::U64,
    integers::S64,
];

const FLOATS: [(&str, Format, Kind); 4] =
    [("f16", F16, Kind::F16), ("bf16", BF16, Kind::Bf16), ("f32", F32, Kind::F32), ("f64", F64, Kind::F64)];

const INTEGRAL: [(&str, Round); 4] =
    [("rni", Round::Nearest), ("rzi", Round::Zero), ("rmi", Round::Down), ("rpi", Round::Up)];

const PLAIN: Modifiers = Modifiers { round: Round::Nearest, ftz: false, sat: false, relu: false };

fn width(ty: integers::Type) -> u32 {
    if ty.name.ends_with('8') { 8 } else { ty.bits() }
}

fn range(ty: integers::Type) -> (i128, i128) {
    let bits = width(ty);
    if ty.signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// The number in the low bits of a register.
fn value(ty: integers::Type, bits: u64) -> i128 {
    let (least, _) = range(ty);
    let bits = i128::from(bits & (u64::MAX >> (64 - width(ty))));
    if least < 0 && bits >= -least { bits + 2 * least } else { bits }
}

/// The low bits are kept, and extended to the register by the destination's sign.
fn between_integers(to: integers::Type, from: integers::Type) -> Vec<Case> {
    let text = |flag: &str| format!("cvt{flag}.{}.{} %d0, %a0;", to.name, from.name);
    let mut cases = Vec::new();
    let registers = [Kind::I16, Kind::I32, Kind::I64].into_iter().filter(|kind| kind.bits() >= to.bits());
    for register in registers {
        cases.push(form(&text(""), &[register], &[from.kind], move |v| {
            vec![value(to, value(from, v[0]) as u64) as u64]
        }));
        // Only where there is something to clamp.
        let ((least, greatest), (from_least, from_greatest)) = (range(to), range(from));
        if from_least >= least && from_greatest <= greatest {
            continue;
        }
        cases.push(form(&text(".sat"), &[register], &[from.kind], move |v| {
            let (least, greatest) = range(to);
            vec![value(from, v[0]).clamp(least, greatest) as u64]
        }));
    }
    // A source in a wider register: the bits above its type do not count.
    let wider = if from.bits() == 16 { Kind::I32 } else { Kind::I64 };
    if wider != from.kind {
        cases.push(form(&text(""), &[to.kind], &[wider], move |v| vec![value(to, value(from, v[0]) as u64) as u64]));
    }
    cases
}

fn from_integer(to: (&'static str, Format, Kind), from: integers::Type) -> Vec<Case> {
    let case = |(direction, round): (&str, Round)| {
        scalar(&format!("cvt.{direction}.{}.{}", to.0, from.name), to.2, &[from.kind], move |v| {
            to.1.round(&Exact::integer(value(from, v[0])), round)
        })
    };
    Round::FOUR.map(case).into()
}

/// Clamped to the range. NaN is zero, but the top bit alone where either side has 64 bits.
fn to_integer(to: integers::Type, from: (&'static str, Format, Kind)) -> Vec<Case> {
    let mut cases = Vec::new();
    for (direction, round) in INTEGRAL {
        for flags in ["", ".ftz", ".sat"] {
            if flags == ".ftz" && from.0 != "f32" || flags == ".sat" && from.0 == "bf16" {
                continue;
            }
            let text = format!("cvt.{direction}{flags}.{}.{} %d0, %a0;", to.name, from.0);
            cases.push(judged(&text, &[to.kind], &[from.2], move |v, found| {
                let (least, greatest) = range(to);
                let bits = if flags == ".ftz" { from.1.flush(v[0]) } else { v[0] };
                let expected = match from.1.number(bits) {
                    Number::Nan if from.0 == "f64" || to.bits() == 64 => {
                        // Of narrow types the manual's rule and its wording on clamps differ.
                        if to.bits() < 32 {
                            return Ok(());
                        }
                        1 << (to.bits() - 1)
                    }
                    Number::Nan => 0,
                    Number::Infinite(negative) => {
                        if negative {
                            least
                        } else {
                            greatest
                        }
                    }
                    Number::Finite(exact) => exact.integral(round).to_integer().clamp(least, greatest),
                };
                let expected = to.kind.mask(expected as u64);
                if expected == found[0] { Ok(()) } else { Err(format!("expected {expected:x}")) }
            }));
        }
    }
    cases
}

/// A float to another format, or to an integral number in its own.
struct Change {
    to: (&'static str, Format, Kind),
    from: (&'static str, Format, Kind),
    modifiers: Modifiers,
    integral: bool,
}

impl Change {
    fn of(&self, bits: u64) -> u64 {
        let (from, to, modifiers) = (self.from.1, self.to.1, self.modifiers);
        // `.ftz` speaks of f32 alone.
        let flush = |format: Format, bits: u64| if modifiers.ftz && format == F32 { format.flush(bits) } else { bits };
        let result = match from.number(flush(from, bits)) {
            Number::Nan => to.nan(),
            Number::Infinite(negative) => to.infinity() | if negative { to.sign() } else { 0 },
            Number::Finite(exact) if self.integral => to.round(&exact.integral(modifiers.round), Round::Nearest),
            Number::Finite(exact) => to.round(&exact, modifiers.round),
        };
        modifiers.limit(to, flush(to, result))
    }

    /// What `.relu` makes of -0 the manual leaves open.
    fn judge(&self, expected: u64, found: u64) -> Result<(), String> {
        let open = self.modifiers.relu && same_but_signs_of_zeros(expected, found);
        let kind = if self.to.2.bits() == 16 { Kind::I32 } else { self.to.2 };
        if open || kind.same(expected, found) { Ok(()) } else { Err(format!("expected {expected:x}")) }
    }

    fn case(self, flags: &str) -> Case {
        let text = format!("cvt{flags}.{}.{} %d0, %a0;", self.to.0, self.from.0);
        // Bits of NaN are named where the destination is short.
        let kind = if self.to.2.bits() == 16 { Kind::I16 } else { self.to.2 };
        judged(&text, &[kind], &[self.from.2], move |v, found| self.judge(self.of(v[0]), found[0]))
    }
}

fn between_floats() -> Vec<Case> {
    let mut cases = Vec::new();
    for from in FLOATS {
        for to in FLOATS {
            let narrower = to.1.fraction < from.1.fraction || to.1.exponent < from.1.exponent;
            let directions: Vec<_> = match (narrower, to.0) {
                (false, _) => vec![("", Round::Nearest)],
                (true, "f32") | (true, "f16") => Round::FOUR.to_vec(),
                _ => Round::FOUR[..2].to_vec(),
            };
            if to.0 == from.0 {
                continue;
            }
            for (direction, round) in directions {
                let dot = if direction.is_empty() { String::new() } else { format!(".{direction}") };
                let plain = Modifiers { round, ..PLAIN };
                let change = |modifiers| Change { to, from, modifiers, integral: false };
                cases.push(change(plain).case(&dot));
                let single = from.0 == "f32" || to.0 == "f32";
                if single && to.0 != "bf16" && from.0 != "bf16" {
                    cases.push(change(Modifiers { ftz: true, ..plain }).case(&format!("{dot}.ftz")));
                    cases.push(change(Modifiers { sat: true, ..plain }).case(&format!("{dot}.sat")));
                }
                if from.0 == "f32" && to.2.bits() == 16 && matches!(direction, "rn" | "rz") {
                    cases.push(change(Modifiers { relu: true, ..plain }).case(&format!("{dot}.relu")));
                }
            }
        }
    }
    cases
}

fn within_format() -> Vec<Case> {
    let mut cases = Vec::new();
    for ty in [FLOATS[0], FLOATS[2], FLOATS[3]] {
        for (direction, round) in INTEGRAL {
            let change = |modifiers| Change { to: ty, from: ty, modifiers, integral: true };
            let plain = Modifiers { round, ..PLAIN };
            cases.push(change(plain).case(&format!(".{direction}")));
            cases.push(change(Modifiers { sat: true, ..plain }).case(&format!(".{direction}.sat")));
            if ty.0 == "f32" {
                cases.push(change(Modifiers { ftz: true, ..plain }).case(&format!(".{direction}.ftz")));
            }
        }
        let change = |modifiers| Change { to: ty, from: ty, modifiers, integral: false };
        cases.push(change(Modifiers { sat: true, ..PLAIN }).case(".sat"));
        if ty.0 == "f32" {
            cases.push(change(Modifiers { ftz: true, ..PLAIN }).case(".ftz"));
            cases.push(change(Modifiers { ftz: true, sat: true, ..PLAIN }).case(".ftz.sat"));
        }
    }
    cases
}

/// Two f32 to one register: the first becomes the upper half.
fn pairs() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, to) in [("f16x2", FLOATS[0]), ("bf16x2", FLOATS[1])] {
        for (direction, round) in &Round::FOUR[..2] {
            for relu in [false, true] {
                let change = Change {
                    to,
                    from: FLOATS[2],
                    modifiers: Modifiers { round: *round, relu, ..PLAIN },
                    integral: false,
                };
                let flags = if relu { ".relu" } else { "" };
                let text = format!("cvt.{direction}{flags}.{name}.f32 %d0, %a0, %a1;");
                cases.push(judged(&text, &[Kind::I32], &[Kind::F32; 2], move |v, found| {
                    change.judge(change.of(v[0]) << 16 | change.of(v[1]), found[0])
                }));
            }
        }
    }
    cases
}

/// The upper 19 bits; what is below them is nobody's business.
fn tensor_float() -> Case {
    judged("cvt.rna.tf32.f32 %d0, %a0;", &[Kind::F32], &[Kind::F32], |v, found| {
        let expected = match F32.number(v[0]) {
            Number::Nan => return if F32.is_nan(found[0]) { Ok(()) } else { Err("NaN was expected".into()) },
            Number::Infinite(_) => v[0] >> 13,
            Number::Finite(exact) => TF32.round(&exact, Round::Away),
        };
        if found[0] >> 13 == expected { Ok(()) } else { Err(format!("expected {:x}", expected << 13)) }
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for to in INTEGERS {
        for from in INTEGERS {
            cases.extend(between_integers(to, from));
        }
        for float in FLOATS {
            if float.0 == "bf16" && width(to) == 8 {
                continue;
            }
            cases.extend(from_integer(float, to));
            cases.extend(to_integer(to, float));
        }
    }
    cases.extend(between_floats());
    cases.extend(within_format());
    cases.extend(pairs());
    cases.push(tensor_float());
    cases
}
