//! Scaled dot-product attention: `out = softmax(scale * q k^T) v`, one head at a time, without a score matrix in memory.
//!
//! Forward keeps `lse = ln(sum_j exp(scale * q_i . k_j))` of each query, from which backward recomputes the
//! probabilities (FlashAttention, Dao et al. 2022, arXiv:2205.14135):
//!
//! ```text
//! p_ij = exp(scale * q_i . k_j - lse_i)        d_i   = dout_i . out_i
//! ds_ij = p_ij * (dout_i . v_j - d_i)          dv_j  = sum_i p_ij dout_i
//! dq_i = scale * sum_j ds_ij k_j               dk_j  = scale * sum_i ds_ij q_i
//! ```
//!
//! A key that the mask excludes is left out of every sum: nothing in its `k` and `v`, NaN included, is looked at, and
//! its gradients are 0. A query without a key gives `out = 0`, `lse = -inf` and gradients of 0.

mod backward;
#[cfg(feature = "cuda")]
mod cuda;
mod forward;
mod pack;
mod reference;
mod row;
#[cfg(test)]
mod tests;
mod tile;

pub use row::Row;

use crate::view::extent;
use crate::{DType, In, Out, Result, Runtime};

const OP: &str = "attention";

/// The extents of one call. Self-attention has `queries == keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Sequences that do not see each other.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Queries of a sequence.
    pub queries: usize,
    /// Keys of a sequence.
    pub keys: usize,
    /// Width of a head.
    pub width: usize,
}

impl Dims {
    /// Elements of `q`, `out` and their gradients.
    fn query_len(&self) -> Result<usize> {
        extent(OP, &[self.batch, self.queries, self.heads, self.width])
    }

    /// Elements of `k`, `v` and their gradients.
    fn key_len(&self) -> Result<usize> {
        extent(OP, &[self.batch, self.keys, self.heads, self.width])
    }

    /// Elements of `lse`.
    fn row_len(&self) -> Result<usize> {
        extent(OP, &[self.batch, self.heads, self.queries])
    }
}

