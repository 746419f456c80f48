//! The shortcuts in f64, from the definition.

use super::Dims;

/// What is added to `y[row, column, n]`, and the mean of magnitudes.
pub(super) fn average(dims: Dims, frames: &[Vec<f64>], [row, column, n]: [usize; 3]) -> (f64, f64) {
    let group = dims.channels * dims.step() / dims.out_channels;
    let (mut sum, mut scale) = (0.0, 0.0);
    for flat in n * group..(n + 1) * group {
        let (c, dt, i, j) = unflatten(dims, flat);
        let (y, x) = (row * dims.side + i, column * dims.side + j);
        let value = frames[dt].get((y * dims.width * dims.side + x) * dims.channels + c).copied().unwrap_or(0.0);
        sum += value;
        scale += value.abs();
    }
    (sum / group as f64, scale / group as f64)
}

/// What is added to `y[row, column, n]` of frame `at`.
pub(super) fn duplicate(dims: Dims, at: usize, frame: &[f64], [row, column, n]: [usize; 3]) -> f64 {
    let copies = dims.out_channels * dims.step() / dims.channels;
    let (i, j) = (row % dims.side, column % dims.side);
    let flat = ((n * dims.frames + at) * dims.side + i) * dims.side + j;
    frame[(row / dims.side * dims.width + column / dims.side) * dims.channels + flat / copies]
}

fn unflatten(dims: Dims, flat: usize) -> (usize, usize, usize, usize) {
    let (side, frames) = (dims.side, dims.frames);
    (flat / (side * side * frames), flat / (side * side) % frames, flat / side % side, flat % side)
}
