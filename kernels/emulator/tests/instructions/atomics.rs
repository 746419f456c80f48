//! Read-modify-write: what is returned and what is left, of one lane by itself and of 32 at one address.

use crate::case::{Case, judged};
use crate::exact::{BF16, F16, F32, F64, Format, Number, Round};
use crate::integers::{S32, S64};
use crate::values::Kind::{self, I32, I64};

/// What an operation leaves of what was there and its operand.
type Step = fn(u64, u64) -> u64;

/// A sum rounded to nearest.
fn add(format: Format, a: u64, b: u64) -> u64 {
    match (format.number(a), format.number(b)) {
        (Number::Nan, _) | (_, Number::Nan) => format.nan(),
        (Number::Infinite(x), Number::Infinite(y)) if x != y => format.nan(),
        (Number::Infinite(_), _) => a,
        (_, Number::Infinite(_)) => b,
        (Number::Finite(x), Number::Finite(y)) => format.round(&x.plus(&y, Round::Nearest), Round::Nearest),
    }
}

fn add_pair(format: Format, a: u64, b: u64) -> u64 {
    add(format, a >> 16, b >> 16) << 16 | add(format, a & 0xffff, b & 0xffff)
}

/// Operations of two operands: name, type, its registers, what they do.
const OPERATIONS: [(&str, &str, Kind, Step); 31] = [
    ("add", "u32", I32, u64::wrapping_add),
    ("add", "s32", I32, u64::wrapping_add),
    ("add", "u64", I64, u64::wrapping_add),
    ("add", "f64", Kind::F64, |a, b| add(F64, a, b)),
    ("add.noftz", "f16", Kind::F16, |a, b| add(F16, a, b)),
    ("add.noftz", "f16x2", Kind::F16x2, |a, b| add_pair(F16, a, b)),
    ("add.noftz", "bf16", Kind::Bf16, |a, b| add(BF16, a, b)),
    ("add.noftz", "bf16x2", Kind::Bf16x2, |a, b| add_pair(BF16, a, b)),
    ("min", "u32", I32, u64::min),
    ("max", "u32", I32, u64::max),
    ("min", "s32", I32, |a, b| S32.value(a).min(S32.value(b)) as u64),
    ("max", "s32", I32, |a, b| S32.value(a).max(S32.value(b)) as u64),
    ("min", "u64", I64, u64::min),
    ("max", "u64", I64, u64::max),
    ("min", "s64", I64, |a, b| S64.value(a).min(S64.value(b)) as u64),
    ("max", "s64", I64, |a, b| S64.value(a).max(S64.value(b)) as u64),
    ("and", "b32", I32, |a, b| a & b),
    ("or", "b32", I32, |a, b| a | b),
    ("xor", "b32", I32, |a, b| a ^ b),
    ("and", "b64", I64, |a, b| a & b),
    ("or", "b64", I64, |a, b| a | b),
    ("xor", "b64", I64, |a, b| a ^ b),
    ("exch", "b32", I32, |_, b| b),
    ("exch", "b64", I64, |_, b| b),
    // One up, and from the limit to zero; one down, and from zero or beyond the limit to it.
    ("inc", "u32", I32, |a, b| if a >= b { 0 } else { a + 1 }),
    ("dec", "u32", I32, |a, b| if a == 0 || a > b { b } else { a - 1 }),
    ("add", "f32", Kind::F32, |a, b| add(F32, a, b)),
    ("relaxed.gpu.add", "u32", I32, u64::wrapping_add),
    ("acq_rel.gpu.add", "u32", I32, u64::wrapping_add),
    ("relaxed.gpu.max", "s32", I32, |a, b| S32.value(a).max(S32.value(b)) as u64),
    ("relaxed.gpu.add", "f32", Kind::F32, |a, b| add(F32, a, b)),
];

/// What is left in a space. Of f32 in global memory the manual says that subnormal operands and results become zero,
/// and that they do not in shared memory.
fn stepped(space: &str, (_, ty, kind, step): (&str, &str, Kind, Step), a: u64, b: u64) -> u64 {
    if ty == "f32" && space != ".shared" {
        return F32.flush(add(F32, F32.flush(a), F32.flush(b)));
    }
    kind.mask(step(a, b))
}

/// The opcode in a space, with order and scope before it.
fn opcode(class: &str, space: &str, (name, ty, ..): (&str, &str, Kind, Step)) -> String {
    match name.rsplit_once('.') {
        Some((order, operation)) if order.contains(".gpu") || order.contains(".cta") => {
            format!("{class}.{order}{space}.{operation}.{ty}")
        }
        _ => format!("{class}{space}.{name}.{ty}"),
    }
}

