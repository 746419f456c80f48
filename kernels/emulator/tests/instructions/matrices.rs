//! Products of matrices. Layouts are the manual's tables: lane `4 g + t` is member `t` of group `g`.

use crate::case::Case;
use crate::device::Device;
use crate::exact::{BF16, Exact, F16, F32, Format, Number, Round};

/// A type of elements: its name, bits, and format if it is a float.
#[derive(Clone, Copy)]
struct Type {
    name: &'static str,
    bits: usize,
    format: Option<Format>,
}

const HALF: Type = Type { name: "f16", bits: 16, format: Some(F16) };
const BRAIN: Type = Type { name: "bf16", bits: 16, format: Some(BF16) };
const TENSOR: Type = Type { name: "tf32", bits: 32, format: Some(F32) };
const SINGLE: Type = Type { name: "f32", bits: 32, format: Some(F32) };
const SIGNED: Type = Type { name: "s8", bits: 8, format: None };
const UNSIGNED: Type = Type { name: "u8", bits: 8, format: None };
const WORD: Type = Type { name: "s32", bits: 32, format: None };

/// Row and column of element `i` of `a` in member `t` of group `g`.
fn place_a(bits: usize, k: usize, g: usize, t: usize, i: usize) -> (usize, usize) {
    match (bits, k) {
        (16, 8) => (if i < 2 { g } else { g + 8 }, 2 * t + i % 2),
        (16, 16) => {
            let row = if i < 2 || (4..6).contains(&i) { g } else { g + 8 };
            (row, 2 * t + i % 2 + if i >= 4 { 8 } else { 0 })
        }
        (32, 4) => (if i == 0 { g } else { g + 8 }, t),
        (32, 8) => (if i == 0 || i == 2 { g } else { g + 8 }, if i < 2 { t } else { t + 4 }),
        (8, 16) => (if i < 4 { g } else { g + 8 }, 4 * t + i % 4),
        (8, 32) => {
            let row = if i < 4 || (8..12).contains(&i) { g } else { g + 8 };
            (row, 4 * t + i % 4 + if i >= 8 { 16 } else { 0 })
        }
        _ => unreachable!("no such shape"),
    }
}

/// Row and column of element `i` of `b`.
fn place_b(bits: usize, k: usize, g: usize, t: usize, i: usize) -> (usize, usize) {
    let row = match (bits, k) {
        (16, 8) => 2 * t + i,
        (16, 16) => 2 * t + i % 2 + if i >= 2 { 8 } else { 0 },
        (32, 4) => t,
        (32, 8) => t + 4 * i,
        (8, 16) => 4 * t + i,
        (8, 32) => 4 * t + i % 4 + if i >= 4 { 16 } else { 0 },
        _ => unreachable!("no such shape"),
    };
    (row, g)
}

/// Row and column of element `i` of `c` and `d`.
fn place_c(g: usize, t: usize, i: usize) -> (usize, usize) {
    (if i < 2 { g } else { g + 8 }, 2 * t + i % 2)
}

/// What kind of numbers the matrices hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    /// Small whole numbers: every sum is exact.
    Whole,
    /// Subnormal `a`, large `b`.
    Subnormal,
    /// Any numbers near 1: sums are rounded somehow.
    Real,
    /// Infinities and NaN among whole numbers.
    Special,
    /// Whole numbers, `c` at the ends of the range.
    Brim,
}

/// A shape with its types.
#[derive(Clone, Copy)]
struct Product {
    k: usize,
    a: Type,
    b: Type,
    c: Type,
    saturate: bool,
}

/// The bits of a number.
fn encode(ty: Type, value: f64) -> u64 {
    match ty.format {
        None => (value as i64) as u64 & (u64::MAX >> (64 - ty.bits)),
        Some(_) if value.is_nan() => {
            if ty.bits == 16 {
                0x7fc1
            } else {
                0x7fc0_0000
            }
        }
        Some(format) if value.is_infinite() => format.infinity() | if value < 0.0 { format.sign() } else { 0 },
        Some(format) => {
            let scaled = Exact::integer((value * 2f64.powi(30)) as i128);
            let unit = match F32.number(u64::from(2f32.powi(-30).to_bits())) {
                Number::Finite(unit) => unit,
                _ => unreachable!("a power of two"),
            };
            format.round(&scaled.times(&unit), Round::Nearest)
        }
    }
}

