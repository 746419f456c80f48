//! The convolution in f64.

use super::{Dims, Sampling};

/// The row or column of a frame of `extent` that tap `tap` of result `at` looks at; `None` where it lies outside.
fn source(sampling: Sampling, at: usize, tap: usize, taps: usize, extent: usize) -> Option<usize> {
    let source = match sampling {
        Sampling::Same => (at + tap).checked_sub(taps / 2)?,
        // Outside of the larger frame is outside, not the nearest pixel.
        Sampling::Upsample => (at + tap).checked_sub(1)? / 2,
        Sampling::Downsample => 2 * at + tap,
    };
    (source < extent).then_some(source)
}

/// The sum of one result's terms, and of their magnitudes. `weight` is `[out_channels, kt, kh, kw, channels]`.
pub(super) fn element(
    dims: Dims,
    frames: &[Option<Vec<f64>>],
    weight: &[f64],
    [row, column, n]: [usize; 3],
) -> (f64, f64) {
    let Dims { height, width, channels, taps: [_, kh, kw], sampling, .. } = dims;
    let (mut sum, mut scale) = (0.0, 0.0);
    for (t, frame) in frames.iter().enumerate() {
        let Some(frame) = frame else { continue };
        for (i, j) in (0..kh).flat_map(|i| (0..kw).map(move |j| (i, j))) {
            let pixel = source(sampling, row, i, kh, height).zip(source(sampling, column, j, kw, width));
            for c in 0..channels {
                let x = pixel.map_or(0.0, |(y, x)| frame[(y * width + x) * channels + c]);
                let term = x * weight[(((n * dims.taps[0] + t) * kh + i) * kw + j) * channels + c];
                sum += term;
                scale += term.abs();
            }
        }
    }
    (sum, scale)
}
