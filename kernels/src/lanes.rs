//! Loops over whole slices, sixteen elements at a time; what is left over goes through a padded block.
//!
//! Each loop calls its closure at one place only. A closure cannot be marked `#[inline(always)]`, and one that is not
//! inlined is compiled without the instruction set of the loop around it, twenty times slower; the compiler inlines
//! any function that has a single caller.

use crate::simd::{LANES, Simd};

/// Elements of one step: two vectors, which share the constants that a long closure loads.
const BLOCK: usize = 2 * LANES;

/// `y[i] = f(x[0][i], x[1][i], ..)`. Every input is at least as long as `y`.
#[inline(always)]
pub(crate) fn map<S: Simd, const N: usize>(s: S, x: [&[f32]; N], y: &mut [f32], f: impl Fn([S::V; N]) -> S::V) {
    let (blocks, rest) = split(x, y.len());
    let (y, y_rest) = y.as_chunks_mut::<BLOCK>();
    let mut padded = [0.0; BLOCK];
    for i in 0..y.len() + usize::from(!y_rest.is_empty()) {
        let x = load(s, &blocks, &rest, i);
        let y = if i < y.len() { &mut y[i] } else { &mut padded };
        let mut v = [s.zero(); 2];
        for half in 0..2 {
            v[half] = f(x[half]);
        }
        store(s, v, y);
    }
    y_rest.copy_from_slice(&padded[..y_rest.len()]);
}

/// `y[i] = f(y[i], x[0][i], ..)`, in place. Every input is at least as long as `y`.
#[inline(always)]
pub(crate) fn update<S: Simd, const N: usize>(
    s: S,
    x: [&[f32]; N],
    y: &mut [f32],
    f: impl Fn(S::V, [S::V; N]) -> S::V,
) {
    let (blocks, rest) = split(x, y.len());
    let (y, y_rest) = y.as_chunks_mut::<BLOCK>();
    let mut padded = pad(y_rest);
    for i in 0..y.len() + usize::from(!y_rest.is_empty()) {
        let x = load(s, &blocks, &rest, i);
        let y = if i < y.len() { &mut y[i] } else { &mut padded };
        let mut v = [s.load(&y[..LANES]), s.load(&y[LANES..])];
        for half in 0..2 {
            v[half] = f(v[half], x[half]);
        }
        store(s, v, y);
    }
    y_rest.copy_from_slice(&padded[..y_rest.len()]);
}

/// `[y[i], sum[i]] = f(sum[i], x[0][i], x[1][i], ..)`: [`map`] and [`update`] in one pass over what both read. Every
/// input and `sum` are at least as long as `y`.
#[inline(always)]
pub(crate) fn map_and_update<S: Simd, const N: usize>(
    s: S,
    x: [&[f32]; N],
    y: &mut [f32],
    sum: &mut [f32],
    f: impl Fn(S::V, [S::V; N]) -> [S::V; 2],
) {
    let (blocks, rest) = split(x, y.len());
    let (sum, sum_rest) = sum[..y.len()].as_chunks_mut::<BLOCK>();
    let (y, y_rest) = y.as_chunks_mut::<BLOCK>();
    let (mut padded, mut padded_sum) = ([0.0; BLOCK], pad(sum_rest));
    for i in 0..y.len() + usize::from(!y_rest.is_empty()) {
        let x = load(s, &blocks, &rest, i);
        let (y, sum) = if i < y.len() { (&mut y[i], &mut sum[i]) } else { (&mut padded, &mut padded_sum) };
        let mut v = [[s.load(&sum[..LANES]), s.load(&sum[LANES..])], [s.zero(); 2]];
        for half in 0..2 {
            [v[1][half], v[0][half]] = f(v[0][half], x[half]);
        }
        store(s, v[0], sum);
        store(s, v[1], y);
    }
    y_rest.copy_from_slice(&padded[..y_rest.len()]);
    sum_rest.copy_from_slice(&padded_sum[..sum_rest.len()]);
}

/// Asks for every cache line of `x`.
#[inline(always)]
pub(crate) fn prefetch<S: Simd>(s: S, x: &[f32]) {
    for line in x.chunks(BLOCK) {
        s.prefetch(line);
    }
}

/// The whole blocks of the first `n` elements of each input, and the padded rest.
#[inline(always)]
fn split<const N: usize>(x: [&[f32]; N], n: usize) -> ([&[[f32; BLOCK]]; N], [[f32; BLOCK]; N]) {
    (x.map(|x| x[..n].as_chunks().0), x.map(|x| pad(x[..n].as_chunks::<BLOCK>().1)))
}

#[inline(always)]
fn pad(rest: &[f32]) -> [f32; BLOCK] {
    let mut padded = [0.0; BLOCK];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

/// Both vectors of block `i` of each input; the block after the last is the rest.
#[inline(always)]
fn load<S: Simd, const N: usize>(
    s: S,
    blocks: &[&[[f32; BLOCK]]; N],
    rest: &[[f32; BLOCK]; N],
    i: usize,
) -> [[S::V; N]; 2] {
    let mut v = [[s.zero(); N]; 2];
    for k in 0..N {
        let block = blocks[k].get(i).unwrap_or(&rest[k]);
        v[0][k] = s.load(&block[..LANES]);
        v[1][k] = s.load(&block[LANES..]);
    }
    v
}

#[inline(always)]
fn store<S: Simd>(s: S, v: [S::V; 2], y: &mut [f32; BLOCK]) {
    s.store(v[0], &mut y[..LANES]);
    s.store(v[1], &mut y[LANES..]);
}

/// Partial results of [`fold`].
const WAYS: usize = 16;

/// Folds `f(x[0][i], x[1][i], ..)` in f64, from `start`, in an order that the length alone decides.
///
/// Element `i` goes to partial result `i % 16`, and those are folded pairwise. No product is fused with a sum, so every
/// instruction set gives the same bits.
#[inline(always)]
pub(crate) fn fold<const N: usize>(
    x: [&[f32]; N],
    start: f64,
    f: impl Fn([f64; N]) -> f64,
    combine: impl Fn(f64, f64) -> f64,
) -> f64 {
    let n = x.iter().map(|x| x.len()).min().unwrap_or(0);
    let full = n - n % WAYS;
    let mut partial = [start; WAYS];
    for i in (0..full).step_by(WAYS) {
        let x = x.map(|x| &x[i..i + WAYS]);
        for k in 0..WAYS {
            partial[k] = combine(partial[k], f(x.map(|x| f64::from(x[k]))));
        }
    }
    for i in full..n {
        partial[i - full] = combine(partial[i - full], f(x.map(|x| f64::from(x[i]))));
    }
    let mut half = WAYS / 2;
    while half > 0 {
        for k in 0..half {
            partial[k] = combine(partial[k], partial[k + half]);
        }
        half /= 2;
    }
    partial[0]
}

/// The sum of `f(x[0][i], x[1][i], ..)`; see [`fold`].
#[inline(always)]
pub(crate) fn sum<const N: usize>(x: [&[f32]; N], f: impl Fn([f64; N]) -> f64) -> f64 {
    fold(x, 0.0, f, |a, b| a + b)
}
