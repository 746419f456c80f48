//! Bits: logic, shifts, fields, bytes, counts. References go bit by bit.

use crate::case::{Case, form, scalar};
use crate::integers::{S16, S32, S64, Type, U16, U32, U64};
use crate::values::Kind::{self, Amount, I16, I32, I64};

fn bit(value: u64, at: u64) -> u64 {
    if at < 64 { value >> at & 1 } else { 0 }
}

/// A number made of its bits.
fn bits(count: u64, of: impl Fn(u64) -> u64) -> u64 {
    (0..count).fold(0, |value, at| value | of(at) << at)
}

fn logic() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [I16, I32, I64] {
        let name = kind.register();
        cases.extend([
            scalar(&format!("and{name}"), kind, &[kind; 2], |v| bits(64, |at| bit(v[0], at) & bit(v[1], at))),
            scalar(&format!("or{name}"), kind, &[kind; 2], |v| bits(64, |at| bit(v[0], at) | bit(v[1], at))),
            scalar(&format!("xor{name}"), kind, &[kind; 2], |v| bits(64, |at| bit(v[0], at) ^ bit(v[1], at))),
            scalar(&format!("not{name}"), kind, &[kind], |v| bits(64, |at| 1 - bit(v[0], at))),
            scalar(&format!("cnot{name}"), kind, &[kind], |v| u64::from(v[0] == 0)),
        ]);
    }
    for kind in [I32, I64] {
        let (name, width) = (kind.register(), u64::from(kind.bits()));
        let ones = move |value: u64| (0..width).map(|at| bit(value, at)).sum();
        let zeros = move |value: u64| (0..width).rev().take_while(|at| bit(value, *at) == 0).count() as u64;
        cases.extend([
            scalar(&format!("brev{name}"), kind, &[kind], move |v| bits(width, |at| bit(v[0], width - 1 - at))),
            scalar(&format!("popc{name}"), I32, &[kind], move |v| ones(v[0])),
            scalar(&format!("clz{name}"), I32, &[kind], move |v| zeros(v[0])),
        ]);
    }
    cases
}

/// Shifts by the width and more leave zeros, or signs; 16 and 64 bits are shifted by 32-bit amounts too.
fn shifts() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [I16, I32, I64] {
        let name = kind.register();
        cases.push(scalar(&format!("shl{name}"), kind, &[kind, Amount], |v| {
            bits(64, |at| if at >= v[1] { bit(v[0], at - v[1]) } else { 0 })
        }));
    }
    let types = [U16, S16, U32, S32, U64, S64];
    let bare = [I16, I32, I64].map(|kind| Type { name: &kind.register()[1..], kind, signed: false });
    for ty in types.into_iter().chain(bare) {
        let width = u64::from(ty.bits());
        cases.push(scalar(&format!("shr.{}", ty.name), ty.kind, &[ty.kind, Amount], move |v| {
            let top = if ty.signed { bit(v[0], width - 1) } else { 0 };
            bits(width, |at| if at + v[1] < width { bit(v[0], at + v[1]) } else { top })
        }));
    }
    cases
}

/// Funnel shifts of `b:a`: the upper word shifted left, or the lower word shifted right.
fn funnels() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in ["clamp", "wrap"] {
        let amount = move |c: u64| if mode == "clamp" { c.min(32) } else { c & 31 };
        let joined = |v: &[u64]| v[1] << 32 | v[0];
        cases.push(scalar(&format!("shf.l.{mode}.b32"), I32, &[I32, I32, Amount], move |v| {
            bits(32, |at| bit(joined(v), at + 32 - amount(v[2])))
        }));
        cases.push(scalar(&format!("shf.r.{mode}.b32"), I32, &[I32, I32, Amount], move |v| {
            bits(32, |at| bit(joined(v), at + amount(v[2])))
        }));
    }
    cases
}

/// Position and length are the low bytes of their operands. Bits beyond the width are zero, or the sign: that of the
/// field's last bit, or of the operand where the field ends beyond it.
fn extracts() -> Vec<Case> {
    let field = |ty: Type| {
        let width = u64::from(ty.bits());
        scalar(&format!("bfe.{}", ty.name), ty.kind, &[ty.kind, Amount, Amount], move |v| {
            let (position, length) = (v[1] & 0xff, v[2] & 0xff);
            let sign = if !ty.signed || length == 0 { 0 } else { bit(v[0], (position + length - 1).min(width - 1)) };
            bits(width, |at| if at < length && position + at < width { bit(v[0], position + at) } else { sign })
        })
    };
    [U32, S32, U64, S64].map(field).into()
}

fn inserts() -> Vec<Case> {
    let field =
        |kind: Kind| {
            let width = u64::from(kind.bits());
            scalar(&format!("bfi{}", kind.register()), kind, &[kind, kind, Amount, Amount], move |v| {
                let (position, length) = (v[2] & 0xff, v[3] & 0xff);
                bits(width, |at| {
                    if at >= position && at < position + length { bit(v[0], at - position) } else { bit(v[1], at) }
                })
            })
        };
    [I32, I64].map(field).into()
}