/// Each lane has a word of its own: what `atom` returns, and what it or `red` leaves.
fn alone(class: &'static str, space: &'static str, operation: (&'static str, &'static str, Kind, Step)) -> Case {
    let kind = operation.2;
    let opcode = opcode(class, space, operation);
    let (register, atomic) = (kind.register(), class == "atom");
    let result = if atomic { "%d0, " } else { "" };
    // Two warps have 128 words of eight bytes; the lanes' places in shared memory are those of their numbers.
    let (declaration, address) = match space {
        ".shared" => (".shared .align 8 .b8 s[512];\n", "mov.u64 %q, s;\nmad.wide.u32 %q, %t, 8, %q;\n"),
        _ => ("", "mad.wide.u32 %q, %i, 16, %out;\n"),
    };
    let text = format!(
        "{declaration}.reg .b64 %q;\n{address}st{space}{register} [%q], %a0;\n{opcode} {result}[%q], %a1;\n\
         ld{space}{register} %d1, [%q];"
    );
    let mut case = judged(&text, &[kind; 2], &[kind; 2], move |v, found| {
        let left = stepped(space, operation, v[0], v[1]);
        let returned = !atomic || kind.mask(v[0]) == found[0];
        if returned && kind.same(left, found[1]) { Ok(()) } else { Err(format!("left {left:x}")) }
    });
    case.opcodes = vec![opcode];
    case
}

/// Stores the third operand where the first is the second.
fn compare_and_swap(space: &'static str, ty: &'static str, kind: Kind) -> Case {
    let opcode = format!("atom{space}.cas.{ty}");
    let register = kind.register();
    let (declaration, address) = match space {
        ".shared" => (".shared .align 8 .b8 s[512];\n", "mov.u64 %q, s;\nmad.wide.u32 %q, %t, 8, %q;\n"),
        _ => ("", "mad.wide.u32 %q, %i, 16, %out;\n"),
    };
    let text = format!(
        "{declaration}.reg .b64 %q;\n{address}st{space}{register} [%q], %a0;\n{opcode} %d0, [%q], %a1, %a2;\n\
         ld{space}{register} %d1, [%q];"
    );
    let mut case = judged(&text, &[kind; 2], &[kind; 3], |v, found| {
        let left = if v[0] == v[1] { v[2] } else { v[0] };
        if found == [v[0], left] { Ok(()) } else { Err(format!("left {left:x}")) }
    });
    case.opcodes = vec![opcode];
    case
}

/// 64 lanes of two warps at one word: what is left is the fold, and what they got is one order of the steps.
fn together(space: &'static str, operation: (&'static str, &'static str, Kind, Step)) -> Case {
    let (name, ty, kind, step) = operation;
    let opcode = opcode("atom", space, operation);
    let (width, register) = (kind.bits() / 8, kind.register());
    let (declaration, address) = match space {
        ".shared" => (".shared .align 8 .b8 s[8];\n", "mov.u64 %q, s;"),
        _ => ("", "mov.b64 %q, %out;"),
    };
    let body = format!(
        "{declaration}.reg .b64 %q; .reg .b64 %w; .reg {register} %v; .reg {register} %old; .reg .pred %p;\n{address}\n\
         mad.wide.u32 %w, %t, 8, %in;\nld.global{register} %v, [%w];\nsetp.eq.u32 %p, %t, 0;\n\
         @%p ld.global{register} %old, [%in+512];\n@%p st{space}{register} [%q], %old;\nbar.sync 0;\n\
         {opcode} %old, [%q], %v;\nmad.wide.u32 %w, %t, 8, %out;\nst.global{register} [%w+16], %old;\nbar.sync 0;\n\
         @%p ld{space}{register} %v, [%q];\n@%p st.global{register} [%out+8], %v;"
    );
    Case::new(&[&opcode], &body, move |device| {
        device.block = 64;
        for seed in 0..3 {
            device.seed = seed;
            let value = |i: u64| match kind {
                Kind::F32 => (i as f32 + 1.0).to_bits().into(),
                Kind::F64 => (i as f64 + 1.0).to_bits(),
                _ => kind.mask((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            };
            let values: Vec<u64> = (0..65).map(value).collect();
            let input: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let output = device.run(&input, 16 + 64 * 8);
            let word = |at: usize| {
                let bytes: [u8; 8] = output[at..at + 8].try_into().expect("eight bytes");
                u64::from_le_bytes(bytes) & (u64::MAX >> (64 - 8 * width))
            };
            let mut left: Vec<(u64, u64)> = (0..64).map(|i| (word(16 + 8 * i), values[i])).collect();
            let last = word(8);
            // A lane that saw the present value is next; of several, any one that changes it goes first or last alike.
            let mut now = values[64];
            while !left.is_empty() {
                let next = left.iter().position(|(seen, value)| *seen == now && kind.mask(step(now, *value)) == now);
                let next = next.or_else(|| left.iter().position(|(seen, _)| *seen == now));
                let next = next.unwrap_or_else(|| panic!("{name}.{ty}: nobody saw {now:x}: {left:x?}"));
                now = kind.mask(step(now, left.swap_remove(next).1));
            }
            assert_eq!(last, now, "{name}.{ty}");
        }
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for space in [".global", ".shared", ""] {
        for operation in OPERATIONS {
            cases.push(alone("atom", space, operation));
            if operation.0 != "exch" && !operation.0.starts_with("acq_rel") {
                cases.push(alone("red", space, operation));
            }
            if matches!(operation.2, I32 | I64 | Kind::F32 | Kind::F64) && !matches!(operation.0, "inc" | "dec") {
                cases.push(together(space, operation));
            }
        }
        cases.push(compare_and_swap(space, "b16", Kind::I16));
        cases.push(compare_and_swap(space, "b32", I32));
        cases.push(compare_and_swap(space, "b64", I64));
    }
    cases
}
