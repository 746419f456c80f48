//! The gated residual connection on the CPU: one pass at memory speed.

use crate::groups::Groups;
use crate::lanes;
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 4;

pub(super) fn forward(isa: Isa, groups: Groups, x: &[f32], h: &[f32], gate: Option<&[f32]>, y: &mut [f32]) {
    let ones = vec![1.0; groups.width];
    for_rows(y, groups.width, COST * groups.width, |first_row, y| {
        dispatch(isa, ForwardRows { groups, x, h, gate, ones: &ones, first_row, y });
    });
}

struct ForwardRows<'a> {
    groups: Groups,
    x: &'a [f32],
    h: &'a [f32],
    gate: Option<&'a [f32]>,
    /// `[width]`: the gate that is absent.
    ones: &'a [f32],
    first_row: usize,
    y: &'a mut [f32],
}

impl Body for ForwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.groups.width;
        for (r, y) in self.y.chunks_exact_mut(width).enumerate() {
            let row = self.first_row + r;
            let (x, h) = (&self.x[row * width..][..width], &self.h[row * width..][..width]);
            let gate = self.groups.of_row(self.gate, self.ones, row);
            lanes::map(s, [x, h, gate], y, |[x, h, gate]| s.mul_add(gate, h, x));
        }
    }
}

/// Operands that every piece of the backward pass reads.
#[derive(Clone, Copy)]
pub(super) struct Backward<'a> {
    pub groups: Groups,
    pub h: &'a [f32],
    pub gate: Option<&'a [f32]>,
    pub dy: &'a [f32],
}

pub(super) fn backward(isa: Isa, inputs: Backward<'_>, dh: &mut [f32], dgate: Option<&mut [f32]>) {
    let groups = inputs.groups;
    let ones = vec![1.0; groups.width];
    groups.for_pieces(COST * groups.width, dh, [dgate], |first_row, dh, [dgate]| {
        dispatch(isa, BackwardRows { inputs, ones: &ones, first_row, dh, dgate });
    });
}

struct BackwardRows<'a> {
    inputs: Backward<'a>,
    /// `[width]`: the gate that is absent.
    ones: &'a [f32],
    first_row: usize,
    dh: &'a mut [f32],
    /// Empty where not asked for.
    dgate: &'a mut [f32],
}

impl Body for BackwardRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Backward { groups, h, gate, dy } = self.inputs;
        let width = groups.width;
        let gate = groups.of_row(gate, self.ones, self.first_row);
        for (r, dh) in self.dh.chunks_exact_mut(width).enumerate() {
            let row = self.first_row + r;
            let (h, dy) = (&h[row * width..][..width], &dy[row * width..][..width]);
            lanes::map(s, [gate, dy], dh, |[gate, dy]| s.mul(gate, dy));
            lanes::update(s, [dy, h], self.dgate, |sum, [dy, h]| s.mul_add(dy, h, sum));
        }
    }
}
