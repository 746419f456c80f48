//! A clip of pixels in memory, and its extents.

use super::frame::{from_byte, to_byte};
use super::{Error, Frame};

/// The extents of a clip, in the order in which its values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geometry {
    /// 1 (greyscale) or 3 (red, green, blue).
    pub channels: usize,
    /// Frames, in order of time.
    pub frames: usize,
    /// Rows of a frame, from the top.
    pub height: usize,
    /// Columns of a frame, from the left.
    pub width: usize,
}

impl Geometry {
    fn checked_len(self) -> Option<usize> {
        self.channels.checked_mul(self.frames)?.checked_mul(self.height)?.checked_mul(self.width)
    }

    /// Values in a clip that can be held: 1 or 3 channels, no extent zero, no overflow.
    ///
    /// # Errors
    /// [`Error::Channels`], [`Error::Empty`] or [`Error::TooLarge`].
    pub fn pixels(self) -> Result<usize, Error> {
        if !matches!(self.channels, 1 | 3) {
            return Err(Error::Channels { got: self.channels });
        }
        match self.checked_len() {
            Some(0) => Err(Error::Empty { geometry: self }),
            Some(len) if len <= isize::MAX as usize / size_of::<f32>() => Ok(len),
            _ => Err(Error::TooLarge { geometry: self }),
        }
    }

    /// Position of a value in a clip of this geometry.
    pub(crate) fn offset(self, channel: usize, frame: usize, row: usize, column: usize) -> usize {
        ((channel * self.frames + frame) * self.height + row) * self.width + column
    }
}

impl std::fmt::Display for Geometry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { channels, frames, height, width } = self;
        write!(f, "{channels} channels x {frames} frames x {height} rows x {width} columns")
    }
}

/// Pixels in 0..=1 (0 black, 1 full intensity, display-referred), `[channels, frames, height, width]`.
///
/// A clip always holds *pixels*; what a network sees is normalised by [`Moments`](crate::data::Moments) and never
/// stored in a `Clip`.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    geometry: Geometry,
    pixels: Vec<f32>,
}

impl Clip {
    /// A black clip.
    ///
    /// # Errors
    /// Those of [`Geometry::pixels`].
    pub fn black(geometry: Geometry) -> Result<Self, Error> {
        Ok(Self { geometry, pixels: vec![0.0; geometry.pixels()?] })
    }

