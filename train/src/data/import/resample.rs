//! From a frame of any size to a frame of the asked size.

use crate::video::Frame;

/// Crops the centre of a frame to the aspect of `height` x `width`, and resamples it: by the mean over areas along an
/// axis that shrinks (nothing aliases, nothing is lost), linearly along one that grows.
pub fn fit(frame: &Frame, height: usize, width: usize) -> Frame {
    let [channels, rows, columns] = frame.extents();
    // The largest window of the target's aspect, in real numbers: cropping to whole pixels would skew small frames.
    let scale = (rows as f64 / height as f64).min(columns as f64 / width as f64);
    let vertical = Axis::new(rows, scale * height as f64, height);
    let horizontal = Axis::new(columns, scale * width as f64, width);
    let mut pixels = Vec::with_capacity(channels * height * width);
    for channel in 0..channels {
        let plane = frame.plane(channel);
        let narrow: Vec<f64> =
            plane.chunks_exact(columns).flat_map(|row| horizontal.taps.iter().map(|tap| tap.sum(row, 1))).collect();
        for tap in &vertical.taps {
            pixels.extend((0..width).map(|column| tap.sum(&narrow[column..], width) as f32));
        }
    }
    Frame::new([channels, height, width], pixels)
}

/// How the values along one axis become others.
struct Axis {
    taps: Vec<Tap>,
}

/// A weighted mean of neighbouring values.
struct Tap {
    first: usize,
    /// Sum to 1.
    weights: Vec<f64>,
}

impl Axis {
    /// From the middle `window` of `len` values to `count` values.
    fn new(len: usize, window: f64, count: usize) -> Self {
        let (start, step) = ((len as f64 - window) / 2.0, window / count as f64);
        let tap = |i: usize| {
            let from = start + i as f64 * step;
            if step > 1.0 { Tap::area(len, from, from + step) } else { Tap::linear(len, from + step / 2.0) }
        };
        Self { taps: (0..count).map(tap).collect() }
    }
}

impl Tap {
    /// The mean from one place to another; value `i` covers the places from `i` to `i + 1`.
    fn area(len: usize, from: f64, to: f64) -> Self {
        let first = (from.max(0.0) as usize).min(len - 1);
        let last = (to.ceil().max(1.0) as usize).clamp(first + 1, len);
        let overlap = |i: usize| (to.min(i as f64 + 1.0) - from.max(i as f64)).max(0.0);
        Self::normalised(first, (first..last).map(overlap).collect())
    }

    /// Between the two values whose middles are nearest to a place; beyond the outer middles, the outer value.
    fn linear(len: usize, place: f64) -> Self {
        let place = (place - 0.5).clamp(0.0, len as f64 - 1.0);
        let first = place as usize;
        let fraction = place - first as f64;
        Self::normalised(first, if first + 1 < len { vec![1.0 - fraction, fraction] } else { vec![1.0] })
    }

    fn normalised(first: usize, mut weights: Vec<f64>) -> Self {
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= sum);
        Self { first, weights }
    }

    fn sum<T: Copy + Into<f64>>(&self, values: &[T], stride: usize) -> f64 {
        let values = values.iter().step_by(stride).skip(self.first);
        self.weights.iter().zip(values).map(|(w, &v)| w * v.into()).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(extents: [usize; 3], of: impl Fn(usize) -> f32) -> Frame {
        Frame::new(extents, (0..extents.iter().product()).map(of).collect())
    }

    #[test]
    fn halving_is_the_mean_of_four() {
        let fitted = fit(&frame([1, 2, 4], |i| i as f32 / 8.0), 1, 2);
        assert_eq!(fitted.pixels(), [(0.0 + 1.0 + 4.0 + 5.0) / 32.0, (2.0 + 3.0 + 6.0 + 7.0) / 32.0]);
    }

    #[test]
    fn the_centre_is_kept() {
        let fitted = fit(&frame([3, 2, 6], |i| i as f32 / 36.0), 2, 2);
        assert_eq!(fitted.pixels()[..4], [2.0, 3.0, 8.0, 9.0].map(|v| v / 36.0));
        assert_eq!(fitted.plane(2)[0], 26.0 / 36.0);
        // Five columns to an aspect of four: half a column goes on each side.
        let fitted = fit(&frame([1, 2, 5], |i| (i % 5) as f32 / 4.0), 1, 2);
        assert_eq!(fitted.pixels(), [(0.5 * 0.0 + 1.0 + 0.5 * 2.0) / 8.0, (0.5 * 2.0 + 3.0 + 0.5 * 4.0) / 8.0]);
    }

    #[test]
    fn growing_is_linear_between_middles() {
        let fitted = fit(&frame([1, 1, 2], |i| i as f32), 2, 4);
        assert_eq!(fitted.pixels(), [0.0, 0.25, 0.75, 1.0].repeat(2));
    }

    proptest! {
        #[test]
        fn flat_frames_stay_flat([rows, columns, height, width] in proptest::array::uniform4(1..20_usize)) {
            let fitted = fit(&frame([1, rows, columns], |_| 0.75), height, width);
            prop_assert_eq!(fitted.extents(), [1, height, width]);
            // Weights sum to 1 up to a rounding of f64 each.
            prop_assert!(fitted.pixels().iter().all(|p| (p - 0.75).abs() <= f32::EPSILON));
        }

        #[test]
        fn the_same_size_changes_nothing(rows in 1..20_usize, columns in 1..20_usize) {
            let whole = frame([1, rows, columns], |i| (i * 7 % 11) as f32 / 11.0);
            prop_assert_eq!(fit(&whole, rows, columns), whole);
        }
    }
}
