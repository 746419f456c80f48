//! Wan's video diffusion transformer, as diffusers' `WanTransformer3DModel` computes it: text to video, text with a
//! first frame (a time for every token), and text with images (their embeddings beside the text's).
//!
//! A [`Wan`] holds names of weights, not weights: the same network runs with the student's, the teacher's or an average's
//! [`ParamStore`](flg_engine::ParamStore), by the [`Cx`] that a forward pass is given. A forward pass is
//! `embed -> blocks -> head`; each is public, so that a caller may keep the residual stream in front of a block and
//! resume there.

mod bind;
mod block;
mod blockwise;
mod embed;
mod head;
mod image;
mod init;
mod linear;
mod parameters;
mod probe;
mod rope;

use std::ops::Range;

use flg_engine::{Cx, Var};

pub use blockwise::{Blockwise, Pass};
pub use embed::{Condition, Embedded, Text};
pub use parameters::{Init, Parameter, reads_low_precision};
pub use probe::See;
pub use rope::RopeTable;

use self::block::{Attended, Block, Shared};
use self::embed::Embedder;
use self::head::Head;
use self::probe::Probe;
use crate::config::WanConfig;
use crate::{BlockMask, Error, Result, Time};

/// A Wan transformer.
#[derive(Clone, Debug)]
pub struct Wan {
    config: WanConfig,
    embedder: Embedder,
    blocks: Vec<Block>,
    head: Head,
    checkpointing: Checkpointing,
}

/// What a recorded forward pass keeps of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checkpointing {
    /// Everything that its backward pass needs.
    #[default]
    Off,
    /// Its input; the backward pass computes the block again. Gradients are the same bit for bit.
    PerBlock,
}

/// The inputs of a forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Noisy latents `[b, c, f, h, w]`.
    pub latents: &'a Var,
    /// How noisy they are.
    pub time: &'a Time,
    /// Text embedding `[b, rows, text_dim]`.
    pub text: &'a Var,
    /// Image embedding `[b, rows, image_dim]`, for a network that has `image_dim`, and only for one. Of several images a
    /// sample, `[b * images, rows, image_dim]` will do.
    pub image: Option<&'a Var>,
}

impl Wan {
    /// The sizes.
    pub fn config(&self) -> &WanConfig {
        &self.config
    }

    /// The same network with another choice of what recorded passes keep.
    pub fn with_checkpointing(self, checkpointing: Checkpointing) -> Self {
        Wan { checkpointing, ..self }
    }

    /// Predicts the velocity `noise - data`, `[b, c, f, h, w]`, f32.
    ///
    /// # Errors
    /// Inputs that do not fit the configuration or each other; a mask for another number of blocks.
    pub fn forward(&self, cx: &Cx<'_>, inputs: &Inputs<'_>, mask: &BlockMask) -> Result<Var> {
        let embedded = self.embed(cx, inputs)?;
        let x = self.blocks(cx, &embedded, embedded.tokens.clone(), 0..self.blocks.len(), mask)?;
        self.head(cx, &embedded, &x)
    }

    /// [`Wan::forward`], showing activations to `see` by diffusers' module names. Norms that a modulation follows are
    /// shown behind it, as `<name>.modulated`. Blocks are not checkpointed.
    ///
    /// # Errors
    /// As [`Wan::forward`].
    pub fn forward_probed<'s>(
        &self,
        cx: &Cx<'_>,
        inputs: &Inputs<'_>,
        mask: &BlockMask,
        see: &'s mut See<'s>,
    ) -> Result<Var> {
        let mut probe = Probe::new(see);
        let embedded = self.embed(cx, inputs)?;
        probe.see(format_args!("patch_embedding"), &embedded.tokens);
        probe.see(format_args!("condition_embedder.0"), &embedded.condition.embedding);
        probe.see(format_args!("condition_embedder.1"), &embedded.condition.projection);
        probe.see(format_args!("condition_embedder.2"), &embedded.text.tokens);
        if let Some(image) = &embedded.text.image {
            probe.see(format_args!("condition_embedder.3"), image);
        }
        let all = 0..self.blocks.len();
        let x = self.blocks_probed(cx, &embedded, embedded.tokens.clone(), all, mask, &mut probe)?;
        self.head_probed(cx, &embedded, &x, &mut probe)
    }

    /// The residual stream behind the blocks of `range` that the mask keeps, given the stream `x [b, tokens, d]` in front
    /// of them. Running `0..l` and then `l..n` is the same, bit for bit, as running `0..n`.
    ///
    /// # Errors
    /// A range outside the network; a mask for another number of blocks; a stream of another shape.
    pub fn blocks(
        &self,
        cx: &Cx<'_>,
        embedded: &Embedded,
        x: Var,
        range: Range<usize>,
        mask: &BlockMask,
    ) -> Result<Var> {
        self.blocks_probed(cx, embedded, x, range, mask, &mut Probe::none())
    }

    fn blocks_probed(
        &self,
        cx: &Cx<'_>,
        embedded: &Embedded,
        mut x: Var,
        range: Range<usize>,
        mask: &BlockMask,
        probe: &mut Probe<'_>,
    ) -> Result<Var> {
        self.expect_mask(mask)?;
        let layers = self.blocks.len();
        let blocks = self.blocks.get(range.clone()).ok_or(Error::BlockIndex { index: range.end, layers })?;
        for block in blocks.iter().filter(|block| mask.keeps(block.index)) {
            x = self.run(cx, block, &x, embedded, probe)?;
        }
        Ok(x)
    }

    fn run(&self, cx: &Cx<'_>, block: &Block, x: &Var, embedded: &Embedded, probe: &mut Probe<'_>) -> Result<Var> {
        let Embedded { condition, text, rope, .. } = embedded;
        let known = text.keys_values.get(block.index).and_then(Option::as_ref);
        let attended =
            known.map_or(Attended::Tokens { text: &text.tokens, image: text.image.as_ref() }, Attended::Known);
        if let (Checkpointing::PerBlock, Attended::Tokens { text, image }) = (self.checkpointing, attended)
            && !probe.looks()
        {
            let (block, rope) = (*block, rope.clone());
            let run = move |cx: &Cx<'_>, [x, projection, text]: [&Var; 3], image: Option<&Var>| {
                let shared = Shared { projection, attended: Attended::Tokens { text, image }, rope: &rope };
                block.forward(cx, x, shared, &mut Probe::none())
            };
            let inputs = [x, &condition.projection, text];
            let Some(image) = image else {
                return Ok(cx.checkpoint(inputs, move |cx, kept| run(cx, kept.each_ref(), None))?);
            };
            let [x, projection, text] = inputs;
            let body = move |cx: &Cx<'_>, [x, projection, text, image]: [Var; 4]| {
                run(cx, [&x, &projection, &text], Some(&image))
            };
            return Ok(cx.checkpoint([x, projection, text, image], body)?);
        }
        let shared = Shared { projection: &condition.projection, attended, rope };
        Ok(block.forward(cx, x, shared, probe)?)
    }
}
