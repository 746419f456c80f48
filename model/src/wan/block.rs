//! One transformer block: self-attention, cross-attention to text and image, feed-forward network.

use flg_engine::ops::layer_norm::ModulatedNorm;
use flg_engine::{Cx, ParamId, Result, Tensor, Var};
use flg_kernels::gemm::Activation;

use super::linear::Linear;
use super::probe::Probe;
use super::rope::RopeTable;

/// Slots of a block's modulation, in the order of its table.
mod slot {
    pub(super) const SHIFT: usize = 0;
    pub(super) const SCALE: usize = 1;
    pub(super) const GATE: usize = 2;
    pub(super) const FFN_SHIFT: usize = 3;
    pub(super) const FFN_SCALE: usize = 4;
    pub(super) const FFN_GATE: usize = 5;
}

/// Bytes of the feed-forward network's hidden layer at a time, where it is not kept.
const HIDDEN_BYTES: usize = 128 << 20;

/// The parameters of an attention. Queries and keys are normalised over the whole width, across heads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    pub(super) q: Linear,
    pub(super) k: Linear,
    pub(super) v: Linear,
    pub(super) out: Linear,
    pub(super) norm_q: ParamId,
    pub(super) norm_k: ParamId,
}

/// What a cross-attention has beside an [`Attention`] where there is an image: keys and values of its own for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added {
    pub(super) k: Linear,
    pub(super) v: Linear,
    pub(super) norm_k: ParamId,
}

/// The parameters of a block. diffusers' `norm2` (with weights) stands before the cross-attention.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) index: usize,
    pub(super) heads: usize,
    pub(super) eps: f32,
    pub(super) table: ParamId,
    pub(super) attn1: Attention,
    pub(super) norm2: Option<Linear>,
    pub(super) attn2: Attention,
    pub(super) added: Option<Added>,
    pub(super) ffn: [Linear; 2],
}

/// What the cross-attention of one block attends to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attended<'a> {
    /// Embedded text, and the image of a network that takes one; keys and values are computed from them.
    Tokens { text: &'a Var, image: Option<&'a Var> },
    /// Keys and values that were computed before.
    Known(&'a KeysValues),
}

/// Keys and values of a cross-attention.
#[derive(Clone, Debug)]
pub(super) struct KeysValues {
    text: [Var; 2],
    image: Option<[Var; 2]>,
}

/// What all blocks of a forward pass share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared<'a> {
    /// `[groups, 6 d]`: what time adds to the modulation tables.
    pub(super) projection: &'a Var,
    /// What the cross-attention attends to.
    pub(super) attended: Attended<'a>,
    /// Positions.
    pub(super) rope: &'a RopeTable,
}

impl Block {
    /// `x [b, tokens, d]` after this block.
    pub(super) fn forward(&self, cx: &Cx<'_>, x: &Var, shared: Shared<'_>, probe: &mut Probe<'_>) -> Result<Var> {
        let modulation = cx.modulation(&cx.param(self.table), shared.projection)?;
        let norm = ModulatedNorm { shift: slot::SHIFT, scale: slot::SCALE, eps: self.eps };
        let n = cx.modulated_norm(x, &modulation, norm)?;
        probe.see(format_args!("blocks.{}.norm1.modulated", self.index), &n);
        let h = self.self_attention(cx, &n, shared.rope, probe)?;
        let x = cx.gated_add(x, &h, &modulation, slot::GATE)?;

        let h = self.cross_attention(cx, &x, shared.attended, probe)?;
        let x = cx.residual_add(&x, &h)?;

        let norm = ModulatedNorm { shift: slot::FFN_SHIFT, scale: slot::FFN_SCALE, eps: self.eps };
        let n = cx.modulated_norm(&x, &modulation, norm)?;
        probe.see(format_args!("blocks.{}.norm3.modulated", self.index), &n);
        let h = self.feed_forward(cx, n)?;
        probe.see(format_args!("blocks.{}.ffn", self.index), &h);
        let x = cx.gated_add(&x, &h, &modulation, slot::FFN_GATE)?;
        probe.see(format_args!("blocks.{}", self.index), &x);
        Ok(x)
    }

