//! What is the same for all clips of an encoded data set.

use serde::{Deserialize, Serialize};

use super::{EncodedCause, MAX_ELEMENTS};

/// Extents of every clip and caption, and what made them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// Channels, frames, rows and columns of a clip's latents.
    pub latents: [usize; 4],
    /// Rows of a text embedding as the network reads it: those of a short caption end in zeros.
    pub text_rows: usize,
    /// Width of a row.
    pub text_dim: usize,
    /// The embedding of the given image or images, for networks that attend to one.
    #[serde(default)]
    pub image: Option<ImageForm>,
    /// Channels that are put beside the latents, of their frames, rows and columns: mask and latents of given frames. 0 for
    /// none.
    #[serde(default)]
    pub channels: usize,
    /// How numbers are stored.
    pub stored: StoredAs,
    /// What made the numbers.
    pub encoders: Encoders,
}

/// Extents of an image embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageForm {
    /// Rows, of all images of a clip together.
    pub rows: usize,
    /// Width of a row.
    pub dim: usize,
}

/// How numbers are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoredAs {
    /// Half the size, three significant digits: what text encoders give anyway, and finer than the noise of training.
    #[default]
    Bf16,
    /// Exactly.
    F32,
}

/// What made the numbers, for people and for whoever decodes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoders {
    /// The VAE: a folder or a name.
    pub vae: String,
    /// The text encoder.
    pub text: String,
    /// The image encoder, where there are image embeddings.
    #[serde(default)]
    pub image: Option<String>,
    /// Frames of video for a frame of latents behind the first.
    pub temporal_scale: usize,
    /// Pixels for a row or column of latents.
    pub spatial_scale: usize,
    /// Frames of video a second, where that is known.
    #[serde(default)]
    pub fps: Option<f64>,
}

impl Form {
    /// Elements of a clip's latents.
    pub fn elements(&self) -> usize {
        self.latents.iter().product()
    }

    /// Errors for extents that no set can have.
    ///
    /// # Errors
    /// [`EncodedCause::Entry`] and [`EncodedCause::TooLarge`].
    pub fn check(&self) -> Result<(), EncodedCause> {
        let [_, frames, rows, columns] = self.latents;
        size("latents", &self.latents)?;
        size("text", &[self.text_rows, self.text_dim])?;
        if let Some(ImageForm { rows, dim }) = self.image {
            size("image", &[rows, dim])?;
        }
        if self.channels > 0 {
            size("channels", &[self.channels, frames, rows, columns])?;
        }
        let Encoders { temporal_scale, spatial_scale, fps, .. } = self.encoders;
        size("encoders.temporal_scale", &[temporal_scale])?;
        size("encoders.spatial_scale", &[spatial_scale])?;
        match fps.filter(|fps| !(fps.is_finite() && *fps > 0.0)) {
            Some(fps) => Err(entry("encoders.fps", fps.to_string(), "must be above 0")),
            None => Ok(()),
        }
    }
}

/// Extents that are not 0 and not too large together.
fn size(key: &'static str, extents: &[usize]) -> Result<(), EncodedCause> {
    if extents.contains(&0) {
        return Err(entry(key, format!("{extents:?}"), "must be at least 1"));
    }
    let product = extents.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent));
    if product.is_none_or(|product| product > MAX_ELEMENTS) {
        return Err(EncodedCause::TooLarge { key });
    }
    Ok(())
}

fn entry(key: &'static str, got: String, allowed: &'static str) -> EncodedCause {
    EncodedCause::Entry { key, got, allowed }
}
