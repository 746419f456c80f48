//! A data set as tensors: latents, conditions, and the null caption, on a device.

use std::sync::Arc;

use flg_engine::{Device, Tensor};

use crate::condition::Condition;
use crate::data::encoded::ImageForm;
use crate::data::{Encoded, Error as DataError, SampleKey, Split, TextEncoder, TextShape, World};
use crate::error::Result;

/// What a model is trained and measured on: methods do not know which kind it is.
#[derive(Clone)]
pub struct Task {
    device: Device,
    source: Source,
}

/// Where clips and captions come from.
#[derive(Clone)]
enum Source {
    /// Latents are pixels normalised to zero mean and unit variance: worlds are small enough to need no autoencoder. Text
    /// embeddings come from the world's word table.
    World(Words),
    /// Latents and embeddings are read as they were encoded.
    Encoded(Arc<Encoded>),
}

/// A world and its captions.
#[derive(Clone)]
struct Words {
    world: Arc<dyn World>,
    shape: TextShape,
    /// One embedding a caption of the world, `[rows, width]` each.
    captions: Arc<Vec<Vec<f32>>>,
    null: Arc<Vec<f32>>,
}

/// Clips with their captions.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[b, c, f, h, w]`, normalised.
    pub latents: Tensor,
    /// Positions among the data set's captions.
    pub captions: Vec<usize>,
    /// Image embeddings, where the data set has them: see [`Condition::image`].
    pub image: Option<Tensor>,
    /// Channels beside the latents, where the data set has them: see [`Condition::channels`].
    pub channels: Option<Tensor>,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("data", &self.name()).field("latents", &self.latent_shape(1)).finish()
    }
}

impl Batch {
    /// The conditions of its clips, with this text.
    pub fn condition(&self, text: Tensor) -> Condition {
        Condition { text, image: self.image.clone(), channels: self.channels.clone() }
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
        let captions = Arc::new(world.captions().iter().map(embed).collect::<Result<Vec<_>, _>>()?);
        let words = Words { world, shape: text, captions, null: Arc::new(encoder.null()) };
        Ok(Task { device: device.clone(), source: Source::World(words) })
    }

    /// The task of an encoded data set.
    pub fn encoded(device: &Device, set: Arc<Encoded>) -> Self {
        Task { device: device.clone(), source: Source::Encoded(set) }
    }

    /// Where tensors are made.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What messages call the data set.
    pub fn name(&self) -> String {
        match &self.source {
            Source::World(words) => words.world.name().to_owned(),
            Source::Encoded(set) => set.folder().display().to_string(),
        }
    }

    /// The world; `what` needs its pixels.
    ///
    /// # Errors
    /// An encoded data set, which has none.
    pub fn world(&self, what: &'static str) -> Result<&dyn World> {
        match &self.source {
            Source::World(words) => Ok(&*words.world),
            Source::Encoded(set) => Err(DataError::NoPixels { folder: set.folder().to_owned(), what }.into()),
        }
    }

    /// The latent values of black and of full ink, where latents are pixels.
    pub fn pixel_range(&self) -> Option<[f32; 2]> {
        match &self.source {
            Source::World(words) => Some([0.0, 1.0].map(|pixel| words.world.moments().value(pixel))),
            Source::Encoded(_) => None,
        }
    }

    /// `[b, c, f, h, w]` for `b` clips.
    pub fn latent_shape(&self, batch: usize) -> [usize; 5] {
        let [c, f, h, w] = match &self.source {
            Source::World(words) => {
                let g = words.world.geometry();
                [g.channels, g.frames, g.height, g.width]
            }
            Source::Encoded(set) => set.form().latents,
        };
        [batch, c, f, h, w]
    }

    /// Clips that are computed at once where results are gathered anyway: `wanted`, or as many as take no more memory than
    /// small clips do.
    pub fn at_once(&self, wanted: usize) -> usize {
        /// Elements of latents: 16 clips of 8 frames of 64 by 64 pixels in two channels.
        const ELEMENTS: usize = 1 << 20;
        let one: usize = self.latent_shape(1).iter().product();
        wanted.min(ELEMENTS / one.max(1)).max(1)
    }

