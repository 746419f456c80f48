//! Integer arithmetic, in integers of 128 bits.

use crate::case::{Case, form, judged, scalar};
use crate::values::Kind::{self, I16, I32, I64, Pred};

/// An integer type: its name, register and signedness.
#[derive(Clone, Copy)]
pub struct Type {
    pub name: &'static str,
    pub kind: Kind,
    pub signed: bool,
}

pub const U16: Type = Type { name: "u16", kind: I16, signed: false };
pub const S16: Type = Type { name: "s16", kind: I16, signed: true };
pub const U32: Type = Type { name: "u32", kind: I32, signed: false };
pub const S32: Type = Type { name: "s32", kind: I32, signed: true };
pub const U64: Type = Type { name: "u64", kind: I64, signed: false };
pub const S64: Type = Type { name: "s64", kind: I64, signed: true };
pub const ALL: [Type; 6] = [U16, S16, U32, S32, U64, S64];

impl Type {
    pub fn bits(self) -> u32 {
        self.kind.bits()
    }

    /// The number that bits stand for.
    pub fn value(self, bits: u64) -> i128 {
        let bits = i128::from(self.kind.mask(bits));
        let sign = self.signed && bits >> (self.bits() - 1) != 0;
        if sign { bits - (1 << self.bits()) } else { bits }
    }

    pub fn least(self) -> i128 {
        if self.signed { -(1 << (self.bits() - 1)) } else { 0 }
    }

    pub fn greatest(self) -> i128 {
        (1 << (self.bits() - u32::from(self.signed))) - 1
    }
}

fn binary(opcode: &str, ty: Type, of: impl Fn(i128, i128) -> i128 + 'static) -> Case {
    scalar(&format!("{opcode}.{}", ty.name), ty.kind, &[ty.kind; 2], move |v| of(ty.value(v[0]), ty.value(v[1])) as u64)
}

fn unary(opcode: &str, ty: Type, of: impl Fn(i128) -> i128 + 'static) -> Case {
    scalar(&format!("{opcode}.{}", ty.name), ty.kind, &[ty.kind], move |v| of(ty.value(v[0])) as u64)
}

/// The product's upper half: the product of 64 bits each has up to 128, unsigned ones more than `i128` holds.
fn high(ty: Type, a: u64, b: u64) -> u64 {
    let (x, y) = (ty.value(a), ty.value(b));
    if ty.signed { ((x * y) >> ty.bits()) as u64 } else { ((x as u128 * y as u128) >> ty.bits()) as u64 }
}

/// The product's lower half.
fn low(ty: Type, a: u64, b: u64) -> u64 {
    ty.value(a).wrapping_mul(ty.value(b)) as u64
}

fn by_type(ty: Type) -> Vec<Case> {
    let kinds = [ty.kind; 3];
    let mut cases = vec![
        binary("add", ty, |a, b| a + b),
        binary("sub", ty, |a, b| a - b),
        binary("min", ty, i128::min),
        binary("max", ty, i128::max),
        scalar(&format!("mul.lo.{}", ty.name), ty.kind, &kinds[..2], move |v| low(ty, v[0], v[1])),
        scalar(&format!("mul.hi.{}", ty.name), ty.kind, &kinds[..2], move |v| high(ty, v[0], v[1])),
        scalar(&format!("mad.lo.{}", ty.name), ty.kind, &kinds, move |v| low(ty, v[0], v[1]).wrapping_add(v[2])),
        scalar(&format!("mad.hi.{}", ty.name), ty.kind, &kinds, move |v| high(ty, v[0], v[1]).wrapping_add(v[2])),
        scalar(&format!("sad.{}", ty.name), ty.kind, &kinds, move |v| {
            let (a, b) = (ty.value(v[0]), ty.value(v[1]));
            ((a - b).abs() + ty.value(v[2])) as u64
        }),
    ];
    cases.extend(["div", "rem"].map(|name| quotient(name, ty)));
    if ty.signed {
        cases.extend([unary("abs", ty, i128::abs), unary("neg", ty, |a| -a)]);
    }
    cases
}

/// Division by zero gives what a machine gives, so nothing is asked of it but that the kernel goes on. The least
/// number by -1 does not fit either: its low bits are taken.
fn quotient(name: &'static str, ty: Type) -> Case {
    let text = format!("{name}.{} %d0, %a0, %a1;", ty.name);
    judged(&text, &[ty.kind], &[ty.kind; 2], move |v, found| {
        let (a, b) = (ty.value(v[0]), ty.value(v[1]));
        if b == 0 || (a == ty.least() && b == -1 && ty.signed) {
            return Ok(());
        }
        let expected = ty.kind.mask(if name == "div" { a / b } else { a % b } as u64);
        if found[0] == expected { Ok(()) } else { Err(format!("expected {expected:x}")) }
    })
}

