//! `config.json` of diffusers' `AutoencoderKLWan`.

use serde::{Deserialize, Serialize};

use crate::config::DIFFUSERS_VERSION;
use crate::{Error, Result};

/// The class that the file names.
pub const CLASS: &str = "AutoencoderKLWan";

/// Sizes of an autoencoder: diffusers' keys, with the defaults of its class (Wan 2.1) where a file has no entry. Entries
/// that the class does not know are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VaeConfig {
    /// Width of the encoder's first level; others are multiples of it.
    pub base_dim: usize,
    /// Width of the decoder's last level, if another than `base_dim`.
    pub decoder_base_dim: Option<usize>,
    /// Channels of the latents.
    pub z_dim: usize,
    /// For each level, its width as a multiple of the base.
    pub dim_mult: Vec<usize>,
    /// Residual blocks of a level of the encoder; the decoder has one more.
    pub num_res_blocks: usize,
    /// Resolutions with attention beside that of the middle. Not supported but empty, as published networks have it.
    pub attn_scales: Vec<f64>,
    /// Between levels, whether time is halved too. Two of them are.
    pub temperal_downsample: Vec<bool>,
    /// Mean of each channel of the latents.
    pub latents_mean: Vec<f32>,
    /// Standard deviation of each channel of the latents.
    pub latents_std: Vec<f32>,
    /// Whether levels have shortcuts around them (Wan 2.2).
    pub is_residual: bool,
    /// Channels that the encoder's first convolution reads: a video's times the pixels of a patch.
    pub in_channels: usize,
    /// Channels that the decoder's last convolution writes.
    pub out_channels: usize,
    /// Rows and columns of pixels that are channels of one (Wan 2.2: 2).
    pub patch_size: Option<usize>,
}

impl Default for VaeConfig {
    fn default() -> Self {
        VaeConfig {
            base_dim: 96,
            decoder_base_dim: None,
            z_dim: 16,
            dim_mult: vec![1, 2, 4, 4],
            num_res_blocks: 2,
            attn_scales: Vec::new(),
            temperal_downsample: vec![false, true, true],
            latents_mean: vec![
                -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632,
                -0.1922, -0.9497, 0.2503, -0.2921,
            ],
            latents_std: vec![
                2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382,
                1.1253, 2.8251, 1.9160,
            ],
            is_residual: false,
            in_channels: 3,
            out_channels: 3,
            patch_size: None,
        }
    }
}

/// As for the transformer: products of two cannot overflow.
const MAX_SIZE: usize = 1 << 16;
const MAX_LEVELS: usize = 16;

impl VaeConfig {
    /// Reads the parsed text of a `config.json`.
    ///
    /// # Errors
    /// [`Error::ConfigSyntax`], [`Error::Class`] for another network, and what [`VaeConfig::validate`] refuses.
    pub fn from_value(value: serde_json::Value) -> Result<Self> {
        if let Some(class) = value.get("_class_name").and_then(|class| class.as_str())
            && class != CLASS
        {
            return Err(Error::Class { got: class.to_owned(), expected: CLASS });
        }
        let config: VaeConfig = serde_json::from_value(value).map_err(|source| Error::ConfigSyntax { source })?;
        config.validate()?;
        Ok(config)
    }

    /// The text of a `config.json` that diffusers loads.
    pub fn to_json(&self) -> String {
        let mut value = serde_json::json!({ "_class_name": CLASS, "_diffusers_version": DIFFUSERS_VERSION });
        if let (Some(file), Ok(serde_json::Value::Object(sizes))) = (value.as_object_mut(), serde_json::to_value(self))
        {
            file.extend(sizes);
        }
        format!("{value:#}\n")
    }

