//! Finding a network's parameters in a store by their names.

use flg_engine::{ParamId, ParamStore, Shape};

use super::block::{Added, Attention, Block};
use super::embed::Embedder;
use super::head::Head;
use super::image::ImageEmbedder;
use super::linear::Linear;
use super::{Checkpointing, Wan};
use crate::config::WanConfig;
use crate::error::Mismatch;
use crate::{Error, Result, parameters};

impl Wan {
    /// The network of this configuration with the weights of `weights`, whose names are diffusers' tensor names.
    ///
    /// # Errors
    /// What [`WanConfig::validate`] refuses; [`Error::Parameters`] with every missing, extra and misshapen tensor.
    pub fn bind(config: WanConfig, weights: &ParamStore) -> Result<Wan> {
        config.validate()?;
        let found = weights.iter().map(|(_, name, value)| (name, value.shape()));
        let mismatch = config.mismatch(found);
        if !mismatch.is_empty() {
            return Err(Error::Parameters(mismatch));
        }
        let names = Names { weights };
        let blocks = (0..config.num_layers).map(|i| names.block(&config, i)).collect::<Result<_>>()?;
        Ok(Wan {
            embedder: names.embedder(&config)?,
            blocks,
            head: Head { table: names.id("scale_shift_table")?, out: names.linear("proj_out")? },
            checkpointing: Checkpointing::Off,
            config,
        })
    }
}

impl WanConfig {
    /// How tensors of these names and shapes differ from those of this configuration. `norm_added_q`, which some
    /// published files hold and no network reads, is not extra.
    pub fn mismatch<'a>(&self, found: impl Iterator<Item = (&'a str, Shape)>) -> Mismatch {
        let mut mismatch = parameters::mismatch(&self.parameters(), found);
        mismatch.extra.retain(|name| !name.contains("norm_added_q"));
        mismatch
    }
}

struct Names<'a> {
    weights: &'a ParamStore,
}

impl Names<'_> {
    fn id(&self, name: &str) -> Result<ParamId> {
        Ok(self.weights.id(name)?)
    }

    fn linear(&self, name: &str) -> Result<Linear> {
        Ok(Linear { weight: self.id(&format!("{name}.weight"))?, bias: self.id(&format!("{name}.bias"))? })
    }

    fn embedder(&self, config: &WanConfig) -> Result<Embedder> {
        let part = |name: &str| self.linear(&format!("condition_embedder.{name}"));
        Ok(Embedder {
            patch: self.linear("patch_embedding")?,
            time: [part("time_embedder.linear_1")?, part("time_embedder.linear_2")?],
            time_proj: part("time_proj")?,
            text: [part("text_embedder.linear_1")?, part("text_embedder.linear_2")?],
            image: config.image_dim.map(|_| self.image_embedder(config)).transpose()?,
        })
    }

    fn image_embedder(&self, config: &WanConfig) -> Result<ImageEmbedder> {
        let part = |name: &str| self.linear(&format!("condition_embedder.image_embedder.{name}"));
        let position = "condition_embedder.image_embedder.pos_embed";
        Ok(ImageEmbedder {
            position: config.pos_embed_seq_len.map(|_| self.id(position)).transpose()?,
            norms: [part("norm1")?, part("norm2")?],
            layers: [part("ff.net.0.proj")?, part("ff.net.2")?],
        })
    }

    fn added(&self, name: &str) -> Result<Added> {
        Ok(Added {
            k: self.linear(&format!("{name}.add_k_proj"))?,
            v: self.linear(&format!("{name}.add_v_proj"))?,
            norm_k: self.id(&format!("{name}.norm_added_k.weight"))?,
        })
    }

    fn attention(&self, name: &str) -> Result<Attention> {
        Ok(Attention {
            q: self.linear(&format!("{name}.to_q"))?,
            k: self.linear(&format!("{name}.to_k"))?,
            v: self.linear(&format!("{name}.to_v"))?,
            out: self.linear(&format!("{name}.to_out.0"))?,
            norm_q: self.id(&format!("{name}.norm_q.weight"))?,
            norm_k: self.id(&format!("{name}.norm_k.weight"))?,
        })
    }

    fn block(&self, config: &WanConfig, index: usize) -> Result<Block> {
        let name = format!("blocks.{index}");
        let norm2 = config.cross_attn_norm.then(|| self.linear(&format!("{name}.norm2"))).transpose()?;
        Ok(Block {
            index,
            heads: config.num_attention_heads,
            eps: config.eps as f32,
            table: self.id(&format!("{name}.scale_shift_table"))?,
            attn1: self.attention(&format!("{name}.attn1"))?,
            norm2,
            attn2: self.attention(&format!("{name}.attn2"))?,
            added: config.image_dim.map(|_| self.added(&format!("{name}.attn2"))).transpose()?,
            ffn: [self.linear(&format!("{name}.ffn.net.0.proj"))?, self.linear(&format!("{name}.ffn.net.2"))?],
        })
    }
}
