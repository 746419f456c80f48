//! `config.json` of diffusers' `WanTransformer3DModel`.

use flg_engine::Shape;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The class that the file names.
pub const CLASS: &str = "WanTransformer3DModel";
/// The release of diffusers whose layout is read and written.
pub const DIFFUSERS_VERSION: &str = "0.42.1";

/// Sizes of a Wan transformer: diffusers' keys, with the defaults of its class where a file has no entry. Entries that
/// the class does not know are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WanConfig {
    /// Latent frames, rows and columns of a token.
    pub patch_size: [usize; 3],
    /// Heads of every attention.
    pub num_attention_heads: usize,
    /// Width of a head, even.
    pub attention_head_dim: usize,
    /// Channels of the latents that go in.
    pub in_channels: usize,
    /// Channels of the velocity that comes out.
    pub out_channels: usize,
    /// Width of a row of the text embedding.
    pub text_dim: usize,
    /// Width of the sinusoidal time embedding.
    pub freq_dim: usize,
    /// Width of the hidden layer of the feed-forward network.
    pub ffn_dim: usize,
    /// Transformer blocks.
    pub num_layers: usize,
    /// Whether a layer norm with weights stands before the cross-attention.
    pub cross_attn_norm: bool,
    /// Always RMS over the whole width in this family; kept to write it back.
    pub qk_norm: Option<String>,
    /// Added to variances and mean squares.
    pub eps: f64,
    /// Width of an image embedding, of a network that attends to one.
    pub image_dim: Option<usize>,
    /// Width of what keys and values of the image are made from: that of a token, where there is an image.
    pub added_kv_proj_dim: Option<usize>,
    /// The most tokens along an axis.
    pub rope_max_seq_len: usize,
    /// Rows of a learned image position: those of all images of a sample together.
    pub pos_embed_seq_len: Option<usize>,
}

impl Default for WanConfig {
    fn default() -> Self {
        WanConfig {
            patch_size: [1, 2, 2],
            num_attention_heads: 40,
            attention_head_dim: 128,
            in_channels: 16,
            out_channels: 16,
            text_dim: 4096,
            freq_dim: 256,
            ffn_dim: 13824,
            num_layers: 40,
            cross_attn_norm: true,
            qk_norm: Some("rms_norm_across_heads".to_owned()),
            eps: 1e-6,
            image_dim: None,
            added_kv_proj_dim: None,
            rope_max_seq_len: 1024,
            pos_embed_seq_len: None,
        }
    }
}

/// The file: a class name, then the sizes.
#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "_class_name")]
    class: &'a str,
    #[serde(rename = "_diffusers_version")]
    version: &'a str,
    #[serde(flatten)]
    config: &'a WanConfig,
}

/// Larger than any network, small enough that products of two cannot overflow and tables of one can be allocated.
const MAX_SIZE: usize = 1 << 20;
pub(crate) const MAX_LAYERS: usize = 4096;

impl WanConfig {
    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// [`Error::ConfigSyntax`], [`Error::Class`] for another network, and what [`WanConfig::validate`] refuses.
    pub fn from_json(text: &str) -> Result<Self> {
        WanConfig::from_value(serde_json::from_str(text).map_err(|source| Error::ConfigSyntax { source })?)
    }

    /// Reads the parsed text of a `config.json`.
    ///
    /// # Errors
    /// As [`WanConfig::from_json`].
    pub fn from_value(mut value: serde_json::Value) -> Result<Self> {
        // Encoders' files name theirs in a list; what they lack of ours would pass for defaults.
        let class = value.get("_class_name").or(value.get("architectures").and_then(|list| list.get(0)));
        if let Some(class) = class.and_then(|class| class.as_str())
            && class != CLASS
        {
            return Err(Error::Class { got: class.to_owned(), expected: CLASS });
        }
        if !value.is_object() {
            // A list would pass for the values of the first entries.
            let source = serde::de::Error::custom("it is not an object");
            return Err(Error::ConfigSyntax { source });
        }
        // The class reads `out_channels or in_channels`.
        if value.get("out_channels").is_some_and(|out| out.is_null() || out == 0) {
            value["out_channels"] = value.get("in_channels").cloned().unwrap_or_else(|| 16.into());
        }
        let config: WanConfig = serde_json::from_value(value).map_err(|source| Error::ConfigSyntax { source })?;
        config.validate()?;
        Ok(config)
    }

