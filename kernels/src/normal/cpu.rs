//! Random numbers on the CPU: eight blocks at a time, in loops over lanes that the compiler vectorises.
//!
//! The loops are plain Rust on purpose: without fused products every instruction set gives the same bits.

use std::f64::consts::{LN_2, SQRT_2, TAU};

use super::{Key, halves, philox};
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, LANES, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 16;

/// Elements of one group: four of each of eight blocks.
const GROUP: usize = 4 * LANES;

pub(super) fn normal(isa: Isa, key: Key, offset: u64, out: &mut [f32]) {
    for_rows(out, 1, COST, |first, out| {
        dispatch(isa, Groups { key, offset: offset + first as u64, out, convert: normals });
    });
}

pub(super) fn uniform(isa: Isa, key: Key, offset: u64, out: &mut [f32]) {
    for_rows(out, 1, COST, |first, out| {
        dispatch(isa, Groups { key, offset: offset + first as u64, out, convert: uniforms });
    });
}

/// Fills `out` with elements from `offset` on, whole groups at a time; `convert` makes words `[w][block]` into elements.
struct Groups<'a, F> {
    key: Key,
    offset: u64,
    out: &'a mut [f32],
    convert: F,
}

impl<F: Fn([[u32; LANES]; 4]) -> [[f32; LANES]; 4]> Body for Groups<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let mut skip = (self.offset % GROUP as u64) as usize;
        let mut group = self.offset / GROUP as u64;
        let mut out = self.out;
        while !out.is_empty() {
            let values = (self.convert)(words(self.key, group));
            let (now, rest) = out.split_at_mut(out.len().min(GROUP - skip));
            for (i, out) in now.iter_mut().enumerate() {
                *out = values[(skip + i) % 4][(skip + i) / 4];
            }
            (out, skip, group) = (rest, 0, group + 1);
        }
    }
}

/// The words of blocks `8 group ..`.
#[inline(always)]
fn words(key: Key, group: u64) -> [[u32; LANES]; 4] {
    // Eight times the group never crosses 32 bits within a group, so the high word is one for all lanes.
    let [low, high] = halves(group.wrapping_mul(LANES as u64));
    let [stream_low, stream_high] = halves(key.stream);
    let counter = [std::array::from_fn(|i| low + i as u32), [high; LANES], [stream_low; LANES], [stream_high; LANES]];
    philox::blocks(halves(key.seed), counter)
}

#[inline(always)]
fn uniforms(words: [[u32; LANES]; 4]) -> [[f32; LANES]; 4] {
    words.map(|w| w.map(|w| (w >> 8) as f32 * (1.0 / 16_777_216.0)))
}

#[inline(always)]
fn normals([a, b, c, d]: [[u32; LANES]; 4]) -> [[f32; LANES]; 4] {
    let ([x, y], [z, w]) = (box_muller(a, b), box_muller(c, d));
    [x, y, z, w]
}

/// `r cos t` and `r sin t` with `r = sqrt(-2 ln((a + 1) 2^-32))` and `t = 2 pi b 2^-32`.
#[inline(always)]
fn box_muller(a: [u32; LANES], b: [u32; LANES]) -> [[f32; LANES]; 2] {
    let mut out = [[0.0; LANES]; 2];
    for i in 0..LANES {
        let radius = (-2.0 * ln_fraction(a[i])).sqrt();
        let (cos, sin) = cos_sin_turn(b[i]);
        out[0][i] = (radius * cos) as f32;
        out[1][i] = (radius * sin) as f32;
    }
    out
}

/// `ln((w + 1) 2^-32)` to f64's last bits.
///
/// `w + 1 = m 2^e` with `m` in `sqrt(1/2)..sqrt(2)`, and `ln m = 2 artanh t`, `t = (m - 1) / (m + 1)`, `|t| < 0.1716`,
/// by its series; the first term left out is below 1e-15 of the sum.
#[inline(always)]
fn ln_fraction(w: u32) -> f64 {
    const SQRT_HALF: u64 = (SQRT_2 / 2.0).to_bits();
    let bits = (f64::from(w) + 1.0).to_bits();
    let e = (bits - SQRT_HALF) >> 52;
    let m = f64::from_bits(bits - (e << 52));
    let t = (m - 1.0) / (m + 1.0);
    let s = t * t;
    let mut p = 2.0 / 17.0;
    for odd in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        p = p * s + 2.0 / odd;
    }
    // `e - 32` first: for `w + 1` near 2^32 the sum would cancel.
    (f64::from(e as u32) - 32.0) * LN_2 + t * p
}

/// Cosine and sine of `w 2^-32` turns.
///
/// The quarter turn nearest is exact in integers; the rest, at most an eighth of a turn, goes into the Taylor series,
/// whose first terms left out are below 1e-15.
#[inline(always)]
fn cos_sin_turn(w: u32) -> (f64, f64) {
    let quarter = w.wrapping_add(1 << 29) >> 30;
    let x = f64::from(w.wrapping_sub(quarter << 30) as i32) * (TAU / 4_294_967_296.0);
    let s = x * x;
    let (mut cos, mut sin) = (1.0, 1.0);
    for k in [16.0, 14.0, 12.0, 10.0, 8.0, 6.0, 4.0, 2.0] {
        cos = 1.0 - cos * s * (1.0 / (k * (k - 1.0)));
        sin = 1.0 - sin * s * (1.0 / (k * (k + 1.0)));
    }
    sin *= x;
    let (c, s) = if quarter & 1 == 0 { (cos, sin) } else { (sin, cos) };
    // Cosine is negative in quarters 1 and 2, sine in 2 and 3.
    let negate = |x: f64, bit: u32| f64::from_bits(x.to_bits() ^ u64::from(bit & 1) << 63);
    (negate(c, (quarter + 1) >> 1), negate(s, quarter >> 1))
}
