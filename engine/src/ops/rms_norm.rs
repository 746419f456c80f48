//! Root-mean-square normalisation: `y = x / sqrt(mean(x^2) + eps) * weight`, and perhaps a rotation behind it.

use flg_kernels::{Out, rms_norm};

use crate::ops::OpCase;
use crate::ops::rope::{self, Rope};
use crate::{Again, Cx, DType, Error, GradSink, Kept, Op, Result, Tensor, Var};

/// Inputs `x [.., d]`, `weight [d]`.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    eps: f32,
    /// What turns the normalised rows in the same pass.
    rope: Option<Rope>,
}

/// What the backward of [`RmsNorm`] needs: the input and one number a row.
#[derive(Debug)]
pub struct Saved {
    x: Kept,
    weight: Tensor,
    rstd: Tensor,
}

impl Op<2> for RmsNorm {
    const NAME: &'static str = "rms_norm";
    type Saved = Saved;

    fn forward(&self, [x, weight]: [&Tensor; 2]) -> Result<(Tensor, Saved)> {
        let (rows, width) = (x.shape().rows(), x.shape().width());
        weight.shape().expect("rms_norm", [width])?;
        let mut y = Tensor::empty(x.device(), x.shape(), x.dtype())?;
        let mut rstd = Tensor::empty(x.device(), [rows], DType::F32)?;
        let args = rms_norm::Forward {
            x: x.input()?,
            weight: weight.input()?,
            y: y.output()?,
            rstd: rstd.output()?,
            rows,
            width,
            eps: self.eps,
            rotation: self.rope.as_ref().map(|rope| rope.rotation(x.shape())).transpose()?,
        };
        rms_norm::forward(x.device().runtime(), args)?;
        Ok((y, Saved { x: Kept::Value(x.clone()), weight: weight.clone(), rstd }))
    }

    fn backward(self, saved: Saved, dy: Tensor, dx: &mut GradSink<'_, '_, 2>) -> Result<()> {
        let Saved { x, weight, rstd } = saved;
        let x = x.get()?;
        let (rows, width) = (x.shape().rows(), x.shape().width());
        let (device, rt) = (dy.device().clone(), *dy.device().runtime());
        let rotation = self.rope.as_ref().map(|rope| rope.rotation(x.shape())).transpose()?;
        let mut gradient = Tensor::empty(&device, x.shape(), DType::F32)?;
        let mut run = |dweight_acc: Out<'_>| -> Result<()> {
            let (x, weight, rstd) = (x.input()?, weight.input()?, rstd.input()?);
            let (dy, dx) = (dy.input()?, gradient.output()?);
            let args = rms_norm::Backward { x, weight, rstd, dy, dx, dweight_acc, rows, width, rotation };
            rms_norm::backward(&rt, args).map_err(Error::from)
        };
        if dx.wants(1) {
            dx.accumulate(1, &device, [width], run)?;
        } else {
            run(Tensor::zeros(&device, [width])?.output()?)?;
        }
        dx.add(0, gradient)
    }

    fn forget(saved: &mut Saved, [x, _]: [Option<Again>; 2]) {
        saved.x.forget(x);
    }

    fn saved_bytes(saved: &Saved) -> usize {
        saved.x.bytes() + saved.rstd.bytes()
    }
}

impl<'w> Cx<'w> {
    /// RMS normalisation of the last dimension with weight `[d]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn rms_norm(&self, x: &Var, weight: &Var, eps: f32) -> Result<Var> {
        self.apply_again(RmsNorm { eps, rope: None }, [x, weight])
    }

    /// [`Cx::rms_norm`] of queries or keys `[b, tokens, d]`, then [`Cx::rope`], in one pass. In f32 it has the bits of the
    /// two; in bf16 what lies between them is not rounded.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn rms_norm_rope(&self, x: &Var, weight: &Var, eps: f32, rope: Rope) -> Result<Var> {
        self.apply_again(RmsNorm { eps, rope: Some(rope) }, [x, weight])
    }
}

pub(super) const CASES: &[OpCase] = &[
    OpCase {
        name: "rms_norm",
        kernel: "rms_norm",
        shapes: &[&[&[1, 1], &[1]], &[&[3, 5, 7], &[7]], &[&[2, 16], &[16]]],
        run: |cx, v| cx.rms_norm(&v[0], &v[1], 1e-6),
    },
    OpCase {
        name: "rms_norm_rope",
        kernel: "rms_norm_rope",
        shapes: &[&[&[1, 1, 4], &[4]], &[&[2, 3, 20], &[20]]],
        run: |cx, v| {
            let (cos, sin) = rope::tables(cx, &v[0])?;
            cx.rms_norm_rope(&v[0], &v[1], 1e-6, Rope::new(2, &cos, &sin))
        },
    },
];