    /// The text of a `config.json` that diffusers loads.
    pub fn to_json(&self) -> String {
        let file = File { class: CLASS, version: DIFFUSERS_VERSION, config: self };
        // Plain structs of numbers and strings have no way to fail.
        serde_json::to_string_pretty(&file).map_or_else(|_| String::new(), |text| text + "\n")
    }

    /// Errors for sizes that no network of this family can have, and for parts that are not supported.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first entry at fault.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("num_attention_heads", self.num_attention_heads),
            ("attention_head_dim", self.attention_head_dim),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("text_dim", self.text_dim),
            ("freq_dim", self.freq_dim),
            ("ffn_dim", self.ffn_dim),
            ("rope_max_seq_len", self.rope_max_seq_len),
            ("patch_size", self.patch_size[0]),
            ("patch_size", self.patch_size[1]),
            ("patch_size", self.patch_size[2]),
        ];
        let refuse = |key, value: String, reason| Err(Error::Config { key, value, reason });
        for (key, size) in sizes {
            if !(1..=MAX_SIZE).contains(&size) {
                return refuse(key, size.to_string(), "must be 1 to 1048576");
            }
        }
        let width = self.num_attention_heads.saturating_mul(self.attention_head_dim);
        if width > MAX_SIZE {
            return refuse(
                "attention_head_dim",
                self.attention_head_dim.to_string(),
                "all heads are at most 1048576 wide",
            );
        }
        let channels = self.in_channels.max(self.out_channels);
        let token = self.patch_size.iter().fold(channels, |n, &extent| n.saturating_mul(extent));
        if token > MAX_SIZE {
            return refuse(
                "patch_size",
                format!("{:?}", self.patch_size),
                "a token has at most 1048576 latent elements",
            );
        }
        if self.num_layers > MAX_LAYERS {
            return refuse("num_layers", self.num_layers.to_string(), "must be at most 4096");
        }
        if !self.attention_head_dim.is_multiple_of(2) {
            return refuse("attention_head_dim", self.attention_head_dim.to_string(), "must be even: RoPE turns pairs");
        }
        if !(self.eps > 0.0 && self.eps < 1.0) {
            return refuse("eps", self.eps.to_string(), "must be above 0 and below 1");
        }
        self.validate_image()
    }

    fn validate_image(&self) -> Result<()> {
        let refuse = |key, value: Option<usize>, reason| {
            let value = value.map_or_else(|| "null".to_owned(), |value| value.to_string());
            Err(Error::Config { key, value, reason })
        };
        let sizes = [("image_dim", self.image_dim), ("pos_embed_seq_len", self.pos_embed_seq_len)];
        for (key, size) in sizes {
            if size.is_some_and(|size| !(1..=MAX_SIZE).contains(&size)) {
                return refuse(key, size, "must be 1 to 1048576");
            }
        }
        let expected = self.image_dim.map(|_| self.inner_dim());
        if self.added_kv_proj_dim != expected {
            let reason = "must be the width of a token with an image, null without";
            return refuse("added_kv_proj_dim", self.added_kv_proj_dim, reason);
        }
        if self.image_dim.is_none() && self.pos_embed_seq_len.is_some() {
            return refuse("pos_embed_seq_len", self.pos_embed_seq_len, "needs image_dim");
        }
        Ok(())
    }

    /// Width of a token: heads times their width.
    pub fn inner_dim(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Latent elements of a token, per channel.
    pub fn patch_elements(&self) -> usize {
        self.patch_size.iter().product()
    }

    /// Tokens along frames, rows and columns for latents `[b, c, f, h, w]`.
    ///
    /// # Errors
    /// [`Error::Latents`] for other channels, for extents that the patch does not divide and for axes longer than RoPE's
    /// table.
    pub fn token_grid(&self, latents: Shape) -> Result<[usize; 3]> {
        let refuse = |reason| Err(Error::Latents { shape: latents, reason });
        let &[_, channels, frames, height, width] = latents.dims() else { return refuse("must be [b, c, f, h, w]") };
        let extents = [frames, height, width];
        if channels != self.in_channels {
            return refuse("the network has another number of input channels");
        }
        if extents.iter().zip(self.patch_size).any(|(n, patch)| !n.is_multiple_of(patch)) {
            return refuse("frames, height and width must be multiples of the patch");
        }
        let grid = std::array::from_fn(|axis| extents[axis] / self.patch_size[axis]);
        if grid.iter().any(|&n| n > self.rope_max_seq_len) {
            return refuse("more tokens along an axis than `rope_max_seq_len`");
        }
        Ok(grid)
    }
}