    /// Errors for sizes that no network of this family can have, and for parts that are not supported.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first entry at fault.
    pub fn validate(&self) -> Result<()> {
        let refuse = |key, value: String, reason| Err(Error::Config { key, value, reason });
        let sizes = [
            ("base_dim", self.base_dim),
            ("decoder_base_dim", self.decoder_base()),
            ("z_dim", self.z_dim),
            ("num_res_blocks", self.num_res_blocks),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("patch_size", self.patch()),
        ];
        for (key, size) in sizes.into_iter().chain(self.dim_mult.iter().map(|&size| ("dim_mult", size))) {
            if !(1..=MAX_SIZE).contains(&size) {
                return refuse(key, size.to_string(), "must be 1 to 65536");
            }
        }
        let list = |list: &dyn std::fmt::Debug| format!("{list:?}");
        if !(1..=MAX_LEVELS).contains(&self.dim_mult.len()) {
            return refuse("dim_mult", list(&self.dim_mult), "must have 1 to 16 entries");
        }
        if self.temperal_downsample.len() + 1 != self.dim_mult.len() {
            return refuse("temperal_downsample", list(&self.temperal_downsample), "must have an entry between levels");
        }
        if self.temperal_downsample.iter().filter(|&&down| down).count() != 2 {
            return refuse(
                "temperal_downsample",
                list(&self.temperal_downsample),
                "two must be true: frames go by four",
            );
        }
        if !self.attn_scales.is_empty() {
            return refuse("attn_scales", list(&self.attn_scales), "attention outside of the middle is not supported");
        }
        for (key, channels) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            if !channels.is_multiple_of(self.patch() * self.patch()) {
                return refuse(key, channels.to_string(), "must be a multiple of the pixels of a patch");
            }
        }
        for (key, values) in [("latents_mean", &self.latents_mean), ("latents_std", &self.latents_std)] {
            if values.len() != self.z_dim || values.iter().any(|value| !value.is_finite()) {
                return refuse(key, list(values), "must be a number a channel of the latents");
            }
        }
        if self.latents_std.iter().any(|&std| std <= 0.0) {
            return refuse("latents_std", list(&self.latents_std), "must be positive");
        }
        self.validate_widths()
    }

    /// Widths that levels halve or regroup must divide.
    fn validate_widths(&self) -> Result<()> {
        let refuse = |value: usize, reason| {
            Err(Error::Config { key: "dim_mult", value: format!("{:?} (width {value})", self.dim_mult), reason })
        };
        for level in self.encoder_levels() {
            if self.is_residual && !(level.input * level.step()).is_multiple_of(level.output) {
                return refuse(level.output, "the encoder's shortcut cannot make this width of the one before");
            }
        }
        for level in self.decoder_levels() {
            if level.input == 0 {
                return refuse(level.input, "the decoder halves this width");
            }
            let regroups = self.is_residual && level.resample.is_some();
            if regroups && !(level.output * level.step()).is_multiple_of(level.input) {
                return refuse(level.output, "the decoder's shortcut cannot make this width of the one before");
            }
        }
        Ok(())
    }

    /// Width of the decoder's last level.
    pub(super) fn decoder_base(&self) -> usize {
        // The class reads nothing and zero alike.
        self.decoder_base_dim.filter(|&dim| dim > 0).unwrap_or(self.base_dim)
    }

    /// Rows and columns of a patch; 1 without patches.
    pub fn patch(&self) -> usize {
        self.patch_size.unwrap_or(1)
    }

    /// Pixels along an axis for each of the latents'.
    pub fn spatial_factor(&self) -> usize {
        self.patch() << (self.dim_mult.len() - 1)
    }

    /// Frames for each of the latents', after the first.
    pub fn temporal_factor(&self) -> usize {
        1 << self.temperal_downsample.iter().filter(|&&down| down).count()
    }

    /// Channels of a video that is encoded.
    pub fn video_in_channels(&self) -> usize {
        self.in_channels / (self.patch() * self.patch())
    }

    /// Channels of a video that was decoded.
    pub fn video_out_channels(&self) -> usize {
        self.out_channels / (self.patch() * self.patch())
    }

    /// The encoder's levels, in order.
    pub(super) fn encoder_levels(&self) -> Vec<Level> {
        let count = self.dim_mult.len();
        let width = |level: usize| self.base_dim * self.dim_mult[level];
        // Without shortcuts blocks and resampling are numbered through.
        let stride = self.num_res_blocks + 1;
        let level = |i: usize| {
            let name = |j: usize| match self.is_residual {
                true => format!("encoder.down_blocks.{i}.resnets.{j}"),
                false => format!("encoder.down_blocks.{}", i * stride + j),
            };
            let resample = match self.is_residual {
                true => format!("encoder.down_blocks.{i}.downsampler"),
                false => name(self.num_res_blocks),
            };
            Level {
                input: if i == 0 { self.base_dim } else { width(i - 1) },
                output: width(i),
                resnets: (0..self.num_res_blocks).map(name).collect(),
                resample: (i + 1 < count).then(|| Resample {
                    name: resample,
                    output: width(i),
                    in_time: self.temperal_downsample[i],
                }),
            }
        };
        (0..count).map(level).collect()
    }

    /// The decoder's levels, in order.
    pub(super) fn decoder_levels(&self) -> Vec<Level> {
        let count = self.dim_mult.len();
        let width = |level: usize| self.decoder_base() * self.dim_mult[count - 1 - level];
        let halved = |width: usize| if self.is_residual { width } else { width / 2 };
        let level = |i: usize| {
            let block = format!("decoder.up_blocks.{i}");
            let resample = if self.is_residual { "upsampler" } else { "upsamplers.0" };
            Level {
                input: if i == 0 { width(0) } else { halved(width(i - 1)) },
                output: width(i),
                resnets: (0..=self.num_res_blocks).map(|j| format!("{block}.resnets.{j}")).collect(),
                resample: (i + 1 < count).then(|| Resample {
                    name: format!("{block}.{resample}"),
                    output: halved(width(i)),
                    in_time: self.temperal_downsample[count - 2 - i],
                }),
            }
        };
        (0..count).map(level).collect()
    }
}

