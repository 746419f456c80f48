//! One frame of a clip, as readers deliver it and writers take it.

use super::Cause;

/// What a reader of one format returns, a frame at a time.
pub(crate) type Frames = Box<dyn Iterator<Item = Result<Frame, Cause>>>;

/// Pixels in 0..=1, `[channels, height, width]`; 1 channel is greyscale, 3 are red, green and blue.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    extents: [usize; 3],
    pixels: Vec<f32>,
}

impl Frame {
    /// A frame of planes. The module's own readers vouch for the length and the range.
    pub(crate) fn new(extents: [usize; 3], pixels: Vec<f32>) -> Self {
        debug_assert_eq!(pixels.len(), extents.iter().product::<usize>());
        Self { extents, pixels }
    }

    /// A frame of 8-bit samples, pixel by pixel, `stride` samples a pixel of which the first `channels` are used.
    pub(crate) fn from_interleaved([channels, height, width]: [usize; 3], stride: usize, samples: &[u8]) -> Self {
        let plane = |c: usize| samples.iter().skip(c).step_by(stride).take(height * width).map(|&s| from_byte(s));
        Self::new([channels, height, width], (0..channels).flat_map(plane).collect())
    }

    /// `[channels, height, width]`.
    pub fn extents(&self) -> [usize; 3] {
        self.extents
    }

    /// All planes, `[channels, height, width]`.
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// One channel, `[height, width]`.
    ///
    /// # Panics
    /// If there is no such channel.
    pub fn plane(&self, channel: usize) -> &[f32] {
        let [_, height, width] = self.extents;
        &self.pixels[channel * height * width..][..height * width]
    }

    /// The same frame in greyscale (luma of ITU-R BT.601) or RGB (three equal planes).
    pub fn with_channels(self, channels: Channels) -> Self {
        let [have, height, width] = self.extents;
        match channels {
            Channels::Grey if have == 3 => {
                let [r, g, b] = [0, 1, 2].map(|c| self.plane(c));
                let luma = (0..height * width).map(|i| {
                    // In f64, so that equal components keep their value.
                    let y = 0.299 * f64::from(r[i]) + 0.587 * f64::from(g[i]) + 0.114 * f64::from(b[i]);
                    y as f32
                });
                Self::new([1, height, width], luma.collect())
            }
            Channels::Rgb if have == 1 => Self::new([3, height, width], self.pixels.repeat(3)),
            _ => self,
        }
    }

    /// 8-bit samples, pixel by pixel.
    pub(crate) fn to_interleaved(&self) -> Vec<u8> {
        let [channels, height, width] = self.extents;
        let size = height * width;
        let mut samples = vec![0; self.pixels.len()];
        for (i, pixel) in samples.chunks_exact_mut(channels).enumerate() {
            for (c, sample) in pixel.iter_mut().enumerate() {
                *sample = to_byte(self.pixels[c * size + i]);
            }
        }
        samples
    }
}

/// What the planes of a frame mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// One plane of intensity.
    Grey,
    /// Red, green and blue.
    Rgb,
}

impl Channels {
    /// From the number of planes, if it is 1 or 3.
    pub fn from_count(count: usize) -> Option<Self> {
        match count {
            1 => Some(Self::Grey),
            3 => Some(Self::Rgb),
            _ => None,
        }
    }
}

/// The 8-bit sample nearest to a pixel in 0..=1.
pub(crate) fn to_byte(pixel: f32) -> u8 {
    // `as` saturates, and takes NaN to 0.
    (pixel * 255.0 + 0.5) as u8
}

/// The pixel of an 8-bit sample. [`to_byte`] undoes it exactly.
pub(crate) fn from_byte(sample: u8) -> f32 {
    f32::from(sample) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive() {
        assert!((0..=255).all(|b| to_byte(from_byte(b)) == b));
        assert_eq!([to_byte(-0.1), to_byte(1.1), to_byte(f32::NAN)], [0, 255, 0]);
    }

    #[test]
    fn grey_survives_colour() {
        let grey = Frame::new([1, 16, 16], (0..=255).map(from_byte).collect());
        let back = grey.clone().with_channels(Channels::Rgb).with_channels(Channels::Grey);
        assert_eq!(back.to_interleaved(), grey.to_interleaved());
    }

    #[test]
    fn interleaving_is_inverse() {
        let samples: Vec<u8> = (0..24).map(|i| i * 9).collect();
        let frame = Frame::from_interleaved([3, 2, 4], 3, &samples);
        assert_eq!(frame.to_interleaved(), samples);
        assert_eq!(to_byte(frame.plane(1)[1]), 4 * 9);
        let grey_of_rgba = Frame::from_interleaved([1, 2, 3], 4, &samples);
        assert_eq!(grey_of_rgba.to_interleaved(), [0, 36, 72, 108, 144, 180]);
    }
}
