//! A world as tensors: latents, text embeddings, and the null caption, on a device.

use std::sync::Arc;

use flg_engine::{Device, Tensor};

use crate::data::{Clip, SampleKey, Split, TextEncoder, TextShape, World};
use crate::error::Result;

/// What a model is trained and measured on.
///
/// Latents are pixels normalised to zero mean and unit variance: the built-in worlds are small enough to need no
/// autoencoder. Text embeddings come from the world's word table.
#[derive(Clone)]
pub struct Task {
    device: Device,
    world: Arc<dyn World>,
    text: TextEncoder,
    /// One embedding a caption of the world, `[rows, width]` each.
    captions: Arc<Vec<Vec<f32>>>,
    null: Arc<Vec<f32>>,
}

/// Clips with their captions.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[b, c, f, h, w]`, normalised.
    pub latents: Tensor,
    /// Positions in [`World::captions`].
    pub captions: Vec<usize>,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("world", &self.world.name()).field("text", &self.text.shape()).finish()
    }
}

impl Task {
    /// The task of a world, its captions embedded by the table of `text_seed` in `text` rows.
    ///
    /// # Errors
    /// Captions that do not fit the rows.
    pub fn new(device: &Device, world: Arc<dyn World>, text_seed: u64, text: TextShape) -> Result<Self> {
        let texts = world.captions().iter().map(|caption| caption.text.as_str());
        let encoder = TextEncoder::new(text_seed, text, texts)?;
        let embed = |caption: &crate::data::Caption| encoder.embed(&caption.text);
        let captions = world.captions().iter().map(embed).collect::<Result<Vec<_>, _>>()?;
        let null = Arc::new(encoder.null());
        Ok(Task { device: device.clone(), world, text: encoder, captions: Arc::new(captions), null })
    }

    /// Where tensors are made.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The data set.
    pub fn world(&self) -> &dyn World {
        &*self.world
    }

    /// The word table.
    pub fn text_encoder(&self) -> &TextEncoder {
        &self.text
    }

    /// `[b, c, f, h, w]` for `b` clips.
    pub fn latent_shape(&self, batch: usize) -> [usize; 5] {
        let g = self.world.geometry();
        [batch, g.channels, g.frames, g.height, g.width]
    }

    /// `size` clips from number `first` of a stream on.
    ///
    /// # Errors
    /// A part without clips.
    pub fn batch(&self, split: Split, seed: u64, stream: u32, first: u64, size: usize) -> Result<Batch> {
        let moments = self.world.moments();
        let mut values = Vec::with_capacity(self.latent_shape(size).iter().product());
        let mut captions = Vec::with_capacity(size);
        for index in first..first + size as u64 {
            let sample = self.world.sample(split, SampleKey { seed, stream, index })?;
            values.extend(moments.values(&sample.clip));
            captions.push(sample.caption);
        }
        Ok(Batch { latents: Tensor::from_vec(&self.device, values, self.latent_shape(size))?, captions })
    }

    /// Embeddings `[b, rows, width]` of captions; `None` is the null caption.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn text(&self, captions: impl IntoIterator<Item = Option<usize>>) -> Result<Tensor> {
        let shape = self.text.shape();
        let mut values = Vec::new();
        let mut count = 0;
        for caption in captions {
            values.extend_from_slice(caption.map_or(&self.null, |i| &self.captions[i]));
            count += 1;
        }
        Ok(Tensor::from_vec(&self.device, values, [count, shape.words, shape.dim])?)
    }

    /// Embeddings of free captions, which must use the world's words.
    ///
    /// # Errors
    /// Words that the world does not have, or too many.
    pub fn text_of(&self, captions: &[String]) -> Result<Tensor> {
        let shape = self.text.shape();
        let mut values = Vec::new();
        for caption in captions {
            values.extend(self.text.embed(caption)?);
        }
        Ok(Tensor::from_vec(&self.device, values, [captions.len(), shape.words, shape.dim])?)
    }

    /// The null caption `count` times, `[b, rows, width]`.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn null_text(&self, count: usize) -> Result<Tensor> {
        self.text(std::iter::repeat_n(None, count))
    }

    /// The clips that latents `[b, c, f, h, w]` stand for; values outside the pixel range are clamped.
    ///
    /// # Errors
    /// Latents of another geometry.
    pub fn clips(&self, latents: &Tensor) -> Result<Vec<Clip>> {
        let batch = latents.dims().first().copied().unwrap_or(0);
        latents.shape().expect("clips", self.latent_shape(batch))?;
        let values = latents.values()?;
        let len = values.len() / batch.max(1);
        let moments = self.world.moments();
        let clip = |values: &[f32]| moments.clip(self.world.geometry(), values).map_err(Into::into);
        values.chunks(len.max(1)).map(clip).collect()
    }
}
