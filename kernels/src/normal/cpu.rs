//! Random numbers on the CPU: sixteen blocks at a time, in a loop that the compiler vectorises.
//!
//! It is plain arithmetic on 64-bit integers and f64 on purpose: nothing is fused, so every instruction set gives the
//! same bits, and all of it has one width, so nothing is packed or unpacked.

use std::f64::consts::{LN_2, SQRT_2, TAU};

use super::{Key, halves, philox};
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 16;

/// Blocks of one group.
const BLOCKS: u64 = 16;
/// Elements of one group.
const GROUP: usize = 4 * BLOCKS as usize;

const TWO_TO_32: f64 = 4_294_967_296.0;

pub(super) fn normal(isa: Isa, key: Key, offset: u64, out: &mut [f32]) {
    fill(isa, key, offset, out, Normal);
}

pub(super) fn uniform(isa: Isa, key: Key, offset: u64, out: &mut [f32]) {
    fill(isa, key, offset, out, Uniform);
}

fn fill(isa: Isa, key: Key, offset: u64, out: &mut [f32], convert: impl Convert) {
    for_rows(out, 1, COST, |first, out| dispatch(isa, Groups { key, offset: offset + first as u64, out, convert }));
}

/// From the words of a block to its elements. Must be `#[inline(always)]`.
trait Convert: Copy + Sync {
    fn elements(self, words: [u64; 4]) -> [f32; 4];
}

/// Fills `out` with elements from `offset` on. Groups lie at fixed positions of the stream, so a range that begins or
/// ends inside one takes a part of it.
struct Groups<'a, C> {
    key: Key,
    offset: u64,
    out: &'a mut [f32],
    convert: C,
}

impl<C: Convert> Body for Groups<'_, C> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let mut skip = (self.offset % GROUP as u64) as usize;
        let mut group = self.offset / GROUP as u64;
        let mut out = self.out;
        let mut elements = [0.0; GROUP];
        while !out.is_empty() {
            fill_group(self.key, group, self.convert, &mut elements);
            let (now, rest) = out.split_at_mut(out.len().min(GROUP - skip));
            now.copy_from_slice(&elements[skip..skip + now.len()]);
            (out, skip, group) = (rest, 0, group + 1);
        }
    }
}

#[inline(always)]
fn fill_group(key: Key, group: u64, convert: impl Convert, elements: &mut [f32; GROUP]) {
    // The number of a group's first block is a multiple of 16, so its low half does not overflow within the group.
    let [low, high] = halves(BLOCKS * group).map(u64::from);
    let [stream_low, stream_high] = halves(key.stream).map(u64::from);
    for i in 0..BLOCKS {
        let words = philox::wide_block(halves(key.seed), [low + i, high, stream_low, stream_high]);
        let four = convert.elements(words);
        for k in 0..4 {
            elements[4 * i as usize + k] = four[k];
        }
    }
}

#[derive(Clone, Copy)]
struct Uniform;

impl Convert for Uniform {
    #[inline(always)]
    fn elements(self, words: [u64; 4]) -> [f32; 4] {
        words.map(|word| (to_f64(word >> 8) * (1.0 / 16_777_216.0)) as f32)
    }
}

#[derive(Clone, Copy)]
struct Normal;

impl Convert for Normal {
    #[inline(always)]
    fn elements(self, [a, b, c, d]: [u64; 4]) -> [f32; 4] {
        let ([x, y], [z, w]) = (box_muller(a, b), box_muller(c, d));
        [x, y, z, w]
    }
}

/// `r cos t` and `r sin t` with `r = sqrt(-2 ln((a + 1) 2^-32))` and `t = 2 pi b 2^-32`.
#[inline(always)]
fn box_muller(a: u64, b: u64) -> [f32; 2] {
    let radius = (-2.0 * ln_fraction(a)).sqrt();
    let [cos, sin] = cos_sin_turn(b);
    [(radius * cos) as f32, (radius * sin) as f32]
}

/// `x` below 2^52, exactly: as the mantissa of a number between 2^52 and 2^53. AVX2 has no instruction for it.
#[inline(always)]
fn to_f64(x: u64) -> f64 {
    const TWO_TO_52: f64 = 4_503_599_627_370_496.0;
    f64::from_bits(TWO_TO_52.to_bits() | x) - TWO_TO_52
}

/// `ln((w + 1) 2^-32)` to f64's last bits, for `w` below 2^32.
///
/// `w + 1 = m 2^e` with `m` in `sqrt(1/2)..sqrt(2)`, and `ln m = 2 artanh t`, `t = (m - 1) / (m + 1)`, `|t| < 0.1716`,
/// by its series; the first term left out is below 1e-15 of the sum.
#[inline(always)]
fn ln_fraction(w: u64) -> f64 {
    const SQRT_HALF: u64 = (SQRT_2 / 2.0).to_bits();
    let bits = to_f64(w + 1).to_bits();
    let e = (bits - SQRT_HALF) >> 52;
    let m = f64::from_bits(bits - (e << 52));
    let t = (m - 1.0) / (m + 1.0);
    let s = t * t;
    let mut p = 2.0 / 17.0;
    for odd in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        p = p * s + 2.0 / odd;
    }
    // `e - 32` first: for `w + 1` near 2^32 the sum would cancel.
    (to_f64(e) - 32.0) * LN_2 + t * p
}

/// Cosine and sine of `w 2^-32` turns, for `w` below 2^32.
///
/// The nearest quarter turn is exact in integers; the rest, at most an eighth of a turn, goes into the Taylor series,
/// whose first terms left out are below 1e-15.
#[inline(always)]
fn cos_sin_turn(w: u64) -> [f64; 2] {
    const EIGHTH: u64 = 1 << 29;
    let (quarter, rest) = ((w + EIGHTH) >> 30, (w + EIGHTH) & (2 * EIGHTH - 1));
    let x = (to_f64(rest) - EIGHTH as f64) * (TAU / TWO_TO_32);
    let s = x * x;
    let (mut cos, mut sin) = (1.0, 1.0);
    for k in [16.0, 14.0, 12.0, 10.0, 8.0, 6.0, 4.0, 2.0] {
        cos = 1.0 - cos * s * (1.0 / (k * (k - 1.0)));
        sin = 1.0 - sin * s * (1.0 / (k * (k + 1.0)));
    }
    let (cos, sin) = (cos.to_bits(), (sin * x).to_bits());
    // In odd quarters they change places; cosine is negative in quarters 1 and 2, sine in 2 and 3.
    let exchange = (cos ^ sin) & (quarter & 1).wrapping_neg();
    let negative = |quarter: u64| (quarter >> 1) << 63;
    [f64::from_bits(cos ^ exchange ^ negative(quarter + 1)), f64::from_bits(sin ^ exchange ^ negative(quarter))]
}
