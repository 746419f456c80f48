//! `config.json` of transformers' `CLIPVisionModel`.

use std::path::Path;

use flg_engine::files::read_json;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// Sizes of a CLIP vision encoder: transformers' keys, with the defaults of its class where a file has no entry. Entries
/// that nothing here reads are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipConfig {
    /// Width of a token.
    pub hidden_size: usize,
    /// Width of the hidden layer of the feed-forward network.
    pub intermediate_size: usize,
    /// Blocks. The last one is in the file, and not run.
    pub num_hidden_layers: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Channels of an image.
    pub num_channels: usize,
    /// Rows and columns of an image.
    pub image_size: usize,
    /// Rows and columns of a token.
    pub patch_size: usize,
    /// `gelu` (the erf form) in the encoders of video models.
    pub hidden_act: String,
    /// Added to variances.
    pub layer_norm_eps: f64,
}

impl Default for ClipConfig {
    fn default() -> Self {
        ClipConfig {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: "quick_gelu".to_owned(),
            layer_norm_eps: 1e-5,
        }
    }
}

/// Larger than any network, small enough that products of two cannot overflow.
const MAX_SIZE: usize = 1 << 20;
const MAX_LAYERS: usize = 4096;
/// Rows and columns of an image: more tokens than from so many are none of this family's.
const MAX_IMAGE: usize = 4096;

impl ClipConfig {
    /// Reads a `config.json`, of a vision encoder or of a whole CLIP.
    ///
    /// # Errors
    /// As [`ClipConfig::from_value`], and what the system refuses; both name the file.
    pub fn read(path: &Path) -> Result<Self> {
        ClipConfig::from_value(read_json(path)?).map_err(|error| error.in_file(path))
    }

    /// Reads the parsed text of a `config.json`.
    ///
    /// # Errors
    /// [`Error::ConfigSyntax`], and what [`ClipConfig::validate`] refuses.
    pub fn from_value(mut value: Value) -> Result<Self> {
        if let Some(vision) = value.get_mut("vision_config").map(Value::take) {
            value = vision;
        }
        let config: ClipConfig = serde_json::from_value(value).map_err(|source| Error::ConfigSyntax { source })?;
        config.validate()?;
        Ok(config)
    }

    /// The value of a `config.json` that transformers loads.
    pub fn to_value(&self) -> Value {
        let mut value = serde_json::json!(self);
        value["model_type"] = "clip_vision_model".into();
        value["architectures"] = serde_json::json!(["CLIPVisionModel"]);
        value
    }

    /// Errors for sizes that no network of this family can have.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first entry at fault.
    pub fn validate(&self) -> Result<()> {
        let refuse = |key, value: String, reason| Err(Error::Config { key, value, reason });
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
        ];
        for (key, size) in sizes {
            if !(1..=MAX_SIZE).contains(&size) {
                return refuse(key, size.to_string(), "must be 1 to 1048576");
            }
        }
        if !(1..=MAX_LAYERS).contains(&self.num_hidden_layers) {
            return refuse("num_hidden_layers", self.num_hidden_layers.to_string(), "must be 1 to 4096");
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return refuse("num_attention_heads", self.num_attention_heads.to_string(), "must divide hidden_size");
        }
        if self.num_channels != 3 {
            return refuse("num_channels", self.num_channels.to_string(), "must be 3");
        }
        if !(1..=MAX_IMAGE).contains(&self.image_size) {
            return refuse("image_size", self.image_size.to_string(), "must be 1 to 4096");
        }
        if !(1..=self.image_size).contains(&self.patch_size) || !self.image_size.is_multiple_of(self.patch_size) {
            return refuse("patch_size", self.patch_size.to_string(), "must divide image_size");
        }
        if self.hidden_act != "gelu" {
            return refuse("hidden_act", self.hidden_act.clone(), "expected gelu");
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return refuse("layer_norm_eps", self.layer_norm_eps.to_string(), "must be above 0 and below 1");
        }
        Ok(())
    }

    /// Tokens of an image: its patches, and one more in front of them.
    pub fn tokens(&self) -> usize {
        (self.image_size / self.patch_size).pow(2) + 1
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_file_is_read_with_defaults_and_written_back() {
        let vision = json!({ "hidden_act": "gelu", "patch_size": 14, "projection_dim": 8 });
        let config = ClipConfig::from_value(vision.clone()).unwrap();
        assert_eq!(config, ClipConfig { hidden_act: "gelu".to_owned(), patch_size: 14, ..ClipConfig::default() });
        assert_eq!(config.tokens(), 257);
        assert_eq!(ClipConfig::from_value(config.to_value()).unwrap(), config);
        let whole = json!({ "model_type": "clip", "hidden_size": "not looked at", "vision_config": vision });
        assert_eq!(ClipConfig::from_value(whole).unwrap(), config);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let bad = [
            json!({ "hidden_size": 0 }),
            json!({ "num_hidden_layers": 0 }),
            json!({ "num_attention_heads": 7 }),
            json!({ "num_channels": 4 }),
            json!({ "image_size": 1 << 20 }),
            json!({ "patch_size": 15 }),
            json!({ "layer_norm_eps": 1.0 }),
            json!({ "hidden_act": "quick_gelu" }),
        ];
        for mut value in bad {
            let key = value.as_object().unwrap().keys().next().unwrap().clone();
            value["hidden_act"] = value.get("hidden_act").cloned().unwrap_or("gelu".into());
            let error = ClipConfig::from_value(value).unwrap_err().to_string();
            assert!(error.contains(&key), "{error}");
        }
    }
}
