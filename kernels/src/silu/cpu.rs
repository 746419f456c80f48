//! SiLU on the CPU: one pass at memory speed.

use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, LANES, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 4;

pub(super) fn forward(isa: Isa, x: &[f32], y: &mut [f32]) {
    for_rows(y, 1, COST, |first, y| dispatch(isa, ForwardLoop { x: &x[first..first + y.len()], y }));
}

pub(super) fn backward(isa: Isa, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for_rows(dx, 1, COST, |first, dx| {
        let rows = first..first + dx.len();
        dispatch(isa, BackwardLoop { x: &x[rows.clone()], dy: &dy[rows], dx })
    });
}

struct ForwardLoop<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Body for ForwardLoop<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, y) in self.x.chunks(LANES).zip(self.y.chunks_mut(LANES)) {
            let v = s.load_partial(x, 0.0);
            s.store_partial(s.mul(v, s.sigmoid(v)), y);
        }
    }
}

struct BackwardLoop<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Body for BackwardLoop<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let one = s.splat(1.0);
        for ((x, dy), dx) in self.x.chunks(LANES).zip(self.dy.chunks(LANES)).zip(self.dx.chunks_mut(LANES)) {
            let v = s.load_partial(x, 0.0);
            let sig = s.sigmoid(v);
            let slope = s.mul(sig, s.mul_add(v, s.sub(one, sig), one));
            s.store_partial(s.mul(s.load_partial(dy, 0.0), slope), dx);
        }
    }
}
