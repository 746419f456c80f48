//! What decoding and encoding need, found out by a rehearsal.
//!
//! Most of it are the two frames that every convolution at the highest resolution looks back at: of 4367 MiB for decoding
//! 480 x 832 with Wan 2.1 they are 2132, and weights 279. Encoding there needs 2814 MiB, decoding 704 x 1280 with Wan 2.2
//! 9710 MiB, of which weights are 2117.

use flg_engine::{DType, Device, Tensor};

use super::source::Source;
use super::{Decoder, Encoder, Vae, VaeConfig};
use crate::Result;

/// Bytes of one direction, for a sample of one clip of any length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// Weights, as convolutions read them.
    pub weights: usize,
    /// Weights, what is looked back at, and the frames on their way, at most.
    pub peak: usize,
}

/// Latent frames after which a stream needs no more: the third has everything behind it that is looked back at.
const FRAMES: usize = 4;

impl Vae {
    /// What a [`super::DecoderStream`] needs for latents of `height` by `width`, one latent frame at a time. Threads have
    /// up to a few MiB of scratch beside it.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn decode_bytes(&self, [height, width]: [usize; 2]) -> Result<Bytes> {
        self.config.decode_bytes([height, width])
    }

    /// What an [`super::EncoderStream`] needs for a video of `height` by `width`, one frame at a time.
    ///
    /// # Errors
    /// A height and width that the network does not take.
    pub fn encode_bytes(&self, [height, width]: [usize; 2]) -> Result<Bytes> {
        self.config.encode_bytes([height, width])
    }
}

impl VaeConfig {
    /// As [`Vae::decode_bytes`], without weights at hand.
    ///
    /// # Errors
    /// What [`VaeConfig::validate`] refuses.
    pub fn decode_bytes(&self, [height, width]: [usize; 2]) -> Result<Bytes> {
        self.validate()?;
        let device = Device::dry();
        let decoder = Decoder::new(self, &Source::Shapes { list: &self.parameters(), device: &device })?;
        let weights = device.memory().live;
        device.pool().reset_peak();
        let mut stream = decoder.start();
        for _ in 0..FRAMES {
            stream.push(&Tensor::empty(&device, [1, self.z_dim, 1, height, width], DType::F32)?)?;
        }
        Ok(Bytes { weights, peak: device.memory().peak })
    }

    /// As [`Vae::encode_bytes`], without weights at hand.
    ///
    /// # Errors
    /// What [`VaeConfig::validate`] refuses, and a height and width that the network does not take.
    pub fn encode_bytes(&self, [height, width]: [usize; 2]) -> Result<Bytes> {
        self.validate()?;
        let device = Device::dry();
        let encoder = Encoder::new(self, &Source::Shapes { list: &self.parameters(), device: &device })?;
        let weights = device.memory().live;
        device.pool().reset_peak();
        let mut stream = encoder.start();
        for _ in 0..FRAMES * self.temporal_factor() {
            stream.push(&Tensor::empty(&device, [1, self.video_in_channels(), 1, height, width], DType::F32)?)?;
        }
        Ok(Bytes { weights, peak: device.memory().peak })
    }
}