fn decode(ty: Type, bits: u64) -> f64 {
    match ty.name {
        "f16" => half::f16::from_bits(bits as u16).into(),
        "bf16" => half::bf16::from_bits(bits as u16).into(),
        "s8" => f64::from(bits as u8 as i8),
        "u8" => f64::from(bits as u8),
        "s32" => f64::from(bits as u32 as i32),
        _ => f32::from_bits(bits as u32).into(),
    }
}

struct Source(u64);

impl Source {
    fn below(&mut self, count: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as i64).rem_euclid(count)
    }

    /// An element's bits.
    fn element(&mut self, ty: Type, fill: Fill, which: char) -> u64 {
        let whole = (self.below(17) - 8) as f64;
        match (ty.format, fill) {
            (None, Fill::Brim) if which == 'c' => {
                (if self.below(2) == 0 {
                    i32::MAX - self.below(99_999) as i32
                } else {
                    i32::MIN + self.below(99_999) as i32
                }) as u32 as u64
            }
            (None, _) => self.below(1 << 32) as u64 & (u64::MAX >> (64 - ty.bits.min(20))),
            (Some(format), Fill::Subnormal) if which == 'a' => {
                self.below(5) as u64 | (format.sign() * self.below(2) as u64)
            }
            (Some(format), Fill::Subnormal) if which == 'b' => {
                let power = if format == F16 { 8.0 } else { 2f64.powi(100) };
                if format == F16 {
                    encode(ty, power * whole)
                } else {
                    (227 << 7) | (format.sign() * self.below(2) as u64)
                }
            }
            (Some(_), Fill::Subnormal) => 0,
            (Some(_), Fill::Real) => {
                let bits = encode(ty, (self.below(1 << 20) - (1 << 19)) as f64 / f64::from(1 << 18));
                if ty.name == "tf32" { bits & !0x1fff } else { bits }
            }
            (Some(_), Fill::Special) => match self.below(40) {
                0 => encode(ty, f64::INFINITY),
                1 => encode(ty, f64::NEG_INFINITY),
                2 => encode(ty, f64::NAN),
                3 => 0,
                _ => encode(ty, whole),
            },
            (Some(_), _) => encode(ty, whole),
        }
    }
}

impl Product {
    fn opcode(self) -> String {
        let satfinite = if self.saturate { ".satfinite" } else { "" };
        let (a, b, c) = (self.a.name, self.b.name, self.c.name);
        format!("mma.sync.aligned.m16n8k{}.row.col{satfinite}.{c}.{a}.{b}.{c}", self.k)
    }

    /// Words of a lane: of `a`, `b`, and `c`.
    fn words(self) -> [usize; 3] {
        // 32 lanes share the elements, and 32 bits are a word.
        [16 * self.k * self.a.bits, 8 * self.k * self.b.bits, 16 * 8 * self.c.bits].map(|bits| bits / 32 / 32)
    }

    /// A kernel in which a lane has 16 words: `a` from the first, `b` from the fifth, `c` from the ninth.
    fn body(self, in_place: bool) -> String {
        let [a, b, c] = self.words();
        let list = |name: &str, count: usize| {
            let list: Vec<String> = (0..count).map(|i| format!("%{name}{i}")).collect();
            format!("{{{}}}", list.join(", "))
        };
        let mut body = String::from(
            ".reg .b64 %w; .reg .b64 %to;\nmad.wide.u32 %w, %t, 64, %in;\nmad.wide.u32 %to, %t, 16, %out;\n",
        );
        for (name, count, first) in [("a", a, 0), ("b", b, 4), ("c", c, 8), ("d", c, 12)] {
            for i in 0..count {
                body += &format!(".reg .b32 %{name}{i};\nld.global.b32 %{name}{i}, [%w+{}];\n", 4 * (first + i));
            }
        }
        let d = if in_place { "c" } else { "d" };
        body += &format!("{} {}, {}, {}, {};\n", self.opcode(), list(d, c), list("a", a), list("b", b), list("c", c));
        for i in 0..c {
            body += &format!("st.global.b32 [%to+{}], %{d}{i};\n", 4 * i);
        }
        body
    }

