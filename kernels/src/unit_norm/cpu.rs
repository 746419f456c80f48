//! The norm on the CPU: a row is read from memory once and then from the first-level cache.

use super::{Activation, FLOOR};
use crate::lanes::map;
use crate::row_sums::row_sums;
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 8;

/// Operands that every piece reads.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub x: &'a [f32],
    pub weight: &'a [f32],
    pub activation: Activation,
}

pub(super) fn run(isa: Isa, inputs: Inputs<'_>, y: &mut [f32]) {
    let width = inputs.weight.len();
    for_rows(y, width, COST * width, |first, y| {
        let x = &inputs.x[first * width..][..y.len()];
        match inputs.activation {
            Activation::None => dispatch(isa, Rows::<false> { x, weight: inputs.weight, y }),
            Activation::Silu => dispatch(isa, Rows::<true> { x, weight: inputs.weight, y }),
        }
    });
}

/// Whether SiLU follows is known to the compiler.
struct Rows<'a, const SILU: bool> {
    x: &'a [f32],
    weight: &'a [f32],
    y: &'a mut [f32],
}

impl<const SILU: bool> Body for Rows<'_, SILU> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.weight.len();
        let root = (width as f32).sqrt();
        for (x, y) in self.x.chunks_exact(width).zip(self.y.chunks_exact_mut(width)) {
            let [squares] = row_sums(s, [x], 0.0, |[sum], [x]| [s.mul_add(x, x, sum)]);
            let length = squares.sqrt();
            // Not `f32::max`, which would replace a NaN.
            let length = if length < FLOOR { FLOOR } else { length };
            let k = s.splat(root / length);
            map(s, [x, self.weight], y, |[x, weight]| {
                let u = s.mul(s.mul(x, k), weight);
                if SILU { s.mul(u, s.sigmoid(u)) } else { u }
            });
        }
    }
}
