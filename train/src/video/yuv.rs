//! RGB to luma and chroma and back, ITU-R BT.601, 8 bits.

use super::Frame;
use super::frame::{from_byte, to_byte};

/// Which samples black and white have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// 0 and 255, as in JPEG.
    Full,
    /// 16 and 235, chroma 16 to 240, as in broadcast.
    Limited,
}

impl Range {
    /// Luma's offset and scale, and chroma's scale around 128, in units of 1/255.
    fn scales(self) -> (f32, f32, f32) {
        match self {
            Self::Full => (0.0, 1.0, 1.0),
            Self::Limited => (16.0 / 255.0, 219.0 / 255.0, 224.0 / 255.0),
        }
    }
}

const CENTRE: f32 = 128.0 / 255.0;

/// Luma and two planes of chroma, each `[height, width]`.
pub(crate) fn from_rgb(frame: &Frame, range: Range) -> [Vec<u8>; 3] {
    let (offset, luma, chroma) = range.scales();
    let [r, g, b] = [0, 1, 2].map(|c| frame.plane(c));
    let mut planes = [(); 3].map(|()| Vec::with_capacity(r.len()));
    for i in 0..r.len() {
        let y = 0.299 * r[i] + 0.587 * g[i] + 0.114 * b[i];
        planes[0].push(to_byte(offset + luma * y));
        planes[1].push(to_byte(CENTRE + chroma * (b[i] - y) / 1.772));
        planes[2].push(to_byte(CENTRE + chroma * (r[i] - y) / 1.402));
    }
    planes
}

/// A plane of luma alone.
pub(crate) fn grey(samples: &[u8], [height, width]: [usize; 2], range: Range) -> Frame {
    let (offset, luma, _) = range.scales();
    let pixels = samples.iter().map(|&s| ((from_byte(s) - offset) / luma).clamp(0.0, 1.0));
    Frame::new([1, height, width], pixels.collect())
}

/// Planes of which chroma has one sample for `subsampling` rows and columns of luma; samples are repeated.
pub(crate) fn to_rgb(
    [y, u, v]: [&[u8]; 3],
    [height, width]: [usize; 2],
    subsampling: [usize; 2],
    range: Range,
) -> Frame {
    let (offset, luma, chroma) = range.scales();
    let chroma_width = width.div_ceil(subsampling[1]);
    let mut pixels = vec![0.0; 3 * height * width];
    for i in 0..height * width {
        let at = i / width / subsampling[0] * chroma_width + i % width / subsampling[1];
        let y = (from_byte(y[i]) - offset) / luma;
        let [u, v] = [u[at], v[at]].map(|s| (from_byte(s) - CENTRE) / chroma);
        let rgb = [y + 1.402 * v, y - (0.114 * 1.772 * u + 0.299 * 1.402 * v) / 0.587, y + 1.772 * u];
        for (c, value) in rgb.into_iter().enumerate() {
            pixels[c * height * width + i] = value.clamp(0.0, 1.0);
        }
    }
    Frame::new([3, height, width], pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primaries_have_their_published_samples() {
        let samples = |rgb: [u8; 3], range| from_rgb(&Frame::from_interleaved([3, 1, 1], 3, &rgb), range).map(|p| p[0]);
        assert_eq!(samples([255, 0, 0], Range::Limited), [81, 90, 240]);
        assert_eq!(samples([255, 255, 255], Range::Limited), [235, 128, 128]);
        assert_eq!(samples([0, 0, 255], Range::Full), [29, 255, 107]);
    }

    #[test]
    fn full_range_round_trips_to_one_step() {
        // Each plane is off by at most half a step, so R by 0.5 + 1.402/2 = 1.2, B by 1.4 and G by 1.03 steps before
        // the last rounding: at most one step after it. Pure blue and red saturate chroma by half a step.
        let levels = (0..=255_u8).step_by(17);
        for rgb in levels.clone().flat_map(|r| levels.clone().map(move |g| [r, g, 255 - r / 2 - g / 2])) {
            let frame = Frame::from_interleaved([3, 1, 1], 3, &rgb);
            let [y, u, v] = from_rgb(&frame, Range::Full);
            let back = to_rgb([&y, &u, &v], [1, 1], [1, 1], Range::Full).to_interleaved();
            assert!(rgb.iter().zip(&back).all(|(a, b)| a.abs_diff(*b) <= 1), "{rgb:?} {back:?}");
        }
    }

    #[test]
    fn chroma_is_repeated_over_odd_extents() {
        let (y, u, v) = ([128; 15], [128, 128, 128, 255, 128, 128], [128; 6]);
        let frame = to_rgb([&y, &u, &v], [3, 5], [2, 2], Range::Full);
        let blue: Vec<usize> = (0..15).filter(|&i| frame.plane(2)[i] > 0.9).collect();
        assert_eq!(blue, [10, 11]);
    }
}
