//! What goes into the blocks: tokens from latents, modulation from time, keys and values from text and image.

use flg_engine::ops::patchify::{Direction, Patchify};
use flg_engine::{Cx, Result as EngineResult, Tensor, Var};
use flg_kernels::gemm::Activation;
use flg_kernels::patchify::{Grid, Order};

use super::block::KeysValues;
use super::image::ImageEmbedder;
use super::linear::Linear;
use super::rope::RopeTable;
use super::{Inputs, Wan};
use crate::{BlockMask, Error, Result, Time};

/// The parameters in front of the blocks.
#[derive(Clone, Debug)]
pub(super) struct Embedder {
    pub(super) patch: Linear,
    pub(super) time: [Linear; 2],
    pub(super) time_proj: Linear,
    pub(super) text: [Linear; 2],
    pub(super) image: Option<ImageEmbedder>,
}

/// What the network makes of the times.
#[derive(Clone, Debug)]
pub struct Condition {
    /// `[groups, d]`: modulates the head.
    pub embedding: Var,
    /// `[groups, 6 d]`: modulates the blocks.
    pub projection: Var,
}

/// Embedded text, and beside it the image of a network that takes one. Blocks compute their keys and values from them,
/// unless they are computed already.
#[derive(Clone, Debug)]
pub struct Text {
    pub(super) tokens: Var,
    /// `[b, rows, d]`
    pub(super) image: Option<Var>,
    /// One a block, where computed; empty where none is.
    pub(super) keys_values: Vec<Option<KeysValues>>,
}

impl Text {
    /// `[b, rows, d]`
    pub fn tokens(&self) -> &Var {
        &self.tokens
    }
}

/// The inputs of a forward pass, embedded: all that blocks and head need beside the residual stream.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// The residual stream in front of the first block, `[b, tokens, d]`.
    pub tokens: Var,
    /// What time does.
    pub condition: Condition,
    /// What the text says.
    pub text: Text,
    pub(super) rope: RopeTable,
    /// Extents of the input.
    pub(super) grid: Grid,
}

impl Embedded {
    /// The same inputs beside another text.
    pub fn with_text(&self, text: Text) -> Self {
        Embedded { text, ..self.clone() }
    }

    /// Angles of the tokens.
    pub fn rope(&self) -> &RopeTable {
        &self.rope
    }
}

impl Wan {
    /// Embeds the inputs of a forward pass.
    ///
    /// # Errors
    /// [`Error::Latents`], [`Error::Times`], [`Error::Image`], and text of another width or batch.
    pub fn embed(&self, cx: &Cx<'_>, inputs: &Inputs<'_>) -> Result<Embedded> {
        let text = self.embed_text(cx, inputs.text, inputs.image)?;
        self.embed_latents(cx, inputs.latents, inputs.time, text)
    }

    /// [`Wan::embed`] with text that is embedded already, for a run of many forward passes.
    ///
    /// # Errors
    /// As [`Wan::embed`].
    pub fn embed_latents(&self, cx: &Cx<'_>, latents: &Var, time: &Time, text: Text) -> Result<Embedded> {
        let shape = latents.value().shape();
        let token_grid = self.config.token_grid(shape)?;
        let [batch, channels, frames, height, width] = shape.expect_rank("latents")?;
        let grid = Grid { batch, channels, frames, height, width, patch: self.config.patch_size };
        let tokens = token_grid.iter().product();
        time.expect(batch, tokens)?;
        let [text_batch, rows, _] = text.tokens.value().shape().expect_rank("text")?;
        let text_shape = [batch, rows, self.config.inner_dim()];
        if text_batch != batch {
            text.tokens.value().shape().expect("text", text_shape)?;
        }
        if let Some(image) = &text.image {
            let [_, rows, d] = image.value().shape().expect_rank("image")?;
            image.value().shape().expect("image", [batch, rows, d])?;
        }
        let latents = cx.cast(latents, cx.precision().dtype())?;
        let patchify = Patchify { grid, order: Order::ChannelFirst, direction: Direction::ToTokens };
        let patches = cx.patchify(&latents, patchify)?;
        Ok(Embedded {
            tokens: self.embedder.patch.over_patches(cx, &patches)?,
            condition: self.condition(cx, time.sinusoid(cx.device(), self.config.freq_dim)?)?,
            text,
            rope: RopeTable::new(cx.device(), token_grid, self.config.attention_head_dim)?,
            grid,
        })
    }

    /// Embeds times, given their sinusoid `[groups, freq_dim]`.
    ///
    /// # Errors
    /// A sinusoid of another width.
    pub fn condition(&self, cx: &Cx<'_>, sinusoid: Tensor) -> Result<Condition> {
        let [first, second] = &self.embedder.time;
        let h = first.activated(cx, &cx.input(sinusoid), Activation::Silu)?;
        // The time embedder is f32 in mixed precision too; what follows it is not.
        let embedding = cx.cast(&second.forward(cx, &h)?, cx.precision().dtype())?;
        let projection = self.embedder.time_proj.forward(cx, &cx.silu(&embedding)?)?;
        Ok(Condition { embedding, projection })
    }

    /// Embeds text `[b, rows, text_dim]` and the image embedding of a network that takes one. Every row takes part: there
    /// is no text mask in Wan.
    ///
    /// # Errors
    /// Text of another width; [`Error::Image`].
    pub fn embed_text(&self, cx: &Cx<'_>, text: &Var, image: Option<&Var>) -> Result<Text> {
        let [batch, rows, _] = text.value().shape().expect_rank("text")?;
        text.value().shape().expect("text", [batch, rows, self.config.text_dim])?;
        let text = cx.cast(text, cx.precision().dtype())?;
        let [first, second] = &self.embedder.text;
        let tokens = second.forward(cx, &first.activated(cx, &text, Activation::GeluTanh)?)?;
        let image = self.embed_image(cx, image)?;
        Ok(Text { tokens, image, keys_values: Vec::new() })
    }

    /// Embeds text and computes the keys and values of every block that runs: a sampler does that once, not once a step.
    /// Blocks with computed keys and values are not checkpointed.
    ///
    /// # Errors
    /// As [`Wan::embed_text`]; a mask for another number of blocks.
    pub fn embed_text_for(&self, cx: &Cx<'_>, text: &Var, image: Option<&Var>, mask: &BlockMask) -> Result<Text> {
        self.expect_mask(mask)?;
        let mut text = self.embed_text(cx, text, image)?;
        let of_block = |block: &super::block::Block| -> EngineResult<Option<KeysValues>> {
            mask.keeps(block.index).then(|| block.keys_values(cx, &text.tokens, text.image.as_ref())).transpose()
        };
        text.keys_values = self.blocks.iter().map(of_block).collect::<EngineResult<_>>()?;
        Ok(text)
    }

    /// Computes the keys and values of one block for a text that has none of that block yet.
    pub(super) fn remember_keys_values(&self, cx: &Cx<'_>, text: &mut Text, block: usize) -> Result<()> {
        let layers = self.blocks.len();
        let of_block = self.blocks.get(block).ok_or(Error::BlockIndex { index: block, layers })?;
        text.keys_values.resize(layers, None);
        text.keys_values[block] = Some(of_block.keys_values(cx, &text.tokens, text.image.as_ref())?);
        Ok(())
    }

    pub(super) fn expect_mask(&self, mask: &BlockMask) -> Result<()> {
        let (got, layers) = (mask.layers(), self.config.num_layers);
        if got == layers { Ok(()) } else { Err(Error::BlockMask { got, layers }) }
    }
}
