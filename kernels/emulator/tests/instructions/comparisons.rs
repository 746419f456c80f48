//! Comparisons, and choices by them.

use std::cmp::Ordering;

use crate::case::{Case, form, scalar};
use crate::exact::{BF16, F16, F32, F64, Format};
use crate::integers;
use crate::values::Kind::{self, I16, I32, I64, Pred};

/// How two operands compare; `None` where one is NaN.
type Relation = Option<Ordering>;

/// Names of comparisons, and whether they hold of a relation.
type Operator = (&'static str, fn(Relation) -> bool);

const SIGNED: [Operator; 6] = [
    ("eq", |r| r == Some(Ordering::Equal)),
    ("ne", |r| matches!(r, Some(Ordering::Less | Ordering::Greater))),
    ("lt", |r| r == Some(Ordering::Less)),
    ("le", |r| matches!(r, Some(Ordering::Less | Ordering::Equal))),
    ("gt", |r| r == Some(Ordering::Greater)),
    ("ge", |r| matches!(r, Some(Ordering::Greater | Ordering::Equal))),
];

/// Other names, of unsigned comparisons only.
const UNSIGNED: [Operator; 4] = [("lo", SIGNED[2].1), ("ls", SIGNED[3].1), ("hi", SIGNED[4].1), ("hs", SIGNED[5].1)];

/// True of NaN as well, and those that ask for it.
const UNORDERED: [Operator; 8] = [
    ("equ", |r| matches!(r, None | Some(Ordering::Equal))),
    ("neu", |r| r != Some(Ordering::Equal)),
    ("ltu", |r| matches!(r, None | Some(Ordering::Less))),
    ("leu", |r| r != Some(Ordering::Greater)),
    ("gtu", |r| matches!(r, None | Some(Ordering::Greater))),
    ("geu", |r| r != Some(Ordering::Less)),
    ("num", |r| r.is_some()),
    ("nan", |r| r.is_none()),
];

/// A type of operands, and how they compare.
#[derive(Clone, Copy)]
struct Type {
    name: &'static str,
    kind: Kind,
    compare: fn(u64, u64) -> Relation,
}

fn floats(format: Format, a: u64, b: u64) -> Relation {
    let key = |bits: u64| {
        let magnitude = (bits & !format.sign()) as i64;
        if bits & format.sign() != 0 { -magnitude } else { magnitude }
    };
    (!format.is_nan(a) && !format.is_nan(b)).then(|| key(a).cmp(&key(b)))
}

const FLOATS: [Type; 4] = [
    Type { name: "f32", kind: Kind::F32, compare: |a, b| floats(F32, a, b) },
    Type { name: "f64", kind: Kind::F64, compare: |a, b| floats(F64, a, b) },
    Type { name: "f16", kind: Kind::F16, compare: |a, b| floats(F16, a, b) },
    Type { name: "bf16", kind: Kind::Bf16, compare: |a, b| floats(BF16, a, b) },
];

const FLUSHED: Type = Type { name: "f32", kind: Kind::F32, compare: |a, b| floats(F32, F32.flush(a), F32.flush(b)) };

const INTEGERS: [Type; 9] = [
    Type { name: "u16", kind: I16, compare: |a, b| Some(a.cmp(&b)) },
    Type { name: "u32", kind: I32, compare: |a, b| Some(a.cmp(&b)) },
    Type { name: "u64", kind: I64, compare: |a, b| Some(a.cmp(&b)) },
    Type { name: "s16", kind: I16, compare: |a, b| Some(integers::S16.value(a).cmp(&integers::S16.value(b))) },
    Type { name: "s32", kind: I32, compare: |a, b| Some(integers::S32.value(a).cmp(&integers::S32.value(b))) },
    Type { name: "s64", kind: I64, compare: |a, b| Some(integers::S64.value(a).cmp(&integers::S64.value(b))) },
    Type { name: "b16", kind: I16, compare: |a, b| Some(a.cmp(&b)) },
    Type { name: "b32", kind: I32, compare: |a, b| Some(a.cmp(&b)) },
    Type { name: "b64", kind: I64, compare: |a, b| Some(a.cmp(&b)) },
];

/// `setp` in its forms: one result, two, and both with a third predicate, plain or negated.
fn setp(ty: Type, (name, holds): Operator, ftz: &'static str) -> Vec<Case> {
    let of = move |v: &[u64]| holds((ty.compare)(v[0], v[1]));
    let tail = ty.name;
    let mut cases = vec![scalar(&format!("setp.{name}{ftz}.{tail}"), Pred, &[ty.kind; 2], move |v| u64::from(of(v)))];
    // Comparisons of 16-bit floats have one result.
    let both = !matches!(ty.kind, Kind::F16 | Kind::Bf16);
    let (results, places) = if both { (&[Pred, Pred][..], "%d0|%d1") } else { (&[Pred][..], "%d0") };
    let two = move |first: bool, second: bool| [u64::from(first), u64::from(second)][..results.len()].to_vec();
    cases.push(form(&format!("setp.{name}{ftz}.{tail} {places}, %a0, %a1;"), results, &[ty.kind; 2], move |v| {
        two(of(v), !of(v))
    }));
    for logic in ["and", "or", "xor"] {
        let join = move |a: bool, b: bool| match logic {
            "and" => a & b,
            "or" => a | b,
            _ => a ^ b,
        };
        for not in ["", "!"] {
            let text = format!("setp.{name}.{logic}{ftz}.{tail} {places}, %a0, %a1, {not}%a2;");
            cases.push(form(&text, results, &[ty.kind, ty.kind, Pred], move |v| {
                let third = (v[2] != 0) != (not == "!");
                two(join(of(v), third), join(!of(v), third))
            }));
        }
    }
    cases
}

/// `set`: all ones, or 1.0, where it holds.
fn set(ty: Type, (name, holds): Operator) -> Vec<Case> {
    let mut cases = Vec::new();
    for (into, yes) in [("u32", 0xffff_ffff), ("s32", 0xffff_ffff), ("f32", 0x3f80_0000u64)] {
        let of = move |v: &[u64]| holds((ty.compare)(v[0], v[1]));
        let tail = format!("{into}.{}", ty.name);
        cases.push(scalar(&format!("set.{name}.{tail}"), I32, &[ty.kind; 2], move |v| if of(v) { yes } else { 0 }));
        let text = format!("set.{name}.xor.{tail} %d0, %a0, %a1, !%a2;");
        cases.push(form(&text, &[I32], &[ty.kind, ty.kind, Pred], move |v| {
            vec![if of(v) != (v[2] == 0) { yes } else { 0 }]
        }));
    }
    cases
}

/// `a` where the third operand is not below zero; zeros of both signs are not, and NaN is.
fn choices() -> Vec<Case> {
    let names = [
        ("b16", I16),
        ("u16", I16),
        ("s16", I16),
        ("b32", I32),
        ("u32", I32),
        ("s32", I32),
        ("f32", I32),
        ("b64", I64),
        ("u64", I64),
        ("s64", I64),
        ("f64", I64),
    ];
    let mut cases = Vec::new();
    for (name, kind) in names {
        cases.push(scalar(&format!("selp.{name}"), kind, &[kind, kind, Pred], |v| if v[2] != 0 { v[0] } else { v[1] }));
        cases.push(scalar(&format!("slct.{name}.s32"), kind, &[kind, kind, I32], |v| {
            if integers::S32.value(v[2]) >= 0 { v[0] } else { v[1] }
        }));
        for ftz in [false, true] {
            let flag = if ftz { ".ftz" } else { "" };
            cases.push(scalar(&format!("slct{flag}.{name}.f32"), kind, &[kind, kind, Kind::F32], move |v| {
                let third = if ftz { F32.flush(v[2]) } else { v[2] };
                let below = !matches!(floats(F32, third, 0), Some(Ordering::Greater | Ordering::Equal));
                if below { v[1] } else { v[0] }
            }));
        }
    }
    cases
}

pub fn cases() -> Vec<Case> {
    let mut cases = choices();
    for ty in INTEGERS {
        // Bits have no order.
        let operators = if ty.name.starts_with('b') { &SIGNED[..2] } else { &SIGNED[..] };
        let others = if ty.name.starts_with('u') { &UNSIGNED[..] } else { &[] };
        for operator in operators.iter().chain(others) {
            cases.extend(setp(ty, *operator, ""));
            if ty.kind == I32 {
                cases.extend(set(ty, *operator));
            }
        }
    }
    for operator in SIGNED.into_iter().chain(UNORDERED) {
        for ty in FLOATS {
            cases.extend(setp(ty, operator, ""));
        }
        cases.extend(setp(FLUSHED, operator, ".ftz"));
        cases.extend(set(FLOATS[0], operator));
    }
    cases
}