/// The place of the highest bit that is no sign, and the shift that brings it to the top.
fn finds() -> Vec<Case> {
    let mut cases = Vec::new();
    for ty in [U32, S32, U64, S64] {
        let width = u64::from(ty.bits());
        let highest = move |value: u64| {
            let sign = if ty.signed { bit(value, width - 1) } else { 0 };
            (0..width).rev().find(|at| bit(value, *at) != sign)
        };
        let none = 0xffff_ffff;
        cases.push(scalar(&format!("bfind.{}", ty.name), I32, &[ty.kind], move |v| highest(v[0]).unwrap_or(none)));
        cases.push(scalar(&format!("bfind.shiftamt.{}", ty.name), I32, &[ty.kind], move |v| {
            highest(v[0]).map_or(none, |at| width - 1 - at)
        }));
    }
    cases
}

/// Bytes of `b:a`, four of eight. The modes are tables of the manual: bytes 3, 2, 1, 0 for each selector.
fn permutations() -> Vec<Case> {
    let byte = |v: &[u64], i: u64| (v[1] << 32 | v[0]) >> (8 * i) & 0xff;
    let mut cases = vec![scalar("prmt.b32", I32, &[I32, I32, I32], move |v| {
        (0..4).fold(0, |word, i| {
            let selector = v[2] >> (4 * i) & 0xf;
            let found = byte(v, selector & 7);
            let found = if selector & 8 == 0 { found } else { 0xff * (found >> 7) };
            word | found << (8 * i)
        })
    })];
    let tables: [(&str, [u64; 4]); 6] = [
        ("f4e", [0x3210, 0x4321, 0x5432, 0x6543]),
        ("b4e", [0x5670, 0x6701, 0x7012, 0x0123]),
        ("rc8", [0x0000, 0x1111, 0x2222, 0x3333]),
        ("ecl", [0x3210, 0x3211, 0x3222, 0x3333]),
        ("ecr", [0x0000, 0x1110, 0x2210, 0x3210]),
        ("rc16", [0x1010, 0x3232, 0x1010, 0x3232]),
    ];
    for (mode, table) in tables {
        cases.push(scalar(&format!("prmt.b32.{mode}"), I32, &[I32, I32, I32], move |v| {
            let selectors = table[(v[2] & 3) as usize];
            (0..4).fold(0, |word, i| word | byte(v, selectors >> (4 * i) & 0xf) << (8 * i))
        }));
    }
    cases
}

/// All 256 tables, eight results a kernel: a table's bit `4 a + 2 b + c` is the result of these three bits.
fn tables() -> Vec<Case> {
    let group = |first: u64| {
        let text: String = (0..8).map(|k| format!("lop3.b32 %d{k}, %a0, %a1, %a2, {:#x};\n", first + k)).collect();
        form(text.trim_end(), &[I32; 8], &[I32; 3], move |v| {
            let of = |table: u64| bits(32, |at| bit(table, bit(v[0], at) << 2 | bit(v[1], at) << 1 | bit(v[2], at)));
            (first..first + 8).map(of).collect()
        })
    };
    (0..32).map(|i| group(8 * i)).collect()
}

/// Parts of a register, the first lowest.
fn parts() -> Vec<Case> {
    let mut cases = vec![
        form("mov.b32 %d0, {%a0, %a1};", &[I32], &[I16; 2], |v| vec![v[1] << 16 | v[0]]),
        form("mov.b64 %d0, {%a0, %a1};", &[I64], &[I32; 2], |v| vec![v[1] << 32 | v[0]]),
        form("mov.b64 %d0, {%a0, %a1, %a2, %a3};", &[I64], &[I16; 4], |v| {
            vec![v[3] << 48 | v[2] << 32 | v[1] << 16 | v[0]]
        }),
        form("mov.b32 {%d0, %d1}, %a0;", &[I16; 2], &[I32], |v| vec![v[0], v[0] >> 16]),
        form("mov.b64 {%d0, %d1}, %a0;", &[I32; 2], &[I64], |v| vec![v[0], v[0] >> 32]),
        form("mov.b64 {%d0, %d1, %d2, %d3}, %a0;", &[I16; 4], &[I64], |v| (0..4).map(|i| v[0] >> (16 * i)).collect()),
        form("mov.b32 {%d0, _}, %a0;", &[I16], &[I32], |v| vec![v[0]]),
        form("mov.b64 {_, %d0}, %a0;", &[I32], &[I64], |v| vec![v[0] >> 32]),
    ];
    let plain = [
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
    cases.extend(plain.map(|(name, kind)| scalar(&format!("mov.{name}"), kind, &[kind], |v| v[0])));
    cases
}

pub fn cases() -> Vec<Case> {
    [logic(), shifts(), funnels(), extracts(), inserts(), finds(), permutations(), tables(), parts()]
        .into_iter()
        .flatten()
        .collect()
}