/// `out = softmax(scale * q k^T) v`
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[batch, queries, heads * width]`
    pub q: In<'a>,
    /// `[batch, keys, heads * width]`
    pub k: In<'a>,
    /// `[batch, keys, heads * width]`
    pub v: In<'a>,
    /// f32 `[batch, keys]`: 1 where the key is attended to, 0 where it is not. `None`: every key is.
    pub key_mask: Option<In<'a>>,
    /// `[batch, queries, heads * width]`
    pub out: Out<'a>,
    /// f32 `[batch, heads, queries]`: logarithm of the sum of exponentials, for backward
    pub lse: Out<'a>,
    /// Extents.
    pub dims: Dims,
    /// Factor of the scores, usually `1 / sqrt(width)`.
    pub scale: f32,
}

/// Gradients of `q`, `k` and `v`.
#[derive(Debug)]
pub struct Backward<'a> {
    /// `[batch, queries, heads * width]`, as in the forward pass
    pub q: In<'a>,
    /// `[batch, keys, heads * width]`, as in the forward pass
    pub k: In<'a>,
    /// `[batch, keys, heads * width]`, as in the forward pass
    pub v: In<'a>,
    /// f32 `[batch, keys]`, as in the forward pass
    pub key_mask: Option<In<'a>>,
    /// `[batch, queries, heads * width]`, the result of the forward pass
    pub out: In<'a>,
    /// f32 `[batch, heads, queries]`, the result of the forward pass
    pub lse: In<'a>,
    /// `[batch, queries, heads * width]`
    pub dout: In<'a>,
    /// `[batch, queries, heads * width]`
    pub dq: Out<'a>,
    /// `[batch, keys, heads * width]`
    pub dk: Out<'a>,
    /// `[batch, keys, heads * width]`
    pub dv: Out<'a>,
    /// Extents.
    pub dims: Dims,
    /// Factor of the scores.
    pub scale: f32,
}

/// Runs the forward pass.
///
/// # Errors
/// Operands whose lengths are not those of `dims`; a mask or `lse` that is not f32; extents that overflow.
pub fn forward(rt: &Runtime, mut args: Forward<'_>) -> Result<()> {
    let dims = args.dims;
    args.q.check(rt, OP, "q", dims.query_len()?)?;
    args.k.check(rt, OP, "k", dims.key_len()?)?;
    args.v.check(rt, OP, "v", dims.key_len()?)?;
    args.out.check(rt, OP, "out", dims.query_len()?)?;
    check_mask(rt, args.key_mask, dims)?;
    args.lse.check_f32(rt, OP, "lse", dims.row_len()?)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::forward(gpu, args)?,
        Runtime::Cpu(isa) => {
            let (q, k, v) = (args.q.widen(), args.k.widen(), args.v.widen());
            let mask = args.key_mask.map(|mask| mask.f32());
            let problem = Inputs { q: &q, k: &k, v: &v, mask, dims, scale: args.scale };
            let lse = args.lse.f32();
            args.out.write(|out| forward::run(*isa, problem, out, lse));
        }
    }
    Ok(())
}

/// Runs the backward pass.
///
/// # Errors
/// Operands whose lengths are not those of `dims`; a mask or `lse` that is not f32; extents that overflow.
pub fn backward(rt: &Runtime, mut args: Backward<'_>) -> Result<()> {
    let dims = args.dims;
    for (name, operand) in [("q", args.q), ("out", args.out), ("dout", args.dout)] {
        operand.check(rt, OP, name, dims.query_len()?)?;
    }
    for (name, operand) in [("k", args.k), ("v", args.v)] {
        operand.check(rt, OP, name, dims.key_len()?)?;
    }
    args.dq.check(rt, OP, "dq", dims.query_len()?)?;
    args.dk.check(rt, OP, "dk", dims.key_len()?)?;
    args.dv.check(rt, OP, "dv", dims.key_len()?)?;
    check_mask(rt, args.key_mask, dims)?;
    args.lse.check_type(rt, DType::F32, OP, "lse", dims.row_len()?)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::backward(gpu, args)?,
        Runtime::Cpu(isa) => {
            let (q, k, v) = (args.q.widen(), args.k.widen(), args.v.widen());
            let (out, dout) = (args.out.widen(), args.dout.widen());
            let mask = args.key_mask.map(|mask| mask.f32());
            let inputs = Inputs { q: &q, k: &k, v: &v, mask, dims, scale: args.scale };
            let saved = backward::Saved { out: &out, lse: args.lse.f32(), dout: &dout };
            args.dq.write(|dq| {
                args.dk.write(|dk| args.dv.write(|dv| backward::run(*isa, inputs, saved, [dq, dk, dv])));
            });
        }
    }
    Ok(())
}

fn check_mask(rt: &Runtime, mask: Option<In<'_>>, dims: Dims) -> Result<()> {
    let len = extent(OP, &[dims.batch, dims.keys])?;
    mask.map_or(Ok(()), |mask| mask.check_type(rt, DType::F32, OP, "key_mask", len))
}

/// The checked and widened operands that both directions read; shapes as in [`Forward`].
#[derive(Clone, Copy)]
struct Inputs<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    mask: Option<&'a [f32]>,
    dims: Dims,
    scale: f32,
}

impl Inputs<'_> {
    /// The keys of sequence `batch` that its queries attend to, in order.
    fn attended(&self, batch: usize) -> Vec<usize> {
        let keys = 0..self.dims.keys;
        match self.mask {
            Some(mask) => keys.filter(|j| mask[batch * self.dims.keys + j] != 0.0).collect(),
            None => keys.collect(),
        }
    }
}

/// Tasks of `cost` operations that one thread should take at a time: fewer are not worth waking another thread.
fn tasks_of(cost: usize) -> usize {
    const GRAIN: usize = 1 << 20;
    (GRAIN / cost.max(1)).max(1)
}