fn wide(ty: Type, double: Type) -> [Case; 2] {
    let exact = move |v: &[u64]| (ty.value(v[0]).wrapping_mul(ty.value(v[1]))) as u64;
    [
        scalar(&format!("mul.wide.{}", ty.name), double.kind, &[ty.kind; 2], exact),
        scalar(&format!("mad.wide.{}", ty.name), double.kind, &[ty.kind, ty.kind, double.kind], move |v| {
            exact(v).wrapping_add(v[2])
        }),
    ]
}

/// Sums in steps of a register's width: the carry of the first goes into the second.
fn carries(ty: Type, subtract: bool) -> Case {
    let (first, then) = if subtract { ("sub", "subc") } else { ("add", "addc") };
    let name = ty.name;
    let text = format!("{first}.cc.{name} %d0, %a0, %a1;\n{then}.cc.{name} %d1, %a2, %a3;\n{then}.{name} %d2, %a4, 0;");
    let opcodes = [format!("{first}.cc.{name}"), format!("{then}.cc.{name}"), format!("{then}.{name}")];
    let bits = ty.bits();
    let step = move |a: u64, b: u64, carry: bool| {
        let (a, b, carry) = (u128::from(a), u128::from(b), u128::from(carry));
        let exact = if subtract { a.wrapping_sub(b).wrapping_sub(carry) } else { a + b + carry };
        (ty.kind.mask(exact as u64), exact >> bits & 1 != 0)
    };
    let mut case = form(&text, &[ty.kind; 3], &[ty.kind; 5], move |v| {
        let (low, carry) = step(v[0], v[1], false);
        let (middle, carry) = step(v[2], v[3], carry);
        vec![low, middle, step(v[4], 0, carry).0]
    });
    case.opcodes = opcodes.to_vec();
    case
}

fn saturating() -> Vec<Case> {
    let clamp = |value: i128| value.clamp(S32.least(), S32.greatest());
    let high = |v: &[u64]| (S32.value(v[0]) * S32.value(v[1])) >> 32;
    vec![
        scalar("add.sat.s32", I32, &[I32; 2], move |v| clamp(S32.value(v[0]) + S32.value(v[1])) as u64),
        scalar("sub.sat.s32", I32, &[I32; 2], move |v| clamp(S32.value(v[0]) - S32.value(v[1])) as u64),
        scalar("mad.hi.sat.s32", I32, &[I32; 3], move |v| clamp(high(v) + S32.value(v[2])) as u64),
    ]
}

fn dot_products() -> Vec<Case> {
    let byte = |word: u64, i: usize, signed: bool| {
        let byte = (word >> (8 * i)) as u8;
        if signed { i64::from(byte as i8) } else { i64::from(byte) }
    };
    let mut cases = Vec::new();
    for (a, b) in [("u32", "u32"), ("u32", "s32"), ("s32", "u32"), ("s32", "s32")] {
        cases.push(scalar(&format!("dp4a.{a}.{b}"), I32, &[I32; 3], move |v| {
            let sum: i64 = (0..4).map(|i| byte(v[0], i, a == "s32") * byte(v[1], i, b == "s32")).sum();
            v[2].wrapping_add(sum as u64)
        }));
    }
    cases
}

/// Truth values, which have instructions of their own.
fn predicates() -> Vec<Case> {
    vec![
        scalar("and.pred", Pred, &[Pred; 2], |v| v[0] & v[1]),
        scalar("or.pred", Pred, &[Pred; 2], |v| v[0] | v[1]),
        scalar("xor.pred", Pred, &[Pred; 2], |v| v[0] ^ v[1]),
        scalar("not.pred", Pred, &[Pred], |v| v[0] ^ 1),
        scalar("mov.pred", Pred, &[Pred], |v| v[0]),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = ALL.into_iter().flat_map(by_type).collect();
    for (ty, double) in [(U16, U32), (S16, S32), (U32, U64), (S32, S64)] {
        cases.extend(wide(ty, double));
    }
    for ty in [U32, S32, U64, S64] {
        cases.extend([carries(ty, false), carries(ty, true)]);
    }
    cases.extend(saturating());
    cases.extend(dot_products());
    cases.extend(predicates());
    cases
}
