//! One pass at memory speed.

use crate::lanes::{map, update};
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 2;

pub(super) fn combine(isa: Isa, x: [&[f32]; 2], factors: [f32; 2], out: &mut [f32]) {
    for_rows(out, 1, COST, |first, out| {
        let x = x.map(|x| &x[first..first + out.len()]);
        dispatch(isa, CombineLoop { x, factors, out });
    });
}

pub(super) fn scale(isa: Isa, x: &[f32], factor: f32, out: &mut [f32]) {
    for_rows(out, 1, COST, |first, out| {
        dispatch(isa, ScaleLoop { x: &x[first..first + out.len()], factor, out });
    });
}

pub(super) fn accumulate(isa: Isa, x: &[f32], alpha: f32, y: &mut [f32]) {
    for_rows(y, 1, COST, |first, y| {
        dispatch(isa, AccumulateLoop { x: &x[first..first + y.len()], alpha, y });
    });
}

pub(super) fn multiply(isa: Isa, x: [&[f32]; 2], out: &mut [f32]) {
    for_rows(out, 1, COST, |first, out| {
        let x = x.map(|x| &x[first..first + out.len()]);
        dispatch(isa, MultiplyLoop { x, out });
    });
}

pub(super) fn scale_rows(isa: Isa, x: &[f32], factors: &[f32], y: Option<&[f32]>, out: &mut [f32], width: usize) {
    for_rows(out, width, COST * width, |first, out| {
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            let row = (first + i) * width..(first + i + 1) * width;
            let (x, factor) = (&x[row.clone()], factors[first + i]);
            match y {
                Some(y) => dispatch(isa, CombineLoop { x: [x, &y[row]], factors: [factor, 1.0], out }),
                None => dispatch(isa, ScaleLoop { x, factor, out }),
            }
        }
    });
}

struct CombineLoop<'a> {
    x: [&'a [f32]; 2],
    factors: [f32; 2],
    out: &'a mut [f32],
}

impl Body for CombineLoop<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [alpha, beta] = self.factors.map(|f| s.splat(f));
        map(s, self.x, self.out, |[x, y]| s.mul_add(alpha, x, s.mul(beta, y)));
    }
}

struct ScaleLoop<'a> {
    x: &'a [f32],
    factor: f32,
    out: &'a mut [f32],
}

impl Body for ScaleLoop<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let factor = s.splat(self.factor);
        map(s, [self.x], self.out, |[x]| s.mul(factor, x));
    }
}

struct AccumulateLoop<'a> {
    x: &'a [f32],
    alpha: f32,
    y: &'a mut [f32],
}

impl Body for AccumulateLoop<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let alpha = s.splat(self.alpha);
        update(s, [self.x], self.y, |y, [x]| s.mul_add(alpha, x, y));
    }
}

struct MultiplyLoop<'a> {
    x: [&'a [f32]; 2],
    out: &'a mut [f32],
}

impl Body for MultiplyLoop<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        map(s, self.x, self.out, |[a, b]| s.mul(a, b));
    }
}
