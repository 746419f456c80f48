//! What a network is given of images: their embedding, their latents beside those of the video, or a first latent frame.

use std::ops::ControlFlow;

use flg_engine::{DType, Device, Tensor, concat};
use flg_model::clip::{Image, ImageEncoder};
use flg_model::sampler::side_by_side;

use super::{Enters, Extents, FRAMES, Latents, Parts, View};
use crate::Result;
use crate::data::fit;
use crate::video::{Channels, Frame};

/// The images of a request.
#[derive(Clone, Debug)]
pub struct Images {
    /// The first frame.
    pub first: Frame,
    /// The last frame.
    pub last: Option<Frame>,
}

/// What the networks are given of images.
#[derive(Clone, Debug, Default)]
pub struct ImageConditions {
    /// Image embeddings `[images, rows, image_dim]`.
    pub embedding: Option<Tensor>,
    /// Channels behind those of the latents, `[1, 4 + c, f, h, w]`: which frames are given, and their latents.
    pub beside: Option<Tensor>,
    /// The first latent frame, `[1, c, 1, h, w]`.
    pub first_frame: Option<Tensor>,
}

/// Hears how many of how many parts are done, and may stop the work.
pub type OnPart<'a> = dyn FnMut(usize, usize) -> ControlFlow<()> + 'a;

/// Parts of a phase that are done, of how many, and who hears of them.
pub(super) struct Counted<'p, 'o> {
    phase: &'static str,
    done: usize,
    of: usize,
    on_part: &'p mut OnPart<'o>,
}

impl<'p, 'o> Counted<'p, 'o> {
    pub(super) fn new(phase: &'static str, of: usize, on_part: &'p mut OnPart<'o>) -> Self {
        Counted { phase, done: 0, of, on_part }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// [`super::Error::Interrupted`] where the work is to stop.
    pub(super) fn next(&mut self) -> Result<()> {
        self.done += 1;
        match (self.on_part)(self.done, self.of) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                let Counted { phase, done, of, .. } = *self;
                Err(super::Error::Interrupted { phase, done, of }.into())
            }
        }
    }
}

impl Images {
    /// Everything that the network of `parts` wants of these images, for a video of these extents. The autoencoder looks at
    /// `view` of a frame at a time.
    ///
    /// # Errors
    /// Parts that cannot be read; [`super::Error::Interrupted`].
    pub fn conditions(
        &self,
        parts: &Parts,
        extents: Extents,
        view: View,
        device: &Device,
        on_part: &mut OnPart<'_>,
    ) -> Result<ImageConditions> {
        let embedding = match parts.variant.attends() {
            true => Some(self.embed(parts, device, on_part)?),
            false => None,
        };
        if parts.variant.image().is_none() {
            return Ok(ImageConditions { embedding, ..ImageConditions::default() });
        }
        let autoencoder = Latents::open(parts, view, device)?;
        Ok(ImageConditions { embedding, ..self.latents(parts, extents, &autoencoder, device, on_part)? })
    }

    /// What the autoencoder makes of them: all but the embedding.
    ///
    /// # Errors
    /// As [`Images::conditions`].
    pub fn latents(
        &self,
        parts: &Parts,
        extents: Extents,
        autoencoder: &Latents,
        device: &Device,
        on_part: &mut OnPart<'_>,
    ) -> Result<ImageConditions> {
        let Some(enters) = parts.variant.image() else { return Ok(ImageConditions::default()) };
        Ok(match enters {
            Enters::AsFirstFrame => {
                let first = autoencoder.encode(&[Some(self.fitted(&self.first, extents))], extents, on_part)?;
                ImageConditions { first_frame: Some(first), ..ImageConditions::default() }
            }
            Enters::Beside => {
                let mut frames = vec![None; extents.frames];
                frames[0] = Some(self.fitted(&self.first, extents));
                if let (Some(last), Some(frame)) = (&self.last, frames.last_mut()) {
                    *frame = Some(self.fitted(last, extents));
                }
                let latents = autoencoder.encode(&frames, extents, on_part)?;
                let beside = side_by_side(&given(latents.dims(), self.last.is_some(), device)?, &latents)?;
                ImageConditions { beside: Some(beside), ..ImageConditions::default() }
            }
        })
    }

