//! The copy as it is defined, element by element.

use super::Dims;

pub(super) fn strided_copy(x: &[f64], before: &[f64], dims: &Dims) -> Vec<f64> {
    let mut y = before.to_vec();
    for index in 0..dims.extents.iter().product() {
        let (mut rest, mut from, mut to) = (index, 0, 0);
        for axis in (0..dims.extents.len()).rev() {
            let i = rest % dims.extents[axis];
            rest /= dims.extents[axis];
            from += i * dims.x_strides[axis];
            to += i * dims.y_strides[axis];
        }
        y[to] = x[from];
    }
    y
}