/// Residual blocks at one resolution, and the way to the next.
#[derive(Clone, Debug)]
pub(super) struct Level {
    /// Channels that come in.
    pub input: usize,
    /// Channels of the blocks.
    pub output: usize,
    /// Names of the blocks.
    pub resnets: Vec<String>,
    /// `None` in the last level.
    pub resample: Option<Resample>,
}

/// A change of resolution.
#[derive(Clone, Debug)]
pub(super) struct Resample {
    pub name: String,
    /// Channels that go out.
    pub output: usize,
    /// Whether frames become half or twice as many too.
    pub in_time: bool,
}

impl Level {
    /// Frames, and rows and columns, that become one (or that one becomes).
    pub(super) fn factors(&self) -> [usize; 2] {
        match &self.resample {
            None => [1, 1],
            Some(resample) => [1 + usize::from(resample.in_time), 2],
        }
    }

    /// Elements that become one.
    fn step(&self) -> usize {
        let [frames, side] = self.factors();
        frames * side * side
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_entries_are_those_of_the_class_and_unknown_ones_are_ignored() {
        let config = VaeConfig::from_value(serde_json::json!({ "clip_output": false, "scale_factor_spatial": 8 }));
        assert_eq!(config.unwrap(), VaeConfig::default());
        let error = VaeConfig::from_value(serde_json::json!({ "_class_name": "AutoencoderKL" })).unwrap_err();
        assert!(matches!(error, Error::Class { .. }));
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let base = VaeConfig::default;
        let wrong = [
            ("base_dim", VaeConfig { base_dim: 0, ..base() }),
            ("dim_mult", VaeConfig { dim_mult: vec![], temperal_downsample: vec![], ..base() }),
            ("temperal_downsample", VaeConfig { temperal_downsample: vec![true, true], ..base() }),
            ("temperal_downsample", VaeConfig { temperal_downsample: vec![true, false, false], ..base() }),
            ("attn_scales", VaeConfig { attn_scales: vec![0.5], ..base() }),
            ("in_channels", VaeConfig { patch_size: Some(2), ..base() }),
            ("latents_mean", VaeConfig { z_dim: 4, ..base() }),
            ("latents_std", VaeConfig { latents_std: vec![0.0; 16], ..base() }),
            ("patch_size", VaeConfig { patch_size: Some(0), ..base() }),
            ("dim_mult", VaeConfig { base_dim: 1, dim_mult: vec![1; 4], ..base() }),
            ("dim_mult", VaeConfig { is_residual: true, dim_mult: vec![3, 7, 7, 7], ..base() }),
        ];
        for (entry, config) in wrong {
            let error = config.validate().unwrap_err();
            assert!(matches!(error, Error::Config { key, .. } if key == entry), "{entry}: {error}");
        }
    }
}
