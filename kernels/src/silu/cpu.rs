//! SiLU on the CPU: one pass at memory speed.

use crate::lanes::map;
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, Simd, dispatch};

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
        map(s, [self.x], self.y, |[x]| s.mul(x, s.sigmoid(x)));
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
        map(s, [self.x, self.dy], self.dx, |[x, dy]| {
            let sigmoid = s.sigmoid(x);
            s.mul(dy, s.mul(sigmoid, s.mul_add(x, s.sub(one, sigmoid), one)))
        });
    }
}
