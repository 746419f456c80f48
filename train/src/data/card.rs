//! What a network must know of the data that it was trained on: to read captions, and to show what it made.

use std::path::Path;

use flg_engine::files::{read_json, write_json};
use flg_engine::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Clip, Geometry, Moments, TextEncoder, TextShape, World};
use crate::Result;
use crate::config::DataConfig;

/// The card's file in a checkpoint's folder.
pub const CARD: &str = "flg_data.json";

/// A data set's scale, extents and words. It belongs to a checkpoint as its weights do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The built-in world or the folder that the network was trained on.
    pub world: String,
    /// Extents of a clip.
    pub geometry: Geometry,
    /// From pixels to what the network sees.
    pub moments: Moments,
    /// Seed of the text table.
    pub text_seed: u64,
    /// Rows of a text embedding.
    pub words: usize,
    /// Width of a row.
    pub text_dim: usize,
    /// Every word that a caption can have.
    pub vocabulary: Vec<String>,
}

impl Card {
    /// The card of a network that is about to be trained on `world`.
    ///
    /// # Errors
    /// A caption of the world that has more words than `config` gives rows.
    pub fn new(world: &dyn World, config: &DataConfig, text_dim: usize) -> Result<Self> {
        let shape = TextShape { words: config.words, dim: text_dim };
        let captions = world.captions().iter().map(|caption| caption.text.as_str());
        let encoder = TextEncoder::new(config.text_seed, shape, captions)?;
        Ok(Card {
            world: config.world.clone(),
            geometry: world.geometry(),
            moments: world.moments(),
            text_seed: config.text_seed,
            words: config.words,
            text_dim,
            vocabulary: encoder.vocabulary().map(str::to_owned).collect(),
        })
    }

    /// Reads the card of a checkpoint's folder, or of the run that it belongs to; none if there is none, as for
    /// checkpoints made elsewhere.
    ///
    /// # Errors
    /// A file that is not a card.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        // A run's checkpoints, and the networks in them, lie at most three folders below the run's card.
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let mut paths = folder.ancestors().take(4).map(|folder| folder.join(CARD));
        paths.find(|path| path.is_file()).map(|path| Ok(read_json(path)?)).transpose()
    }

    /// Writes the card into a checkpoint's folder.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn write(&self, folder: &Path) -> Result<()> {
        Ok(write_json(folder.join(CARD), self)?)
    }

    /// What turns captions and clips into tensors on `device`, and back.
    ///
    /// # Errors
    /// A vocabulary with entries that are not words.
    pub fn conditions(&self, device: &Device) -> Result<Conditions> {
        let shape = TextShape { words: self.words, dim: self.text_dim };
        let encoder = TextEncoder::new(self.text_seed, shape, self.vocabulary.iter().map(String::as_str))?;
        Ok(Conditions { device: device.clone(), encoder, geometry: self.geometry, moments: self.moments })
    }
}

/// Captions and clips as tensors.
#[derive(Clone, Debug)]
pub struct Conditions {
    device: Device,
    encoder: TextEncoder,
    geometry: Geometry,
    moments: Moments,
}

impl Conditions {
    /// Extents of a clip.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Embeds captions, `[b, words, text_dim]`; `None` is the null caption.
    ///
    /// # Errors
    /// A caption with a word that the network does not know, or with too many.
    pub fn text<'c>(&self, captions: impl IntoIterator<Item = Option<&'c str>>) -> Result<Tensor> {
        let (mut values, mut batch) = (Vec::new(), 0);
        for caption in captions {
            match caption {
                Some(caption) => values.extend(self.encoder.embed(caption)?),
                None => values.extend(self.encoder.null()),
            }
            batch += 1;
        }
        let TextShape { words, dim } = self.encoder.shape();
        Ok(Tensor::from_vec(&self.device, values, [batch, words, dim])?)
    }

    /// What the network sees of clips of one geometry, `[b, c, f, h, w]`.
    ///
    /// # Errors
    /// Clips of different extents.
    pub fn latents<'c>(&self, clips: impl IntoIterator<Item = &'c Clip>) -> Result<Tensor> {
        let (mut values, mut batch, mut geometry) = (Vec::new(), 0, self.geometry);
        for clip in clips {
            geometry = clip.geometry();
            values.extend(self.moments.values(clip));
            batch += 1;
        }
        let Geometry { channels, frames, height, width } = geometry;
        Ok(Tensor::from_vec(&self.device, values, [batch, channels, frames, height, width])?)
    }

    /// The clips that latents `[b, c, f, h, w]` stand for.
    ///
    /// # Errors
    /// Latents that are no clips: other channels than 1 or 3, or an extent of 0.
    pub fn clips(&self, latents: &Tensor) -> Result<Vec<Clip>> {
        let [batch, channels, frames, height, width] = latents.shape().expect_rank("clips")?;
        let geometry = Geometry { channels, frames, height, width };
        let values = latents.values()?;
        let clip = |values: &[f32]| Ok(self.moments.clip(geometry, values)?);
        if batch == 0 {
            return Ok(Vec::new());
        }
        values.chunks(geometry.pixels()?).map(clip).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{SampleKey, Split, preset};

    #[test]
    fn clips_and_captions_survive() {
        let world = preset("counter").unwrap();
        let card = Card::new(world.as_ref(), &DataConfig::default(), 6).unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Card::read(folder.path()).unwrap(), None);
        card.write(folder.path()).unwrap();
        let card = Card::read(folder.path()).unwrap().unwrap();
        assert_eq!(card, Card::new(world.as_ref(), &DataConfig::default(), 6).unwrap());

        let conditions = card.conditions(&Device::cpu()).unwrap();
        let sample = |index| world.sample(Split::Training, SampleKey { seed: 1, stream: 0, index }).unwrap();
        let (a, b) = (sample(0), sample(1));
        let latents = conditions.latents([&a.clip, &b.clip]).unwrap();
        assert_eq!(latents.dims(), [2, 1, 8, 8, 8]);
        for (clip, original) in conditions.clips(&latents).unwrap().iter().zip([&a.clip, &b.clip]) {
            // Two roundings of numbers below 4.
            let near = |(x, y): (&f32, &f32)| (x - y).abs() <= 4.0 * f32::EPSILON;
            assert!(clip.pixels().iter().zip(original.pixels()).all(near));
        }
        let text = conditions.text([Some(world.captions()[a.caption].text.as_str()), None]).unwrap();
        assert_eq!(text.dims(), [2, 4, 6]);
        assert_ne!(text.to_vec()[..24], text.to_vec()[24..]);
        assert!(conditions.text([Some("counting sheep")]).unwrap_err().to_string().contains("sheep"));
    }
}
