//! `AutoencoderKLWan` of Wan 2.1 and 2.2: video to latents and back, in f32 and without gradients.
//!
//! Both directions are streams, and that is part of what the network computes: causal convolutions look back two frames,
//! and the first frame of a clip is treated alone. A stream takes frames as they come and keeps what is still looked at;
//! what it gives does not depend on how a clip was cut.
//!
//! Inside a frame is `[h, w, c]`: a row a pixel.

mod config;
mod conv;
mod decoder;
mod encoder;
mod frames;
mod load;
mod memory;
mod parameters;
mod posterior;
mod probe;
mod resnet;
mod source;

use flg_engine::{ParamStore, Shape, Tensor};

pub use config::{CLASS, VaeConfig};
pub use decoder::{Decoder, DecoderStream};
pub use encoder::{Encoder, EncoderStream};
pub use load::{load_decoder, load_encoder, load_vae};
pub use memory::Bytes;
pub use parameters::{Parameter, Part};
pub use posterior::Posterior;

use crate::error::Mismatch;
use crate::{Error, Result};
use source::Source;

/// An autoencoder: sizes. Weights are in a [`ParamStore`] or a file; [`Decoder`] and [`Encoder`] have them in the order in
/// which convolutions read them, and need the former no longer.
#[derive(Clone, Debug)]
pub struct Vae {
    config: VaeConfig,
}

impl Vae {
    /// The network of this configuration, whose weights are those of `weights`, under diffusers' names.
    ///
    /// # Errors
    /// What [`VaeConfig::validate`] refuses; [`Error::Parameters`] with every missing, extra and misshapen tensor.
    pub fn bind(config: VaeConfig, weights: &ParamStore) -> Result<Vae> {
        config.validate()?;
        let mismatch = config.mismatch(weights.iter().map(|(_, name, value)| (name, value.shape())));
        if !mismatch.is_empty() {
            return Err(Error::Parameters(mismatch));
        }
        Ok(Vae { config })
    }

    /// Sizes.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Lays the decoder's weights out.
    ///
    /// # Errors
    /// Weights of another network; a device that fails.
    pub fn decoder(&self, weights: &ParamStore) -> Result<Decoder> {
        Decoder::new(&self.config, &Source::Store(weights))
    }

    /// Lays the encoder's weights out.
    ///
    /// # Errors
    /// As [`Vae::decoder`].
    pub fn encoder(&self, weights: &ParamStore) -> Result<Encoder> {
        Encoder::new(&self.config, &Source::Store(weights))
    }
}

impl VaeConfig {
    /// How tensors of these names and shapes differ from those of this configuration.
    pub fn mismatch<'a>(&self, found: impl Iterator<Item = (&'a str, Shape)>) -> Mismatch {
        let parameters = self.parameters();
        Mismatch::between(parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.shape)), found)
    }

    /// `(z - mean) / std` for each channel: what the transformer is given for the autoencoder's latents `[b, z, f, h, w]`.
    ///
    /// # Errors
    /// Latents of another shape; a device that fails.
    pub fn normalise(&self, latents: &Tensor) -> Result<Tensor> {
        // As diffusers rounds: a factor, not a divisor.
        self.by_channel(latents, |z, mean, std| (z - mean) * std.recip())
    }

    /// `z * std + mean` for each channel: what the autoencoder is given for the transformer's latents `[b, z, f, h, w]`.
    ///
    /// # Errors
    /// Latents of another shape; a device that fails.
    pub fn denormalise(&self, latents: &Tensor) -> Result<Tensor> {
        self.by_channel(latents, |z, mean, std| z / std.recip() + mean)
    }

    fn by_channel(&self, latents: &Tensor, f: impl Fn(f32, f32, f32) -> f32) -> Result<Tensor> {
        let refuse = |reason| Err(Error::Latents { shape: latents.shape(), reason });
        let &[_, channels, frames, height, width] = latents.dims() else { return refuse("must be [b, c, f, h, w]") };
        if channels != self.z_dim {
            return refuse("the autoencoder has another number of latent channels");
        }
        if latents.device().is_dry() {
            return Ok(latents.copy()?);
        }
        let mut values = latents.values()?;
        let plane = (frames * height * width).max(1);
        for (i, plane) in values.chunks_mut(plane).enumerate() {
            let (mean, std) = (self.latents_mean[i % channels], self.latents_std[i % channels]);
            plane.iter_mut().for_each(|z| *z = f(*z, mean, std));
        }
        Ok(Tensor::from_vec(latents.device(), values, latents.shape())?)
    }
}
