//! Loads and stores of every width and vector in every space, byte by byte.

use crate::case::Case;
use crate::device::{BLOB, Device};

/// Types of memory, their bytes, and whether loads extend the sign.
const TYPES: [(&str, usize, bool); 14] = [
    ("b8", 1, false),
    ("u8", 1, false),
    ("s8", 1, true),
    ("b16", 2, false),
    ("u16", 2, false),
    ("s16", 2, true),
    ("b32", 4, false),
    ("u32", 4, false),
    ("s32", 4, true),
    ("f32", 4, false),
    ("b64", 8, false),
    ("u64", 8, false),
    ("s64", 8, true),
    ("f64", 8, false),
];
/// Bytes of each lane.
const LANE: usize = 32;
const LANES: usize = 64;

fn input() -> Vec<u8> {
    // Odd multiples, so that neighbours differ and signs alternate.
    (0..LANE * LANES).map(|i| (i as u32).wrapping_mul(0x9e37_79b9).rotate_right(11) as u8).collect()
}

/// Where lanes have their 32 bytes: declarations, and code that sets `%p`, an address in that space.
fn place(space: &str) -> (&'static str, &'static str) {
    match space {
        ".shared" | ".shared::cta" => (
            ".shared .align 16 .b8 s[2048];",
            "mov.u64 %p, s;\nshl.b32 %o, %t, 5;\ncvt.u64.u32 %w, %o;\nadd.s64 %p, %p, %w;",
        ),
        ".local" => (".local .align 16 .b8 l[32];", "mov.u64 %p, l;"),
        _ => ("", "mad.wide.u32 %p, %i, 32, %in;"),
    }
}

/// Registers, and the lane's places in the input and output.
const HEAD: &str = ".reg .b64 %p; .reg .b64 %w; .reg .b32 %o; .reg .b64 %f; .reg .b64 %to; .reg .b32 %x;\n\
                    mad.wide.u32 %f, %i, 32, %in;\nmad.wide.u32 %to, %i, 32, %out;\n";

/// Copies the lane's bytes one by one, from a space and a register to another.
fn copy(to: (&str, &str), from: (&str, &str)) -> String {
    let one = |i| format!("ld{}.u8 %x, [{}+{i}];\nst{}.u8 [{}+{i}], %x;\n", from.0, from.1, to.0, to.1);
    (0..LANE).map(one).collect()
}

/// Runs two warps and compares.
fn compare(device: &mut Device, expected: impl Fn(&[u8]) -> Vec<u8>) {
    device.block = LANES as u32;
    let input = input();
    let expected: Vec<u8> = input.chunks_exact(LANE).flat_map(expected).collect();
    let found = device.run(&input, expected.len());
    assert_eq!(found, expected);
}

/// A value of `bytes` bytes in a register of `register`: zeros or signs above it.
fn extended(value: &[u8], register: usize, signed: bool) -> Vec<u8> {
    let top = value.last().is_some_and(|byte| *byte >= 0x80);
    let fill = if signed && top { 0xff } else { 0 };
    value.iter().copied().chain(std::iter::repeat(fill)).take(register.max(value.len())).collect()
}

fn vector(count: usize, name: &str) -> String {
    if count == 1 {
        return format!("%{name}0");
    }
    let list: Vec<String> = (0..count).map(|k| format!("%{name}{k}")).collect();
    format!("{{{}}}", list.join(", "))
}

fn declare(count: usize, bytes: usize, name: &str) -> String {
    (0..count).map(|k| format!(".reg .b{} %{name}{k};\n", 8 * bytes)).collect()
}

/// The modifier of a vector.
fn suffix(count: usize) -> String {
    if count == 1 { String::new() } else { format!(".v{count}") }
}