    /// By shape only, on a dry device.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn expected(&self, parts: &Parts, extents: Extents, dry: &Device) -> Result<ImageConditions> {
        let [c, f, h, w] = parts.variant.latents(extents);
        let empty =
            |shape: &[usize]| Ok::<_, crate::Error>(Tensor::empty(dry, flg_engine::Shape::new(shape)?, DType::F32)?);
        let enters = parts.variant.image();
        let rows = parts.variant.config.pos_embed_seq_len.map_or(PUBLISHED_ROWS, |rows| rows / self.count());
        let image = parts.variant.config.image_dim.map(|width| empty(&[self.count(), rows, width])).transpose()?;
        let beside = (enters == Some(Enters::Beside)).then(|| empty(&[1, MASK + c, f, h, w])).transpose()?;
        let first_frame = (enters == Some(Enters::AsFirstFrame)).then(|| empty(&[1, c, 1, h, w])).transpose()?;
        Ok(ImageConditions { embedding: image, beside, first_frame })
    }

    fn count(&self) -> usize {
        1 + usize::from(self.last.is_some())
    }

    fn fitted(&self, frame: &Frame, Extents { height, width, .. }: Extents) -> Frame {
        fit(&frame.clone().with_channels(Channels::Rgb), height, width)
    }

    /// Their embeddings `[images, rows, image_dim]`.
    ///
    /// # Errors
    /// An encoder that cannot be read.
    pub fn embed(&self, parts: &Parts, device: &Device, on_part: &mut OnPart<'_>) -> Result<Tensor> {
        let mut encoder = ImageEncoder::open(parts.image_encoder()?)?;
        let mut embedded = Vec::new();
        for frame in [Some(&self.first), self.last.as_ref()].into_iter().flatten() {
            let frame = frame.clone().with_channels(Channels::Rgb);
            let [_, height, width] = frame.extents();
            let pixels: Vec<u8> = interleaved(&frame);
            let image = Image { width, height, pixels: &pixels };
            embedded.push(encoder.encode(&image, device, &mut |done| on_part(done.done, done.blocks))?);
        }
        Ok(concat(&embedded.iter().collect::<Vec<_>>())?)
    }
}

/// Rows of the published image encoder's embedding.
const PUBLISHED_ROWS: usize = 257;
/// Channels of the mask: one for each frame of a latent one.
const MASK: usize = FRAMES;

/// The mask `[1, 4, f, h, w]` of frames that are given: each of its channels stands for one of the four frames of a latent
/// one, of which the first latent frame has but one, four times.
fn given(latents: &[usize], last: bool, device: &Device) -> Result<Tensor> {
    let (frames, plane) = (latents[2], latents[3] * latents[4]);
    let mut mask = vec![0.0; MASK * frames * plane];
    for channel in 0..MASK {
        mask[channel * frames * plane..][..plane].fill(1.0);
    }
    if last {
        let end = mask.len();
        mask[end - plane..].fill(1.0);
    }
    Ok(Tensor::from_vec(device, mask, [1, MASK, frames, latents[3], latents[4]])?)
}

/// `[h, w, 3]`, 0 to 255.
fn interleaved(frame: &Frame) -> Vec<u8> {
    let planes = [0, 1, 2].map(|channel| frame.plane(channel));
    (0..planes[0].len()).flat_map(|i| planes.map(|plane| (plane[i] * 255.0).round() as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_says_which_frames_are_given() {
        let mask = |last| given(&[1, 16, 3, 1, 2], last, &Device::cpu()).unwrap().to_vec();
        let channel = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(mask(false), [channel; 4].concat());
        let end = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0];
        assert_eq!(mask(true), [[channel; 3].concat(), end.to_vec()].concat());
    }
}
