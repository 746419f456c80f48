//! Attention with a learned bias for the distance of two tokens, in place of positions and of the scores' scale.

use std::ops::Range;

use flg_engine::{DType, Device, Result, Tensor};
use flg_kernels::gemm::{self, Batch, Dims, Epilogue, Layout, Write};
use flg_kernels::{gather, softmax};

use super::config::Umt5Config;

/// Bytes of the scores that exist at once: of as many heads as they hold, at least one.
const SCORES: usize = 16 << 20;

/// Which distances a head tells apart.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    count: usize,
    max_distance: usize,
}

impl Buckets {
    /// Those of a configuration.
    pub fn new(config: &Umt5Config) -> Self {
        Buckets { count: config.relative_attention_num_buckets, max_distance: config.relative_attention_max_distance }
    }

    /// The bucket of a key `distance` tokens behind the query (negative: in front of it): short distances have one each,
    /// longer ones share them logarithmically, as T5 does (Raffel et al., "Exploring the Limits of Transfer Learning",
    /// 2020, section 2.1). f32, as transformers computes it, so that the borders are the same.
    pub fn of(&self, distance: isize) -> usize {
        let side = self.count / 2;
        let exact = side / 2;
        let (from, length) = (if distance > 0 { side } else { 0 }, distance.unsigned_abs());
        if length < exact {
            return from + length;
        }
        let octaves = (length as f32 / exact as f32).ln() / (self.max_distance as f64 / exact as f64).ln() as f32;
        let shared = (octaves * (side - exact) as f32) as usize;
        from + (exact + shared).min(side - 1)
    }

    /// `[len * len]`, i32: the bucket of every query and key of a sequence.
    pub(super) fn of_pairs(&self, device: &Device, len: usize) -> Result<Tensor> {
        let pairs = (0..len as isize).flat_map(|query| (0..len as isize).map(move |key| key - query));
        Tensor::from_indices(device, pairs.map(|distance| self.of(distance) as i32).collect(), [len * len])
    }
}

/// One sequence's queries, keys and values `[len, heads * width]`.
pub(super) struct Sequence<'a> {
    pub(super) q: &'a Tensor,
    pub(super) k: &'a Tensor,
    pub(super) v: &'a Tensor,
    /// [`Buckets::of_pairs`] of its length.
    pub(super) buckets: &'a Tensor,
    /// `[buckets, heads]`
    pub(super) bias: &'a Tensor,
}

impl Sequence<'_> {
    /// `softmax(q k^T + bias) v`, `[len, heads * width]`.
    ///
    /// The flash kernel has no bias, so the scores of a few heads at a time are written out: 1 MiB a head at 512 tokens.
    pub(super) fn attend(&self) -> Result<Tensor> {
        let [len, inner] = self.q.shape().expect_rank("attention")?;
        let [_, heads] = self.bias.shape().expect_rank("attention")?;
        let by_head = |x: &Tensor| x.reshape([len, heads, inner / heads])?.transpose(0, 1)?.contiguous();
        let (q, k, v) = (by_head(self.q)?, by_head(self.k)?, by_head(self.v)?);
        let bias = self.bias.transpose(0, 1)?.contiguous()?.cast(DType::F32)?;
        let mut out = Tensor::empty(self.q.device(), [len, heads, inner / heads], DType::F32)?;
        let at_once = (SCORES / (4 * len * len).max(1)).clamp(1, heads);
        for first in (0..heads).step_by(at_once) {
            let some = first..heads.min(first + at_once);
            let of = |x: &Tensor| x.narrow(0, some.start, some.len());
            let attended =
                Heads { q: of(&q)?, k: of(&k)?, v: of(&v)?, bias: of(&bias)?, buckets: self.buckets }.attend()?;
            out.overwrite(1, first, &attended.transpose(0, 1)?)?;
        }
        out.reshape([len, inner])
    }
}

/// Some heads of a sequence: `q`, `k`, `v` are `[heads, len, width]`, the bias `[heads, buckets]`.
struct Heads<'a> {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    buckets: &'a Tensor,
}

impl Heads<'_> {
    fn attend(&self) -> Result<Tensor> {
        let [heads, len, width] = self.q.shape().expect_rank("attention")?;
        let rt = *self.q.device().runtime();
        let mut scores = self.bias_of_pairs(heads, len)?;
        let batch = |stride_a, stride_b, stride_c| Batch { count: heads, stride_a, stride_b, stride_c };
        let args = gemm::Args {
            a: self.q.input()?,
            b: self.k.input()?,
            c: scores.output()?,
            layout: Layout::NT,
            dims: Dims { m: len, n: len, k: width },
            batch: batch(len * width, len * width, len * len),
            write: Write::Accumulate,
            epilogue: Epilogue::default(),
        };
        gemm::gemm(&rt, args)?;
        let mut weights = Tensor::empty(self.q.device(), scores.shape(), DType::F32)?;
        let (x, y) = (scores.input()?, weights.output()?);
        softmax::forward(&rt, softmax::Forward { x, y, rows: heads * len, width: len })?;
        drop(scores);
        let mut out = Tensor::empty(self.q.device(), self.q.shape(), DType::F32)?;
        let args = gemm::Args {
            a: weights.input()?,
            b: self.v.input()?,
            c: out.output()?,
            layout: Layout::NN,
            dims: Dims { m: len, n: width, k: len },
            batch: batch(len * len, len * width, len * width),
            write: Write::Overwrite,
            epilogue: Epilogue::default(),
        };
        gemm::gemm(&rt, args)?;
        Ok(out)
    }

    /// `[heads, len, len]`
    fn bias_of_pairs(&self, heads: usize, len: usize) -> Result<Tensor> {
        let rows = self.bias.shape().width();
        let mut y = Tensor::empty(self.q.device(), [heads, len, len], DType::F32)?;
        let args = gather::Forward {
            x: self.bias.input()?,
            index: self.buckets.input()?,
            y: y.output()?,
            batch: heads,
            rows,
            picks: len * len,
            width: 1,
        };
        gather::forward(self.q.device().runtime(), args)?;
        Ok(y)
    }
}

/// Where each of several sequences lies, one behind the other.
pub(super) fn spans(lengths: &[usize]) -> Vec<Range<usize>> {
    let ends = lengths.iter().scan(0, |end, len| {
        *end += len;
        Some(*end)
    });
    ends.zip(lengths).map(|(end, len)| end - len..end).collect()
}
