//! Loops over whole slices, eight lanes at a time: full vectors first, then one partial vector.

use crate::simd::{LANES, Simd};

/// `y[i] = f(x[0][i], x[1][i], ..)`. Every input is at least as long as `y`.
#[inline(always)]
pub(crate) fn map<S: Simd, const N: usize>(s: S, x: [&[f32]; N], y: &mut [f32], f: impl Fn([S::V; N]) -> S::V) {
    let n = y.len();
    let full = n - n % LANES;
    let x = x.map(|x| &x[..n]);
    for i in (0..full).step_by(LANES) {
        s.store(f(x.map(|x| s.load(&x[i..i + LANES]))), &mut y[i..i + LANES]);
    }
    if full < n {
        s.store_partial(f(x.map(|x| s.load_partial(&x[full..], 0.0))), &mut y[full..]);
    }
}

/// `y[i] = f(y[i], x[0][i], ..)`, in place. Every input is at least as long as `y`.
#[inline(always)]
pub(crate) fn update<S: Simd, const N: usize>(
    s: S,
    x: [&[f32]; N],
    y: &mut [f32],
    f: impl Fn(S::V, [S::V; N]) -> S::V,
) {
    let n = y.len();
    let full = n - n % LANES;
    let x = x.map(|x| &x[..n]);
    for i in (0..full).step_by(LANES) {
        let y = &mut y[i..i + LANES];
        s.store(f(s.load(y), x.map(|x| s.load(&x[i..i + LANES]))), y);
    }
    if full < n {
        let y = &mut y[full..];
        s.store_partial(f(s.load_partial(y, 0.0), x.map(|x| s.load_partial(&x[full..], 0.0))), y);
    }
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
