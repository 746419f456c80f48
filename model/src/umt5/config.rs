//! `config.json` of transformers' `UMT5EncoderModel`.

use std::path::Path;

use flg_engine::files::read_json;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// Sizes of a UMT5 encoder: transformers' keys, with the defaults of its class where a file has no entry. Entries that
/// nothing here reads are ignored (those of the decoder among them).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Umt5Config {
    /// Always `umt5`.
    pub model_type: String,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of a token.
    pub d_model: usize,
    /// Width of a head. Heads need not add up to the width of a token.
    pub d_kv: usize,
    /// Width of the hidden layer of the feed-forward network.
    pub d_ff: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Heads.
    pub num_heads: usize,
    /// Distances that a head tells apart, half of them to each side.
    pub relative_attention_num_buckets: usize,
    /// The distance from which on all are one.
    pub relative_attention_max_distance: usize,
    /// Added to mean squares.
    pub layer_norm_epsilon: f64,
    /// Always `gated-gelu` (GELU in its tanh form) in this family.
    pub feed_forward_proj: String,
}

impl Default for Umt5Config {
    fn default() -> Self {
        Umt5Config {
            model_type: MODEL_TYPE.to_owned(),
            vocab_size: 250_112,
            d_model: 512,
            d_kv: 64,
            d_ff: 1024,
            num_layers: 8,
            num_heads: 6,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: FEED_FORWARD.to_owned(),
        }
    }
}

const MODEL_TYPE: &str = "umt5";
const FEED_FORWARD: &str = "gated-gelu";
/// Larger than any network, small enough that products of two cannot overflow.
const MAX_SIZE: usize = 1 << 20;
const MAX_LAYERS: usize = 4096;

impl Umt5Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// As [`Umt5Config::from_value`], and what the system refuses; both name the file.
    pub fn read(path: &Path) -> Result<Self> {
        Umt5Config::from_value(read_json(path)?).map_err(|error| error.in_file(path))
    }

    /// Reads the parsed text of a `config.json`.
    ///
    /// # Errors
    /// [`Error::ConfigSyntax`], and what [`Umt5Config::validate`] refuses.
    pub fn from_value(value: Value) -> Result<Self> {
        let config: Umt5Config = serde_json::from_value(value).map_err(|source| Error::ConfigSyntax { source })?;
        config.validate()?;
        Ok(config)
    }

    /// The value of a `config.json` that transformers loads.
    pub fn to_value(&self) -> Value {
        let mut value = serde_json::json!(self);
        value["architectures"] = serde_json::json!(["UMT5EncoderModel"]);
        value
    }

    /// Errors for sizes that no network of this family can have.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first entry at fault.
    pub fn validate(&self) -> Result<()> {
        let refuse = |key, value: String, reason| Err(Error::Config { key, value, reason });
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_heads", self.num_heads),
        ];
        for (key, size) in sizes {
            if !(1..=MAX_SIZE).contains(&size) {
                return refuse(key, size.to_string(), "must be 1 to 1048576");
            }
        }
        if self.num_layers > MAX_LAYERS {
            return refuse("num_layers", self.num_layers.to_string(), "must be at most 4096");
        }
        let (buckets, distance) = (self.relative_attention_num_buckets, self.relative_attention_max_distance);
        if !(4..=MAX_SIZE).contains(&buckets) || !buckets.is_multiple_of(4) {
            return refuse("relative_attention_num_buckets", buckets.to_string(), "must be a multiple of 4");
        }
        if distance <= buckets / 4 || distance > MAX_SIZE {
            return refuse(
                "relative_attention_max_distance",
                distance.to_string(),
                "must be more than a quarter of the buckets",
            );
        }
        if !(self.layer_norm_epsilon > 0.0 && self.layer_norm_epsilon < 1.0) {
            return refuse("layer_norm_epsilon", self.layer_norm_epsilon.to_string(), "must be above 0 and below 1");
        }
        if self.model_type != MODEL_TYPE {
            return refuse("model_type", self.model_type.clone(), "expected umt5");
        }
        if self.feed_forward_proj != FEED_FORWARD {
            return refuse("feed_forward_proj", self.feed_forward_proj.clone(), "expected gated-gelu");
        }
        Ok(())
    }

    /// Width of all heads together.
    pub fn inner_dim(&self) -> usize {
        self.num_heads * self.d_kv
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_file_is_read_with_defaults_and_written_back() {
        let config = Umt5Config::from_value(json!({ "d_model": 24, "is_decoder": false, "dtype": "x" })).unwrap();
        assert_eq!(config, Umt5Config { d_model: 24, ..Umt5Config::default() });
        assert_eq!(Umt5Config::from_value(config.to_value()).unwrap(), config);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let bad = [
            json!({ "vocab_size": 0 }),
            json!({ "d_kv": 1 << 21 }),
            json!({ "num_layers": 5000 }),
            json!({ "relative_attention_num_buckets": 30 }),
            json!({ "relative_attention_max_distance": 8 }),
            json!({ "layer_norm_epsilon": 0.0 }),
            json!({ "model_type": "t5" }),
            json!({ "feed_forward_proj": "relu" }),
        ];
        for value in bad {
            let key = value.as_object().unwrap().keys().next().unwrap().clone();
            let error = Umt5Config::from_value(value).unwrap_err().to_string();
            assert!(error.contains(&key), "{error}");
        }
    }
}
