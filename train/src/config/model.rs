//! The architecture of a teacher that is trained from scratch.

use flg_model::WanConfig;

use super::range::{count, number};
use super::{Error, Result};

/// A plain Wan transformer, by diffusers' names. Channels come from the data, text rows from [`super::DataConfig`].
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Blocks.
    pub num_layers: usize,
    /// Heads of every attention.
    pub num_attention_heads: usize,
    /// Width of a head; even, at least 6. A token is heads x this wide.
    pub attention_head_dim: usize,
    /// Hidden width of a block's feed-forward part.
    pub ffn_dim: usize,
    /// Frames, rows and columns of a patch. The first must be 1 where the first frame can be given.
    pub patch_size: [usize; 3],
    /// Width of a text row.
    pub text_dim: usize,
    /// Width of the sinusoidal time embedding; even.
    pub freq_dim: usize,
    /// Whether the cross-attention's input is normalised with learnt scale and shift.
    pub cross_attn_norm: bool,
    /// Added to variances under a square root.
    pub eps: f64,
    /// Longest axis, in patches, that the rotary embedding serves.
    pub rope_max_seq_len: usize,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            num_layers: 12,
            num_attention_heads: 4,
            attention_head_dim: 16,
            ffn_dim: 192,
            patch_size: [1, 4, 4],
            text_dim: 64,
            freq_dim: 256,
            cross_attn_norm: true,
            eps: 1e-6,
            rope_max_seq_len: 1024,
        }
    }
}

impl ModelConfig {
    /// The network for clips of `channels` channels.
    pub fn wan(&self, channels: usize) -> WanConfig {
        WanConfig {
            patch_size: self.patch_size,
            num_attention_heads: self.num_attention_heads,
            attention_head_dim: self.attention_head_dim,
            in_channels: channels,
            out_channels: channels,
            text_dim: self.text_dim,
            freq_dim: self.freq_dim,
            ffn_dim: self.ffn_dim,
            num_layers: self.num_layers,
            cross_attn_norm: self.cross_attn_norm,
            eps: self.eps,
            rope_max_seq_len: self.rope_max_seq_len,
            ..WanConfig::default()
        }
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::Range`].
    pub fn check(&self) -> Result<()> {
        count("model.num_layers", self.num_layers).within(1.0, 1024.0)?;
        count("model.num_attention_heads", self.num_attention_heads).within(1.0, 1024.0)?;
        count("model.attention_head_dim", self.attention_head_dim).within(6.0, 1024.0)?;
        count("model.ffn_dim", self.ffn_dim).within(1.0, 1048576.0)?;
        count("model.text_dim", self.text_dim).within(1.0, 65536.0)?;
        count("model.freq_dim", self.freq_dim).within(2.0, 65536.0)?;
        count("model.rope_max_seq_len", self.rope_max_seq_len).within(1.0, 1048576.0)?;
        number("model.eps", self.eps).positive()?;
        for extent in self.patch_size {
            count("model.patch_size", extent).within(1.0, 64.0)?;
        }
        even("model.attention_head_dim", self.attention_head_dim)?;
        even("model.freq_dim", self.freq_dim)
    }
}

fn even(key: &str, value: usize) -> Result<()> {
    if value.is_multiple_of(2) {
        return Ok(());
    }
    Err(Error::Range { key: key.to_owned(), got: value.to_string(), allowed: "even".to_owned() })
}
