//! The copy on the host, row by row of the last dimension. Rows that lie without gaps in both views are copied whole.

use half::bf16;

use super::{Dims, MAX_RANK};
use crate::{In, Out};

/// `x` and `y` reach as far as `dims` does.
pub(super) fn strided_copy(x: In<'_>, y: Out<'_>, dims: &Dims) {
    match (x, y) {
        (In::F32(x), Out::F32(y)) => rows(x, y, dims, |x| x),
        (In::Bf16(x), Out::Bf16(y)) => rows(x, y, dims, |x| x),
        (In::Bf16(x), Out::F32(y)) => rows(x, y, dims, bf16::to_f32),
        (In::F32(x), Out::Bf16(y)) => rows(x, y, dims, bf16::from_f32),
        _ => unreachable!("a check refuses indices and operands of another device"),
    }
}

fn rows<X: Copy, Y>(x: &[X], y: &mut [Y], dims: &Dims, convert: impl Fn(X) -> Y) {
    const LAST: usize = MAX_RANK - 1;
    let (width, x_step, y_step) = (dims.extents[LAST], dims.x_strides[LAST], dims.y_strides[LAST]);
    for row in 0..dims.extents[..LAST].iter().product() {
        let (mut rest, mut from, mut to) = (row, 0, 0);
        for axis in (0..LAST).rev() {
            let i = rest % dims.extents[axis];
            rest /= dims.extents[axis];
            from += i * dims.x_strides[axis];
            to += i * dims.y_strides[axis];
        }
        if x_step == 1 && y_step == 1 {
            let pairs = y[to..to + width].iter_mut().zip(&x[from..from + width]);
            pairs.for_each(|(y, &x)| *y = convert(x));
        } else {
            (0..width).for_each(|i| y[to + i * y_step] = convert(x[from + i * x_step]));
        }
    }
}
