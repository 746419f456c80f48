//! From latents to pixels, a latent frame at a time.

use flg_engine::{Device, Tensor};
use flg_model::vae::{Decoder, load_decoder};

use super::image::OnPart;
use super::{Error, Parts};
use crate::Result;
use crate::video::{Clip, Geometry};

/// The autoencoder's way out.
#[derive(Clone, Debug)]
pub struct Pixels(Decoder);

impl Pixels {
    /// Reads the decoder of a checkpoint.
    ///
    /// # Errors
    /// As [`load_decoder`].
    pub fn open(parts: &Parts, device: &Device) -> Result<Pixels> {
        Ok(Pixels(load_decoder(parts.vae(), device)?))
    }

    /// The clip of latents `[1, c, f, h, w]` as the transformer makes them. `on_part` hears of every latent frame.
    ///
    /// # Errors
    /// Latents of another autoencoder; [`Error::Interrupted`].
    pub fn decode(&self, latents: &Tensor, on_part: &mut OnPart<'_>) -> Result<Clip> {
        let latents = self.0.config().denormalise(latents)?;
        let [_, _, count, height, width] = latents.shape().expect_rank("latents")?;
        let factor = self.0.config().spatial_factor();
        let frames = self.0.config().temporal_factor() * count.saturating_sub(1) + usize::from(count > 0);
        let geometry = Geometry { channels: 3, frames, height: height * factor, width: width * factor };
        let plane = geometry.height * geometry.width;
        let mut pixels = vec![0.0; geometry.pixels()?];
        let (mut stream, mut done) = (self.0.start(), 0);
        for i in 0..count {
            let made = stream.push(&latents.narrow(2, i, 1)?.contiguous()?)?;
            let fresh = made.dims()[2];
            let values = made.values()?;
            for (channel, values) in values.chunks(fresh * plane).enumerate() {
                let target = &mut pixels[(channel * frames + done) * plane..][..fresh * plane];
                target.iter_mut().zip(values).for_each(|(pixel, value)| *pixel = value / 2.0 + 0.5);
            }
            done += fresh;
            if on_part(i + 1, count).is_break() {
                return Err(Error::Interrupted { phase: "decoding", done: i + 1, of: count }.into());
            }
        }
        Ok(Clip::from_pixels(geometry, pixels)?)
    }
}