    fn self_attention(&self, cx: &Cx<'_>, n: &Var, rope: &RopeTable, probe: &mut Probe<'_>) -> Result<Var> {
        let Attention { q, k, v, out, norm_q, norm_k } = &self.attn1;
        let mut placed = |x: &Var, norm: ParamId, name: &str| {
            let weight = cx.param(norm);
            if !probe.looks() {
                return cx.rms_norm_rope(x, &weight, self.eps, rope.of_heads(self.heads));
            }
            let x = cx.rms_norm(x, &weight, self.eps)?;
            probe.see(format_args!("blocks.{}.attn1.{name}", self.index), &x);
            rope.turn(cx, self.heads, &x)
        };
        let q = placed(&q.forward(cx, n)?, *norm_q, "norm_q")?;
        let k = placed(&k.forward(cx, n)?, *norm_k, "norm_k")?;
        let h = out.forward(cx, &cx.attention(self.heads, &q, &k, &v.forward(cx, n)?, None)?)?;
        probe.see(format_args!("blocks.{}.attn1", self.index), &h);
        Ok(h)
    }

    fn cross_attention(&self, cx: &Cx<'_>, x: &Var, attended: Attended<'_>, probe: &mut Probe<'_>) -> Result<Var> {
        let n = match &self.norm2 {
            Some(norm) => cx.layer_norm(x, &cx.param(norm.weight), &cx.param(norm.bias), self.eps)?,
            None => x.clone(),
        };
        probe.see(format_args!("blocks.{}.norm2", self.index), &n);
        let Attention { q, out, norm_q, .. } = &self.attn2;
        let q = cx.rms_norm(&q.forward(cx, &n)?, &cx.param(*norm_q), self.eps)?;
        let KeysValues { text: [k, v], image } = match attended {
            Attended::Tokens { text, image } => self.keys_values(cx, text, image)?,
            Attended::Known(keys_values) => keys_values.clone(),
        };
        let mut h = cx.attention(self.heads, &q, &k, &v, None)?;
        if let Some([k, v]) = image {
            // A softmax of its own: the image does not take from the text's attention.
            h = cx.residual_add(&h, &cx.attention(self.heads, &q, &k, &v, None)?)?;
        }
        let h = out.forward(cx, &h)?;
        probe.see(format_args!("blocks.{}.attn2", self.index), &h);
        Ok(h)
    }

    /// The hidden layer is several times as wide as the stream. Where it need not be kept it exists for some rows at a
    /// time, which changes no bit: a row of a product does not depend on the others.
    fn feed_forward(&self, cx: &Cx<'_>, n: Var) -> Result<Var> {
        let [first, second] = &self.ffn;
        let of_rows = |rows: &Var| second.forward(cx, &first.activated(cx, rows, Activation::GeluTanh)?);
        let value = n.value();
        let (shape, rows, width) = (value.shape(), value.shape().rows(), value.shape().width());
        let hidden = cx.param(first.bias).value().elements() * value.dtype().size();
        let at_once = (HIDDEN_BYTES / hidden.max(1)).max(1);
        if cx.records() || rows <= at_once {
            return of_rows(&n);
        }
        let (n, mut h) = (value.reshape([rows, width])?, Tensor::empty(cx.device(), [rows, width], value.dtype())?);
        for start in (0..rows).step_by(at_once) {
            let part = n.narrow(0, start, at_once.min(rows - start))?;
            h.overwrite(0, start, of_rows(&cx.input(part))?.value())?;
        }
        Ok(cx.input(h.reshape(shape)?))
    }

    /// Keys and values of embedded text and image: they depend on neither the latents nor the time.
    pub(super) fn keys_values(&self, cx: &Cx<'_>, text: &Var, image: Option<&Var>) -> Result<KeysValues> {
        let of = |tokens: &Var, k: &Linear, v: &Linear, norm_k: ParamId| -> Result<[Var; 2]> {
            // A node of its own adds up the tokens' gradient within the block first, so that it is the same bit for bit
            // whether blocks are checkpointed or not.
            let tokens = cx.reshape(tokens, tokens.value().shape())?;
            let k = cx.rms_norm(&k.forward(cx, &tokens)?, &cx.param(norm_k), self.eps)?;
            Ok([k, v.forward(cx, &tokens)?])
        };
        let Attention { k, v, norm_k, .. } = &self.attn2;
        let image = self.added.as_ref().zip(image);
        Ok(KeysValues {
            text: of(text, k, v, *norm_k)?,
            image: image.map(|(Added { k, v, norm_k }, image)| of(image, k, v, *norm_k)).transpose()?,
        })
    }
}
