//! Scaled dot-product attention over heads laid side by side in a token: `softmax(q k^T * scale) v`.

use flg_kernels::attention::{self, Dims};

use crate::ops::OpCase;
use crate::{Again, Cx, DType, GradSink, Kept, Op, Result, SavedAs, Tensor, Var};

/// Inputs `q [b, queries, d]`, `k [b, keys, d]`, `v [b, keys, d]`; `d` is `heads` times the head width.
#[derive(Clone, Debug)]
pub struct Attention {
    heads: usize,
    /// `[b, keys]`: 1 where a key is attended to, 0 where not.
    key_mask: Option<Tensor>,
    /// What the result is kept as.
    saved_as: SavedAs,
}

/// What the backward of [`Attention`] needs: no score matrix, only its row-wise log-sum-exp.
#[derive(Debug)]
pub struct Saved {
    q: Kept,
    k: Kept,
    v: Kept,
    out: Kept,
    lse: Tensor,
}

impl Attention {
    fn dims(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<(Dims, f32)> {
        let [batch, queries, d] = q.shape().expect_rank("attention")?;
        let [_, keys, _] = k.shape().expect_rank("attention")?;
        k.shape().expect("attention", [batch, keys, d])?;
        v.shape().expect("attention", [batch, keys, d])?;
        let width = d / self.heads.max(1);
        q.shape().expect("attention", [batch, queries, width * self.heads])?;
        if let Some(mask) = &self.key_mask {
            mask.shape().expect("attention", [batch, keys])?;
        }
        Ok((Dims { batch, heads: self.heads, queries, keys, width }, 1.0 / (width as f32).sqrt()))
    }
}

impl Op<3> for Attention {
    const NAME: &'static str = "attention";
    type Saved = Saved;

    fn forward(&self, [q, k, v]: [&Tensor; 3]) -> Result<(Tensor, Saved)> {
        let (dims, scale) = self.dims(q, k, v)?;
        let mut out = Tensor::empty(q.device(), q.shape(), q.dtype())?;
        let mut lse = Tensor::empty(q.device(), [dims.batch, dims.heads, dims.queries], DType::F32)?;
        let args = attention::Forward {
            q: q.input()?,
            k: k.input()?,
            v: v.input()?,
            key_mask: self.key_mask.as_ref().map(Tensor::input).transpose()?,
            out: out.output()?,
            lse: lse.output()?,
            dims,
            scale,
        };
        attention::forward(q.device().runtime(), args)?;
        let kept = |x: &Tensor| Kept::Value(x.clone());
        let saved = Saved { q: kept(q), k: kept(k), v: kept(v), out: self.saved_as.keep(out.clone()), lse };
        Ok((out, saved))
    }

    fn backward(self, saved: Saved, dy: Tensor, dx: &mut GradSink<'_, '_, 3>) -> Result<()> {
        let Saved { q, k, v, out, lse } = saved;
        let (q, k, v, out) = (q.get()?, k.get()?, v.get()?, out.get()?);
        let (dims, scale) = self.dims(&q, &k, &v)?;
        let empty = |t: &Tensor| Tensor::empty(t.device(), t.shape(), DType::F32);
        let (mut dq, mut dk, mut dv) = (empty(&q)?, empty(&k)?, empty(&v)?);
        let args = attention::Backward {
            q: q.input()?,
            k: k.input()?,
            v: v.input()?,
            key_mask: self.key_mask.as_ref().map(Tensor::input).transpose()?,
            out: out.input()?,
            lse: lse.input()?,
            dout: dy.input()?,
            dq: dq.output()?,
            dk: dk.output()?,
            dv: dv.output()?,
            dims,
            scale,
        };
        attention::backward(q.device().runtime(), args)?;
        for (i, gradient) in [dq, dk, dv].into_iter().enumerate() {
            dx.add(i, gradient)?;
        }
        Ok(())
    }

    fn forget(saved: &mut Saved, [q, k, v]: [Option<Again>; 3]) {
        saved.q.forget(q);
        saved.k.forget(k);
        saved.v.forget(v);
    }

    fn saved_bytes(s: &Saved) -> usize {
        [&s.q, &s.k, &s.v, &s.out].into_iter().map(Kept::bytes).sum::<usize>() + s.lse.bytes()
    }
}

impl<'w> Cx<'w> {
    /// Attention of `q [b, queries, d]` over `k`, `v [b, keys, d]` in `heads` heads, scaled by the root of a head's width.
    /// `key_mask [b, keys]` (f32, 1 = attended to) switches keys off.
    ///
    /// # Errors
    /// Shapes that do not fit; `d` no multiple of `heads`.
    pub fn attention(&self, heads: usize, q: &Var, k: &Var, v: &Var, key_mask: Option<&Tensor>) -> Result<Var> {
        let inputs = [q, k, v];
        let op = Attention { heads, key_mask: key_mask.cloned(), saved_as: self.saves(inputs) };
        self.apply_with(op, inputs, |saved| saved.out.shared())
    }
}

pub(super) const CASES: &[OpCase] = &[
    OpCase {
        name: "attention",
        kernel: "attention",
        shapes: &[
            &[&[1, 1, 2], &[1, 1, 2], &[1, 1, 2]],
            &[&[2, 5, 6], &[2, 7, 6], &[2, 7, 6]],
            &[&[1, 3, 32], &[1, 11, 32], &[1, 11, 32]],
        ],
        run: |cx, v| cx.attention(2, &v[0], &v[1], &v[2], None),
    },
    OpCase {
        name: "attention masked",
        kernel: "attention",
        shapes: &[&[&[1, 5, 6], &[1, 3, 6], &[1, 3, 6]]],
        run: |cx, v| {
            let mask = Tensor::from_vec(cx.device(), vec![1.0, 0.0, 1.0], [1, 3])?;
            cx.attention(1, &v[0], &v[1], &v[2], Some(&mask))
        },
    },
];