    /// A clip of given pixels. Those outside 0..=1 are clamped, and NaN becomes black, so that every clip can be
    /// shown.
    ///
    /// # Errors
    /// Those of [`Geometry::pixels`], and [`Error::Length`] if `pixels` are not as many as the extents ask for.
    pub fn from_pixels(geometry: Geometry, mut pixels: Vec<f32>) -> Result<Self, Error> {
        let expected = geometry.pixels()?;
        if pixels.len() != expected {
            return Err(Error::Length { geometry, expected, got: pixels.len() });
        }
        for p in &mut pixels {
            *p = if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) };
        }
        Ok(Self { geometry, pixels })
    }

    /// A clip of 8-bit samples, 255 being full intensity.
    ///
    /// # Errors
    /// As [`Clip::from_pixels`].
    pub fn from_bytes(geometry: Geometry, samples: &[u8]) -> Result<Self, Error> {
        Self::from_pixels(geometry, samples.iter().map(|&s| from_byte(s)).collect())
    }

    /// A clip of frames of equal extents.
    ///
    /// # Errors
    /// [`Error::NoFrames`] without frames, and [`Error::FrameSize`] if the frames differ.
    pub fn from_frames(frames: &[Frame]) -> Result<Self, Error> {
        let first = frames.first().ok_or(Error::NoFrames)?;
        if let Some(other) = frames.iter().find(|f| f.extents() != first.extents()) {
            return Err(Error::FrameSize { first: first.extents(), other: other.extents() });
        }
        let [channels, height, width] = first.extents();
        let planes = (0..channels).flat_map(|c| frames.iter().map(move |f| f.plane(c)));
        let pixels = planes.flatten().copied().collect();
        Self::from_pixels(Geometry { channels, frames: frames.len(), height, width }, pixels)
    }

    /// The extents.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The pixels, `[channels, frames, height, width]`, each in 0..=1.
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// The nearest 8-bit samples, in the order of the pixels.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.pixels.iter().map(|&p| to_byte(p)).collect()
    }

    /// The pixels, for drawing. The caller keeps them in 0..=1.
    pub(crate) fn pixels_mut(&mut self) -> &mut [f32] {
        &mut self.pixels
    }

    /// One pixel.
    ///
    /// # Panics
    /// If an index is outside the clip.
    pub fn pixel(&self, channel: usize, frame: usize, row: usize, column: usize) -> f32 {
        self.pixels[self.geometry.offset(channel, frame, row, column)]
    }

    /// The frames, in order of time.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = Frame> + '_ {
        let Geometry { channels, frames, height, width } = self.geometry;
        (0..frames).map(move |f| {
            let planes = (0..channels).flat_map(|c| {
                let start = self.geometry.offset(c, f, 0, 0);
                &self.pixels[start..start + height * width]
            });
            Frame::new([channels, height, width], planes.copied().collect())
        })
    }

    /// The same clip with each pixel repeated `factor` times in both directions, for looking at small clips. A factor
    /// of 0 or 1 changes nothing.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn enlarged(&self, factor: usize) -> Result<Self, Error> {
        let Geometry { channels, frames, height, width } = self.geometry;
        let factor = factor.max(1);
        let [height, width] = [height.saturating_mul(factor), width.saturating_mul(factor)];
        let mut large = Self::black(Geometry { channels, frames, height, width })?;
        for (row, out) in large.pixels.chunks_exact_mut(width).enumerate() {
            let source = &self.pixels[row / factor * self.geometry.width..][..self.geometry.width];
            for (column, pixel) in out.iter_mut().enumerate() {
                *pixel = source[column / factor];
            }
        }
        Ok(large)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_clips_are_inverse() {
        let geometry = Geometry { channels: 3, frames: 2, height: 1, width: 2 };
        let clip = Clip::from_pixels(geometry, (0..12).map(|i| i as f32 / 16.0).collect()).unwrap();
        let frames: Vec<Frame> = clip.frames().collect();
        assert_eq!(frames[1].plane(2), [10.0 / 16.0, 11.0 / 16.0]);
        assert_eq!(Clip::from_frames(&frames).unwrap(), clip);
        assert!(matches!(Clip::from_frames(&[]), Err(Error::NoFrames)));
        let other = Frame::new([1, 1, 2], vec![0.0; 2]);
        assert!(matches!(Clip::from_frames(&[frames[0].clone(), other]), Err(Error::FrameSize { .. })));
    }

    #[test]
    fn pixels_are_clamped_and_counted() {
        let geometry = Geometry { channels: 1, frames: 1, height: 1, width: 4 };
        let clip = Clip::from_pixels(geometry, vec![-1.0, 0.5, f32::INFINITY, f32::NAN]).unwrap();
        assert_eq!(clip.pixels(), [0.0, 0.5, 1.0, 0.0]);
        assert!(matches!(Clip::from_pixels(geometry, vec![0.0; 3]), Err(Error::Length { got: 3, .. })));
        assert!(matches!(Clip::black(Geometry { frames: 0, ..geometry }), Err(Error::Empty { .. })));
        assert!(matches!(Clip::black(Geometry { channels: 2, ..geometry }), Err(Error::Channels { got: 2 })));
        assert!(matches!(Clip::black(Geometry { width: usize::MAX, ..geometry }), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn enlarging_repeats_pixels() {
        let geometry = Geometry { channels: 1, frames: 2, height: 1, width: 2 };
        let clip = Clip::from_pixels(geometry, vec![0.1, 0.2, 0.3, 0.4]).unwrap();
        let large = clip.enlarged(2).unwrap();
        assert_eq!(large.pixels()[..8], [0.1, 0.1, 0.2, 0.2, 0.1, 0.1, 0.2, 0.2]);
        assert_eq!(large.pixels()[8..12], [0.3, 0.3, 0.4, 0.4]);
        assert_eq!(clip.enlarged(0).unwrap(), clip);
    }
}
