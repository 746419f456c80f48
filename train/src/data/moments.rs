//! From pixels to the values a network sees, and back.

use super::Error;
use crate::video::{Clip, Geometry};

/// Mean and standard deviation of a world's pixels.
///
/// `value = (pixel - mean) / std`, so that the training data have zero mean and unit variance, as the noise has. The
/// moments belong to the model: a checkpoint trained on one world keeps that world's moments.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Stored")]
pub struct Moments {
    mean: f64,
    std: f64,
}

/// Moments from a file, which may say anything.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    mean: f64,
    std: f64,
}

impl TryFrom<Stored> for Moments {
    type Error = Error;

    fn try_from(Stored { mean, std }: Stored) -> Result<Self, Error> {
        let legal = mean.is_finite() && std.is_finite() && std > 0.0;
        if legal { Ok(Self { mean, std }) } else { Err(Error::NoVariance { mean }) }
    }
}

impl Moments {
    /// From the expectation of a pixel and of its square.
    ///
    /// # Errors
    /// [`Error::NoVariance`] if the variance is not positive.
    pub fn new(mean: f64, mean_square: f64) -> Result<Self, Error> {
        let variance = mean_square - mean * mean;
        // Pixels have 8 bits: anything below a tenth of the smallest step is rounding, not variance.
        if variance.is_nan() || variance < (0.1 / 255.0_f64).powi(2) {
            return Err(Error::NoVariance { mean });
        }
        Ok(Self { mean, std: variance.sqrt() })
    }

    /// Mean of the pixels.
    pub fn mean(self) -> f64 {
        self.mean
    }

    /// Standard deviation of the pixels.
    pub fn std(self) -> f64 {
        self.std
    }

    /// What a network sees for a pixel.
    pub fn value(self, pixel: f32) -> f32 {
        ((f64::from(pixel) - self.mean) / self.std) as f32
    }

    /// The pixel that a network's value stands for; outside 0..=1 if the network overshoots.
    pub fn pixel(self, value: f32) -> f32 {
        (f64::from(value) * self.std + self.mean) as f32
    }

    /// A clip's values, `[channels, frames, height, width]`.
    pub fn values(self, clip: &Clip) -> impl ExactSizeIterator<Item = f32> + '_ {
        clip.pixels().iter().map(move |&p| self.value(p))
    }

    /// The clip that a network's values `[channels, frames, height, width]` stand for, clamped to 0..=1.
    ///
    /// # Errors
    /// Those of [`Clip::from_pixels`].
    pub fn clip(self, geometry: Geometry, values: &[f32]) -> Result<Clip, Error> {
        Ok(Clip::from_pixels(geometry, values.iter().map(|&v| self.pixel(v)).collect())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_pixels_are_inverse() {
        let moments = Moments::new(0.25, 0.25).unwrap();
        for pixel in [0.0, 0.125, 0.5, 1.0] {
            // Two roundings to f32 of numbers below 4.
            assert!((moments.pixel(moments.value(pixel)) - pixel).abs() <= 4.0 * f32::EPSILON);
        }
        let geometry = Geometry { channels: 1, frames: 1, height: 1, width: 2 };
        let clip = moments.clip(geometry, &[-100.0, f32::NAN]).unwrap();
        assert_eq!(clip.pixels(), [0.0, 0.0]);
    }

    #[test]
    fn constant_pixels_are_refused() {
        assert!(matches!(Moments::new(0.5, 0.25), Err(Error::NoVariance { .. })));
        assert!(Moments::new(f64::NAN, 0.25).is_err());
        assert!(serde_json::from_str::<Moments>("{\"mean\": 0.5, \"std\": 0.0}").is_err());
        let moments = Moments::new(0.25, 0.25).unwrap();
        let text = serde_json::to_string(&moments).unwrap();
        assert_eq!(serde_json::from_str::<Moments>(&text).unwrap().mean(), 0.25);
    }
}
