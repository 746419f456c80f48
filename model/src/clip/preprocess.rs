//! From an image to the pixels of the encoder, as transformers' `CLIPImageProcessor`: resized, cropped, normalised.

use std::path::Path;

use flg_engine::files::read_json;
use serde::Deserialize;
use serde_json::Value;

use super::resize::{Axis, resize};
use crate::{Error, Result};

/// The file.
pub(super) const FILE: &str = "preprocessor_config.json";
/// PIL's number of the bicubic filter.
const BICUBIC: i64 = 3;
/// Larger than the input of any encoder.
const MAX_SIZE: usize = 4096;
const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// An image of interleaved RGB, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width, 3]`, 0 to 255.
    pub pixels: &'a [u8],
}

/// What is done to an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// To what size it is brought.
    pub(super) size: Size,
    /// Rows and columns that are cut from its middle.
    pub(super) crop: [usize; 2],
    scale: f64,
    mean: [f64; 3],
    std: [f64; 3],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Size {
    /// The shorter side has this length, the other one as the image's shape demands.
    Shortest(usize),
    /// Rows and columns.
    Exact([usize; 2]),
}

/// The file in transformers' words. Entries that are not read here are ignored.
#[derive(Deserialize)]
#[serde(default)]
struct Json {
    do_resize: bool,
    do_center_crop: bool,
    do_rescale: bool,
    do_normalize: bool,
    resample: i64,
    size: Value,
    crop_size: Value,
    rescale_factor: f64,
    image_mean: [f64; 3],
    image_std: [f64; 3],
}

impl Default for Json {
    fn default() -> Self {
        Json {
            do_resize: true,
            do_center_crop: true,
            do_rescale: true,
            do_normalize: true,
            resample: BICUBIC,
            size: 224.into(),
            crop_size: 224.into(),
            rescale_factor: 1.0 / 255.0,
            image_mean: MEAN,
            image_std: STD,
        }
    }
}

impl Preprocess {
    /// CLIP's own, for images of `size` rows and columns.
    pub fn clip(size: usize) -> Self {
        Preprocess { size: Size::Shortest(size), crop: [size; 2], scale: 1.0 / 255.0, mean: MEAN, std: STD }
    }

    /// Reads a `preprocessor_config.json`.
    ///
    /// # Errors
    /// What is not supported, by name: another filter than bicubic, a step that is switched off, a crop larger than what it
    /// is cut from. Errors name the file.
    pub fn read(path: &Path) -> Result<Self> {
        Preprocess::from_value(read_json(path)?).map_err(|error| error.in_file(path))
    }

    fn from_value(value: Value) -> Result<Self> {
        let json: Json = serde_json::from_value(value).map_err(|source| Error::ConfigSyntax { source })?;
        let refuse = |key, value: String, reason| Err(Error::Config { key, value, reason });
        let steps = [
            ("do_resize", json.do_resize),
            ("do_center_crop", json.do_center_crop),
            ("do_rescale", json.do_rescale),
            ("do_normalize", json.do_normalize),
        ];
        if let Some((key, _)) = steps.iter().find(|(_, done)| !done) {
            return refuse(key, "false".to_owned(), "expected true");
        }
        if json.resample != BICUBIC {
            return refuse("resample", json.resample.to_string(), "expected 3, bicubic");
        }
        let sized = |extent: &Value| extent.as_u64().map(|n| n as usize).filter(|n| (1..=MAX_SIZE).contains(n));
        let exact = |value: &Value| Some([sized(&value["height"])?, sized(&value["width"])?]);
        let shortest = sized(&json.size).or_else(|| sized(&json.size["shortest_edge"])).map(Size::Shortest);
        let Some(size) = shortest.or_else(|| exact(&json.size).map(Size::Exact)) else {
            return refuse("size", json.size.to_string(), "expected shortest_edge, or height and width, of 1 to 4096");
        };
        let Some(crop) = sized(&json.crop_size).map(|n| [n; 2]).or_else(|| exact(&json.crop_size)) else {
            return refuse("crop_size", json.crop_size.to_string(), "expected height and width of 1 to 4096");
        };
        let at_least = match size {
            Size::Shortest(size) => [size; 2],
            Size::Exact(size) => size,
        };
        if crop[0] > at_least[0] || crop[1] > at_least[1] {
            return refuse("crop_size", json.crop_size.to_string(), "must not be larger than size");
        }
        let Json { rescale_factor: scale, image_mean: mean, image_std: std, .. } = json;
        Ok(Preprocess { size, crop, scale, mean, std })
    }

