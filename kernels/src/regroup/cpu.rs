//! The shortcuts on the CPU: a pass over the result, rows of it side by side.

use super::Dims;
use crate::runtime::cpu::for_rows;

/// Scalar operations an element read, for the split over threads: most of them find out where it is.
const COST: usize = 4;

pub(super) fn average(dims: Dims, frames: &[Option<&[f32]>], y: &mut [f32]) {
    let Dims { width, channels, out_channels, side, .. } = dims;
    if y.is_empty() || channels == 0 {
        return;
    }
    let group = channels * dims.step() / out_channels;
    let parts = dims.frames * side * side;
    for_rows(y, width * out_channels, COST * width * channels * dims.step(), |first, y| {
        for (r, y) in y.chunks_exact_mut(width * out_channels).enumerate() {
            for (s, y) in y.chunks_exact_mut(out_channels).enumerate() {
                let pixel = |part: usize| {
                    let (dt, i, j) = (part / (side * side), part / side % side, part % side);
                    let at = (((first + r) * side + i) * width * side + s * side + j) * channels;
                    frames[dt].map(|frame| &frame[at..][..channels])
                };
                for (n, y) in y.iter_mut().enumerate() {
                    let term = |flat: usize| pixel(flat % parts).map_or(0.0, |pixel| pixel[flat / parts]);
                    *y += (n * group..(n + 1) * group).map(term).sum::<f32>() / group as f32;
                }
            }
        }
    });
}

pub(super) fn duplicate(dims: Dims, at: usize, frame: &[f32], y: &mut [f32]) {
    let Dims { width, channels, out_channels, frames, side, .. } = dims;
    if y.is_empty() {
        return;
    }
    let copies = out_channels * dims.step() / channels;
    let line = width * side * out_channels;
    for_rows(y, line, COST * line, |first, y| {
        for (r, y) in y.chunks_exact_mut(line).enumerate() {
            let row = first + r;
            for (s, y) in y.chunks_exact_mut(out_channels).enumerate() {
                let pixel = &frame[(row / side * width + s / side) * channels..][..channels];
                let flat = (at * side + row % side) * side + s % side;
                for (n, y) in y.iter_mut().enumerate() {
                    *y += pixel[(n * frames * side * side + flat) / copies];
                }
            }
        }
    });
}