/// `ld{space}{vector}.type` at an offset of a vector's size, into registers of `register` bytes, stored as 64 bits.
fn load(opcode: &str, space: &str, count: usize, ty: (&'static str, usize, bool), register: usize) -> Case {
    let (declarations, address) = place(space);
    let (_, bytes, signed) = ty;
    let offset = if count * bytes * 2 <= LANE { count * bytes } else { 0 };
    let fill = match space {
        ".shared" | ".shared::cta" | ".local" => copy((space, "%p"), (".global", "%f")),
        _ => String::new(),
    };
    let mut body = format!(
        "{declarations}\n{HEAD}{}{address}\n{fill}{opcode} {}, [%p+{offset}];\n",
        declare(count, register, "v"),
        vector(count, "v")
    );
    for k in 0..count {
        body += &format!("st.global.b{} [%to+{}], %v{k};\n", 8 * register, 8 * k);
    }
    Case::new(&[opcode], &body, move |device| {
        compare(device, |bytes_in| {
            let mut lane = vec![0; LANE];
            for k in 0..count {
                let at = offset + bytes * k;
                let value = extended(&bytes_in[at..at + bytes], register, signed);
                lane[8 * k..8 * k + register].copy_from_slice(&value);
            }
            lane
        });
    })
}

/// `st{space}{vector}.type` from registers of `register` bytes: the lowest bytes, and no others, change.
fn store(opcode: &str, space: &str, count: usize, bytes: usize, register: usize) -> Case {
    let (declarations, address) = place(space);
    let own = matches!(space, ".shared" | ".shared::cta" | ".local");
    let offset = if count * bytes * 2 <= LANE { count * bytes } else { 0 };
    let address = if own { address.to_owned() } else { "mad.wide.u32 %p, %i, 32, %out;".to_owned() };
    // What is stored to begins as a copy of the lane's input; the inverse of the input is stored.
    let before = if own { copy((space, "%p"), (".global", "%f")) } else { copy((".global", "%to"), (".global", "%f")) };
    let after = if own { copy((".global", "%to"), (space, "%p")) } else { String::new() };
    let mut body = format!("{declarations}\n{HEAD}{}{address}\n{before}", declare(count, register, "v"));
    for k in 0..count {
        body += &format!("ld.global.b{} %v{k}, [%f+{}];\nnot.b{} %v{k}, %v{k};\n", 8 * register, 8 * k, 8 * register);
    }
    body += &format!("{opcode} [%p+{offset}], {};\n{after}", vector(count, "v"));
    Case::new(&[opcode], &body, move |device| {
        compare(device, |bytes_in| {
            let mut lane = bytes_in.to_vec();
            for k in 0..count {
                for i in 0..bytes {
                    lane[offset + bytes * k + i] = !bytes_in[8 * k + i];
                }
            }
            lane
        });
    })
}

/// Registers that may hold a type: its own width, and wider ones.
fn registers(bytes: usize) -> impl Iterator<Item = usize> {
    [2, 4, 8].into_iter().filter(move |register| *register >= bytes)
}

fn plain() -> Vec<Case> {
    let mut cases = Vec::new();
    for space in [".global", ".shared", ".local", ""] {
        for (count, ty) in [1, 2, 4].into_iter().flat_map(|count| TYPES.map(|ty| (count, ty))) {
            let (name, bytes, _) = ty;
            if count * bytes > 16 {
                continue;
            }
            let tail = format!("{space}{}.{name}", suffix(count));
            for register in registers(bytes).take(if count == 1 { 3 } else { 1 }) {
                cases.push(load(&format!("ld{tail}"), space, count, ty, register));
                cases.push(store(&format!("st{tail}"), space, count, bytes, register));
                if space == ".global" {
                    cases.push(load(&format!("ld.global.nc{}.{name}", suffix(count)), space, count, ty, register));
                }
            }
        }
    }
    cases
}

/// Caches, orders and scopes change nothing of what one thread sees.
fn modified() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut both = |loads: &str, stores: &str, space: &str, count: usize, ty: (&'static str, usize, bool)| {
        let tail = format!("{}.{}", suffix(count), ty.0);
        if !loads.is_empty() {
            cases.push(load(&format!("ld{loads}{tail}"), space, count, ty, ty.1.max(2)));
        }
        if !stores.is_empty() {
            cases.push(store(&format!("st{stores}{tail}"), space, count, ty.1, ty.1.max(2)));
        }
    };
    for (count, ty) in [
        (1, TYPES[7]),
        (4, TYPES[7]),
        (2, TYPES[4]),
        (4, TYPES[9]),
        (1, TYPES[9]),
        (1, TYPES[4]),
        (4, TYPES[6]),
        (1, TYPES[6]),
    ] {
        for (loads, stores) in [
            (".global.ca", ".global.wb"),
            (".global.cg", ".global.cg"),
            (".global.cs", ".global.cs"),
            (".global.lu", ".global.wt"),
            (".global.cv", ""),
            (".global.nc.L1::no_allocate", ".global.L1::no_allocate"),
            (".global.L1::evict_last", ".global.L1::evict_last"),
            (".global.nc.L1::no_allocate.L2::128B", ""),
            (".global.L2::128B", ""),
        ] {
            both(loads, stores, ".global", count, ty);
        }
    }
    for ty in [TYPES[6], TYPES[7], TYPES[9], TYPES[11]] {
        for (loads, stores) in [
            (".volatile.global", ".volatile.global"),
            (".weak.global", ".weak.global"),
            (".relaxed.gpu.global", ".relaxed.gpu.global"),
            (".acquire.gpu.global", ".release.gpu.global"),
            (".relaxed.sys.global", ".relaxed.cta.global"),
        ] {
            both(loads, stores, ".global", 1, ty);
        }
        both(".volatile.shared", ".volatile.shared", ".shared", 1, ty);
        both(".shared::cta", ".shared::cta", ".shared::cta", 1, ty);
        both(".volatile", ".volatile", "", 1, ty);
    }
    cases
}