    fn check(self, device: &Device, fill: Fill, seed: u64) {
        let mut source = Source(seed);
        let mut matrix = |rows: usize, columns: usize, ty: Type, which: char| -> Vec<Vec<u64>> {
            (0..rows).map(|_| (0..columns).map(|_| source.element(ty, fill, which)).collect()).collect()
        };
        let a = matrix(16, self.k, self.a, 'a');
        let b = matrix(self.k, 8, self.b, 'b');
        let c = matrix(16, 8, self.c, 'c');
        let [a_words, b_words, c_words] = self.words();
        let mut input = vec![0u32; 32 * 16];
        for lane in 0..32 {
            let (g, t) = (lane / 4, lane % 4);
            let mut put = |first: usize, words: usize, ty: Type, at: &dyn Fn(usize) -> u64| {
                for i in 0..words * 32 / ty.bits {
                    input[16 * lane + first + i * ty.bits / 32] |= (at(i) as u32) << (i * ty.bits % 32);
                }
            };
            let element = |m: &[Vec<u64>], (row, column): (usize, usize)| m[row][column];
            put(0, a_words, self.a, &|i| element(&a, place_a(self.a.bits, self.k, g, t, i)));
            put(4, b_words, self.b, &|i| element(&b, place_b(self.b.bits, self.k, g, t, i)));
            put(8, c_words, self.c, &|i| element(&c, place_c(g, t, i)));
        }
        let found = device.words(&input, 128);
        for (lane, i) in (0..32).flat_map(|lane| (0..4).map(move |i| (lane, i))) {
            let (row, column) = place_c(lane / 4, lane % 4, i);
            let word = found[4 * lane + i * self.c.bits / 32] >> (i * self.c.bits % 32);
            let bits = u64::from(word) & (u64::MAX >> (64 - self.c.bits));
            let terms = (0..self.k).map(|j| decode(self.a, a[row][j]) * decode(self.b, b[j][column]));
            let terms: Vec<f64> = terms.chain([decode(self.c, c[row][column])]).collect();
            self.compare(fill, bits, &terms)
                .unwrap_or_else(|what| panic!("{} {fill:?} [{row}, {column}]: {what}", self.opcode()));
        }
    }

    /// Whether an element of the result is the sum of the terms.
    fn compare(self, fill: Fill, bits: u64, terms: &[f64]) -> Result<(), String> {
        let (sum, found) = (terms.iter().sum::<f64>(), decode(self.c, bits));
        let good = match self.c.format {
            None if self.saturate => found == sum.clamp(i32::MIN.into(), i32::MAX.into()),
            None => bits as u32 == (sum as i64) as u32,
            Some(_) if sum.is_nan() => found.is_nan(),
            Some(_) if fill == Fill::Real => {
                // Each addition may lose a unit of the largest term, and the end a unit of the format.
                let size: f64 = terms.iter().map(|term| term.abs()).sum();
                let last = if self.c.bits == 16 { 2f64.powi(-10) } else { 0.0 };
                (found - sum).abs() <= size * (terms.len() as f64 * 2f64.powi(-23) + last)
            }
            Some(_) => found == sum,
        };
        if good { Ok(()) } else { Err(format!("{sum} was expected, not {found}")) }
    }

    fn cases(self) -> [Case; 2] {
        [false, true].map(|in_place| {
            Case::new(&[&self.opcode()], &self.body(in_place), move |device| {
                for seed in 0..6 {
                    for fill in [Fill::Whole, Fill::Subnormal, Fill::Real, Fill::Special, Fill::Brim] {
                        // No subnormals of 32 bits, and f16 sums of them do not fit.
                        if fill == Fill::Subnormal && (self.a.bits == 32 || self.c.bits == 16) {
                            continue;
                        }
                        self.check(device, fill, seed);
                    }
                }
            })
        })
    }
}

fn products() -> Vec<Case> {
    let mut all = Vec::new();
    let float = |k, a, c| Product { k, a, b: a, c, saturate: false };
    for k in [8, 16] {
        all.extend([float(k, HALF, SINGLE), float(k, HALF, HALF), float(k, BRAIN, SINGLE)]);
    }
    all.extend([float(4, TENSOR, SINGLE), float(8, TENSOR, SINGLE)]);
    for (a, b) in [(SIGNED, SIGNED), (SIGNED, UNSIGNED), (UNSIGNED, SIGNED), (UNSIGNED, UNSIGNED)] {
        for (k, saturate) in [(16, false), (16, true), (32, false), (32, true)] {
            all.push(Product { k, a, b, c: WORD, saturate });
        }
    }
    all.into_iter().flat_map(Product::cases).collect()
}

pub fn cases() -> Vec<Case> {
    products()
}
