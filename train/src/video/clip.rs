//! A clip of pixels in memory, and its extents.

use super::Error;

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
    /// Values in a clip of this geometry, or `None` if the product overflows.
    pub fn checked_len(self) -> Option<usize> {
        self.channels.checked_mul(self.frames)?.checked_mul(self.height)?.checked_mul(self.width)
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
    /// [`Error::Empty`] if an extent is zero, [`Error::Channels`] if the channels are neither 1 nor 3, and
    /// [`Error::TooLarge`] if the extents overflow.
    pub fn black(geometry: Geometry) -> Result<Self, Error> {
        let len = check(geometry)?;
        Ok(Self { geometry, pixels: vec![0.0; len] })
    }

    /// A clip of given pixels. Pixels outside 0..=1 are clamped, and NaN becomes black, so that every clip can be shown.
    ///
    /// # Errors
    /// As [`Clip::black`], and [`Error::Length`] if `pixels` does not have the length that the extents ask for.
    pub fn from_pixels(geometry: Geometry, mut pixels: Vec<f32>) -> Result<Self, Error> {
        let expected = check(geometry)?;
        if pixels.len() != expected {
            return Err(Error::Length { geometry, expected, got: pixels.len() });
        }
        for p in &mut pixels {
            *p = if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) };
        }
        Ok(Self { geometry, pixels })
    }

    /// The extents.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The pixels, `[channels, frames, height, width]`, each in 0..=1.
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
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
}

fn check(geometry: Geometry) -> Result<usize, Error> {
    if !matches!(geometry.channels, 1 | 3) {
        return Err(Error::Channels { got: geometry.channels });
    }
    match geometry.checked_len() {
        Some(0) => Err(Error::Empty { geometry }),
        Some(len) if len <= isize::MAX as usize / size_of::<f32>() => Ok(len),
        _ => Err(Error::TooLarge { geometry }),
    }
}
