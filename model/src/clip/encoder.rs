//! An image in, its embedding out.

use std::path::Path;

use flg_engine::{Device, Tensor};

use super::preprocess::{FILE, Image, Preprocess};
use super::{Clip, ClipConfig};
use crate::streamed::OnBlock;
use crate::{Error, Result};

/// Where a pipeline keeps the preprocessing, beside the folder of the encoder.
const PROCESSOR: &str = "image_processor";

/// The image encoder of a pipeline. No weights are held between images.
#[derive(Debug)]
pub struct ImageEncoder {
    clip: Clip,
    preprocess: Preprocess,
}

impl ImageEncoder {
    /// Opens the folder `image_encoder` of a pipeline. Preprocessing is what `preprocessor_config.json` says, in this
    /// folder or in `image_processor` beside it; where there is none, CLIP's own for the encoder's image size.
    ///
    /// # Errors
    /// As [`Clip::open`]; preprocessing that is not supported, or gives images of another size.
    pub fn open(folder: impl AsRef<Path>) -> Result<ImageEncoder> {
        let folder = folder.as_ref();
        let clip = Clip::open(folder)?;
        let size = clip.config().image_size;
        let beside = folder.parent().map(|parent| parent.join(PROCESSOR).join(FILE));
        let path = [Some(folder.join(FILE)), beside].into_iter().flatten().find(|path| path.is_file());
        let preprocess = match path {
            Some(path) => Preprocess::read(&path).and_then(|preprocess| match preprocess.crop == [size; 2] {
                true => Ok(preprocess),
                false => {
                    let [rows, columns] = preprocess.crop;
                    let reason = "the encoder takes images of another size";
                    Err(Error::Config { key: "crop_size", value: format!("{rows} x {columns}"), reason }.in_file(path))
                }
            })?,
            None => Preprocess::clip(size),
        };
        Ok(ImageEncoder { clip, preprocess })
    }

    /// The sizes.
    pub fn config(&self) -> &ClipConfig {
        self.clip.config()
    }

    /// The embedding of an image, f32 `[1, tokens, hidden_size]`; 257 tokens for the published encoder.
    ///
    /// # Errors
    /// [`Error::ImagePixels`]; as [`Clip::forward`].
    pub fn encode(&mut self, image: &Image<'_>, device: &Device, on_block: &mut OnBlock<'_>) -> Result<Tensor> {
        let pixels = self.preprocess.apply(image)?;
        let [rows, columns] = self.preprocess.crop;
        let pixels = Tensor::from_vec(device, pixels, [1, 3, rows, columns])?;
        self.clip.forward(&pixels, device, on_block)
    }

    /// The most bytes that encoding an image holds at once on the host, as [`Clip::peak_bytes`].
    ///
    /// # Errors
    /// As there.
    pub fn peak_bytes(&mut self) -> Result<usize> {
        self.clip.peak_bytes(1)
    }
}