    /// `size` clips from number `first` of a stream on.
    ///
    /// # Errors
    /// A part without clips; files of an encoded data set that are damaged.
    pub fn batch(&self, split: Split, seed: u64, stream: u32, first: u64, size: usize) -> Result<Batch> {
        let keys = (first..first + size as u64).map(|index| SampleKey { seed, stream, index });
        match &self.source {
            Source::World(Words { world, .. }) => {
                let moments = world.moments();
                let mut values = Vec::with_capacity(self.latent_shape(size).iter().product());
                let mut captions = Vec::with_capacity(size);
                for key in keys {
                    let sample = world.sample(split, key)?;
                    values.extend(moments.values(&sample.clip));
                    captions.push(sample.caption);
                }
                let latents = Tensor::from_vec(&self.device, values, self.latent_shape(size))?;
                Ok(Batch { latents, captions, image: None, channels: None })
            }
            Source::Encoded(set) => self.encoded_batch(set, split, keys),
        }
    }

    fn encoded_batch(&self, set: &Encoded, split: Split, keys: impl Iterator<Item = SampleKey>) -> Result<Batch> {
        let clips = keys.map(|key| set.draw(split, key)).collect::<Result<Vec<usize>, _>>()?;
        let (mut latents, mut image, mut channels) = (Vec::new(), Vec::new(), Vec::new());
        // A rehearsal needs no numbers.
        for &clip in clips.iter().filter(|_| !self.device.is_dry()) {
            let clip = set.clip(clip)?;
            latents.extend(clip.latents);
            image.extend(clip.image.unwrap_or_default());
            channels.extend(clip.channels.unwrap_or_default());
        }
        let (form, size) = (set.form(), clips.len());
        let [_, f, h, w] = form.latents;
        let captions = clips.iter().map(|&clip| set.caption_of(clip)).collect();
        let image = form.image.map(|ImageForm { rows, dim }| self.filled(image, &[size, rows, dim])).transpose()?;
        let channels = match form.channels {
            0 => None,
            count => Some(self.filled(channels, &[size, count, f, h, w])?),
        };
        Ok(Batch { latents: self.filled(latents, &self.latent_shape(size))?, captions, image, channels })
    }

    /// A tensor of these values; of none on a dry device.
    fn filled(&self, values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        let shape = flg_engine::Shape::new(shape)?;
        if self.device.is_dry() {
            return Ok(Tensor::from_fn(&self.device, shape, || 0.0)?);
        }
        Ok(Tensor::from_vec(&self.device, values, shape)?)
    }

    /// Embeddings `[b, rows, width]` of captions; `None` is the null caption.
    ///
    /// # Errors
    /// Files of an encoded data set that are damaged.
    pub fn text(&self, captions: impl IntoIterator<Item = Option<usize>>) -> Result<Tensor> {
        let captions: Vec<Option<usize>> = captions.into_iter().collect();
        let mut values = Vec::new();
        let [rows, width] = match &self.source {
            Source::World(Words { shape, captions: known, null, .. }) => {
                captions.iter().for_each(|caption| values.extend_from_slice(caption.map_or(null, |i| &known[i])));
                [shape.words, shape.dim]
            }
            Source::Encoded(set) => {
                for caption in captions.iter().filter(|_| !self.device.is_dry()) {
                    values.extend(set.text(*caption)?);
                }
                [set.form().text_rows, set.form().text_dim]
            }
        };
        self.filled(values, &[captions.len(), rows, width])
    }

    /// The null caption `count` times, `[b, rows, width]`.
    ///
    /// # Errors
    /// As [`Task::text`].
    pub fn null_text(&self, count: usize) -> Result<Tensor> {
        self.text(std::iter::repeat_n(None, count))
    }
}
