//! One pass at memory speed.

use crate::lanes::update;
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 2;

pub(super) fn lerp(isa: Isa, average: &mut [f32], x: &[f32], decay: f32) {
    for_rows(average, 1, COST, |first, average| {
        dispatch(isa, LerpLoop { x: &x[first..first + average.len()], average, decay });
    });
}

struct LerpLoop<'a> {
    average: &'a mut [f32],
    x: &'a [f32],
    decay: f32,
}

impl Body for LerpLoop<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (decay, rest) = (s.splat(self.decay), s.splat(1.0 - self.decay));
        update(s, [self.x], self.average, |average, [x]| s.mul_add(decay, average, s.mul(rest, x)));
    }
}