/// Parameters: of the kernel's third, 64 bytes.
fn parameters() -> Vec<Case> {
    let mut cases = Vec::new();
    for (count, (name, bytes, signed)) in [1, 2, 4].into_iter().flat_map(|count| TYPES.map(|ty| (count, ty))) {
        if count * bytes > 16 {
            continue;
        }
        let opcode = format!("ld.param{}.{name}", suffix(count));
        let offset = 48 - count * bytes;
        let offset = offset / (count * bytes) * (count * bytes);
        let mut body = format!("{HEAD}{}{opcode} {}, [blob+{offset}];\n", declare(count, 8, "v"), vector(count, "v"));
        for k in 0..count {
            body += &format!("st.global.b64 [%to+{}], %v{k};\n", 8 * k);
        }
        cases.push(Case::new(&[&opcode], &body, move |device| {
            device.blob = std::array::from_fn(|i| (i * 37 + 11) as u8 | if i % 2 == 1 { 0x80 } else { 0 });
            let blob: [u8; BLOB] = device.blob;
            compare(device, |_| {
                let values = (0..count).flat_map(|k| {
                    let at = offset + bytes * k;
                    extended(&blob[at..at + bytes], 8, signed)
                });
                values.chain(std::iter::repeat(0)).take(LANE).collect()
            });
        }));
    }
    cases
}

/// Generic addresses: what `cvta` makes of each space, and back; what space an address lies in.
fn generic() -> Vec<Case> {
    let mut cases = Vec::new();
    for (space, other) in [("shared", "global"), ("local", "shared"), ("global", "local")] {
        let (declarations, address) = place(&format!(".{space}"));
        let address = if space == "global" { "mad.wide.u32 %p, %i, 32, %out;" } else { address };
        let body = format!(
            "{declarations}\n{HEAD}.reg .pred %y; .reg .pred %n; .reg .b32 %r; .reg .b64 %g;\n{address}\n\
             st.{space}.u32 [%p], %i;\ncvta.{space}.u64 %g, %p;\nst.u32 [%g+4], %t;\n\
             cvta.to.{space}.u64 %p, %g;\nld.{space}.u32 %x, [%p];\nld.{space}.u32 %r, [%p+4];\nadd.u32 %x, %x, %r;\n\
             ld.u32 %r, [%g];\nadd.u32 %x, %x, %r;\nisspacep.{space} %y, %g;\nisspacep.{other} %n, %g;\n\
             selp.b32 %r, 1000, 0, %y;\nadd.u32 %x, %x, %r;\nselp.b32 %r, 7, 0, %n;\nadd.u32 %x, %x, %r;\n\
             st.global.u32 [%to+8], %x;"
        );
        let opcodes = [
            format!("cvta.{space}.u64"),
            format!("cvta.to.{space}.u64"),
            format!("isspacep.{space}"),
            format!("isspacep.{other}"),
        ];
        let opcodes: Vec<&str> = opcodes.iter().map(String::as_str).collect();
        cases.push(Case::new(&opcodes, &body, |device| {
            device.block = LANES as u32;
            let words = device.words(&[0; LANES * 8], LANES * 8);
            for i in 0..LANES {
                assert_eq!(words[8 * i + 2], 3 * i as u32 + 1000);
            }
        }));
    }
    cases
}

/// Variables of the module, by name and by address, with initial values little end first and zeros behind them.
fn variables() -> Vec<Case> {
    let mut cases = Vec::new();
    for (space, declared) in [("const", ".const"), ("global", ".global")] {
        for (name, bytes, signed) in TYPES {
            let opcode = format!("ld.{space}.{name}");
            let body = format!(
                "{declared} .align 8 .b32 before = 5;\n{declared} .align 8 .b8 v[32] = {{1, 130, 3, 4, 5, 6, 7, 200, 9, 10, 11, \
                 140, 13, 14, 15, 240}};\n---\n{HEAD}.reg .b64 %v<3>;\n{opcode} %v0, [v+{bytes}];\nmov.u64 %w, v;\n\
                 {opcode} %v1, [%w+{}];\ncvta.{space}.u64 %w, %w;\nld.{name} %v2, [%w+{}];\nst.global.b64 [%to], %v0;\n\
                 st.global.b64 [%to+8], %v1;\nst.global.b64 [%to+16], %v2;",
                16 - bytes,
                16 + bytes
            );
            cases.push(Case::new(&[&opcode], &body, move |device| {
                let mut bytes_of = [0u8; 32];
                bytes_of[..16].copy_from_slice(&[1, 130, 3, 4, 5, 6, 7, 200, 9, 10, 11, 140, 13, 14, 15, 240]);
                compare(device, |_| {
                    let places = [bytes, 16 - bytes, 16 + bytes % 16];
                    let values = places.iter().flat_map(|at| extended(&bytes_of[*at..at + bytes], 8, signed));
                    values.chain([0; 8]).collect()
                });
            }));
        }
    }
    cases
}

pub fn cases() -> Vec<Case> {
    [plain(), modified(), parameters(), generic(), variables()].into_iter().flatten().collect()
}