    /// Normalised pixels `[3, rows, columns]` of the crop.
    ///
    /// Resizing has the bits of PIL, which rounds to whole numbers behind each of its two passes, and normalising those of
    /// numpy in f32.
    ///
    /// # Errors
    /// [`Error::ImagePixels`] for an image without pixels, or with another number of them.
    pub fn apply(&self, image: &Image<'_>) -> Result<Vec<f32>> {
        let &Image { width, height, pixels } = image;
        let expected = width.checked_mul(height).and_then(|n| n.checked_mul(3));
        if expected != Some(pixels.len()) || pixels.is_empty() {
            return Err(Error::ImagePixels { width, height, bytes: pixels.len() });
        }
        let [rows, columns] = self.resized(image);
        let axis = |from, to, crop| Axis { from, to, start: (to - crop) / 2, len: crop };
        let [crop_rows, crop_columns] = self.crop;
        let cropped = resize(pixels, axis(height, rows, crop_rows), axis(width, columns, crop_columns));
        let area = crop_rows * crop_columns;
        let mut planes = vec![0.0; 3 * area];
        for (at, pixel) in cropped.as_chunks::<3>().0.iter().enumerate() {
            for (channel, &value) in pixel.iter().enumerate() {
                let scaled = (f64::from(value) * self.scale) as f32;
                planes[channel * area + at] = (scaled - self.mean[channel] as f32) / self.std[channel] as f32;
            }
        }
        Ok(planes)
    }

    /// Rows and columns of the resized image, of which only the crop is ever made.
    fn resized(&self, image: &Image<'_>) -> [usize; 2] {
        match self.size {
            Size::Exact(size) => size,
            Size::Shortest(size) => {
                let (short, long) = (image.width.min(image.height), image.width.max(image.height));
                // In f64, as Python divides.
                let long = (size as f64 * long as f64 / short as f64) as usize;
                if image.height <= image.width { [size, long] } else { [long, size] }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_say_what_is_done() {
        let old = json!({ "size": 224, "crop_size": 224, "feature_extractor_type": "CLIPFeatureExtractor" });
        let new = json!({ "size": { "shortest_edge": 224 }, "crop_size": { "height": 224, "width": 224 } });
        for value in [json!({}), old, new] {
            assert_eq!(Preprocess::from_value(value).unwrap(), Preprocess::clip(224));
        }
        let exact = json!({ "size": { "height": 8, "width": 9 }, "crop_size": 8, "image_mean": [0.5, 0.5, 0.5] });
        let exact = Preprocess::from_value(exact).unwrap();
        assert_eq!((exact.size, exact.crop, exact.mean), (Size::Exact([8, 9]), [8, 8], [0.5; 3]));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let bad = [
            json!({ "do_resize": false }),
            json!({ "do_center_crop": false }),
            json!({ "do_rescale": false }),
            json!({ "do_normalize": false }),
            json!({ "resample": 2 }),
            json!({ "size": { "longest_edge": 224 } }),
            json!({ "size": 0 }),
            json!({ "crop_size": 225 }),
            json!({ "crop_size": { "height": 224 } }),
        ];
        for value in bad {
            let key = value.as_object().unwrap().keys().next().unwrap().clone();
            let error = Preprocess::from_value(value).unwrap_err().to_string();
            assert!(error.contains(&key), "{error}");
        }
    }

    #[test]
    fn images_must_have_their_pixels() {
        for (width, height, bytes) in [(0, 5, 0), (2, 2, 11), (2, 2, 13), (usize::MAX, 3, 9)] {
            let refused = Preprocess::clip(8).apply(&Image { width, height, pixels: &vec![0; bytes] });
            assert!(matches!(refused, Err(Error::ImagePixels { .. })), "{width} {height} {bytes}");
        }
    }
}
