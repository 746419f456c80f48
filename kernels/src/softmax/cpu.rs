//! Softmax on the CPU: three passes over a row that stays in the first-level cache.

use crate::lanes::{map, update};
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, LANES, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 6;

pub(super) fn forward(isa: Isa, x: &[f32], y: &mut [f32], width: usize) {
    for_rows(y, width, COST * width, |first, y| {
        let x = &x[first * width..first * width + y.len()];
        dispatch(isa, ForwardRows { x, y, width });
    });
}

pub(super) fn backward(isa: Isa, y: &[f32], dy: &[f32], dx: &mut [f32], width: usize) {
    for_rows(dx, width, COST * width, |first, dx| {
        let piece = first * width..first * width + dx.len();
        dispatch(isa, BackwardRows { y: &y[piece.clone()], dy: &dy[piece], dx, width });
    });
}

struct ForwardRows<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
    width: usize,
}

impl Body for ForwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, y) in self.x.chunks_exact(self.width).zip(self.y.chunks_exact_mut(self.width)) {
            let max = s.splat(row_max(s, x));
            let scale = s.splat(1.0 / exponentials(s, x, max, y));
            update(s, [], y, |y, []| s.mul(y, scale));
        }
    }
}

/// The largest element. A NaN may get lost here: it comes back with the difference from the maximum.
#[inline(always)]
fn row_max<S: Simd>(s: S, x: &[f32]) -> f32 {
    const WAYS: usize = 4;
    let mut max = [s.splat(f32::NEG_INFINITY); WAYS];
    let mut blocks = x.chunks_exact(WAYS * LANES);
    for block in &mut blocks {
        for k in 0..WAYS {
            max[k] = s.max(max[k], s.load(&block[k * LANES..(k + 1) * LANES]));
        }
    }
    for x in blocks.remainder().chunks(LANES) {
        max[0] = s.max(max[0], s.load_partial(x, f32::NEG_INFINITY));
    }
    let max = s.max(s.max(max[0], max[1]), s.max(max[2], max[3]));
    s.to_array(max).into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// Writes `e^(x - max)` and returns the sum.
#[inline(always)]
fn exponentials<S: Simd>(s: S, x: &[f32], max: S::V, y: &mut [f32]) -> f32 {
    // What `exp` gives at its lower clamp, taken off so that whatever lies below becomes exactly 0.
    let floor = s.exp(s.splat(f32::NEG_INFINITY));
    let mut sum = s.zero();
    let full = x.len() - x.len() % LANES;
    for i in (0..full).step_by(LANES) {
        let e = shifted_exp(s, s.load(&x[i..i + LANES]), max, floor);
        sum = s.add(sum, e);
        s.store(e, &mut y[i..i + LANES]);
    }
    if full < x.len() {
        let e = shifted_exp(s, s.load_partial(&x[full..], f32::NEG_INFINITY), max, floor);
        sum = s.add(sum, e);
        s.store_partial(e, &mut y[full..]);
    }
    s.sum(sum)
}

/// `e^(x - max) - floor`
#[inline(always)]
fn shifted_exp<S: Simd>(s: S, x: S::V, max: S::V, floor: S::V) -> S::V {
    s.sub(s.exp(s.sub(x, max)), floor)
}

struct BackwardRows<'a> {
    y: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    width: usize,
}

impl Body for BackwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.y.chunks_exact(self.width).zip(self.dy.chunks_exact(self.width));
        for ((y, dy), dx) in rows.zip(self.dx.chunks_exact_mut(self.width)) {
            let mean = s.splat(dot(s, y, dy));
            map(s, [y, dy], dx, |[y, dy]| s.mul(y, s.sub(dy, mean)));
        }
    }
}

/// `sum_k a_k b_k`
#[inline(always)]
fn dot<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f32 {
    const WAYS: usize = 4;
    let mut sum = [s.zero(); WAYS];
    let (mut a, mut b) = (a.chunks_exact(WAYS * LANES), b.chunks_exact(WAYS * LANES));
    for (a, b) in (&mut a).zip(&mut b) {
        for k in 0..WAYS {
            let lanes = k * LANES..(k + 1) * LANES;
            sum[k] = s.mul_add(s.load(&a[lanes.clone()]), s.load(&b[lanes]), sum[k]);
        }
    }
    for (a, b) in a.remainder().chunks(LANES).zip(b.remainder().chunks(LANES)) {
        sum[0] = s.mul_add(s.load_partial(a, 0.0), s.load_partial(b, 0.0), sum[0]);
    }
    s.sum(s.add(s.add(sum[0], sum[1]), s.add(sum[2], sum[3])))
}
