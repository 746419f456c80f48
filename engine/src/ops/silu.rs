//! SiLU: `y = x * sigmoid(x)`.

use flg_kernels::silu;

use crate::ops::OpCase;
use crate::{Again, Cx, DType, GradSink, Kept, Op, Result, Tensor, Var};

/// `y = x * sigmoid(x)`.
#[derive(Clone, Copy, Debug)]
pub struct Silu;

impl Op<1> for Silu {
    const NAME: &'static str = "silu";
    /// The input.
    type Saved = Kept;

    fn forward(&self, [x]: [&Tensor; 1]) -> Result<(Tensor, Kept)> {
        let mut y = Tensor::empty(x.device(), x.shape(), x.dtype())?;
        silu::forward(x.device().runtime(), silu::Forward { x: x.input()?, y: y.output()? })?;
        Ok((y, Kept::Value(x.clone())))
    }

    fn backward(self, x: Kept, dy: Tensor, dx: &mut GradSink<'_, '_, 1>) -> Result<()> {
        let x = x.get()?;
        let mut gradient = Tensor::empty(dy.device(), x.shape(), DType::F32)?;
        let args = silu::Backward { x: x.input()?, dy: dy.input()?, dx: gradient.output()? };
        silu::backward(dy.device().runtime(), args)?;
        dx.add(0, gradient)
    }

    fn forget(kept: &mut Kept, [x]: [Option<Again>; 1]) {
        kept.forget(x);
    }

    fn saved_bytes(x: &Kept) -> usize {
        x.bytes()
    }
}

impl<'w> Cx<'w> {
    /// `x * sigmoid(x)` of every element.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn silu(&self, x: &Var) -> Result<Var> {
        self.apply(Silu, [x])
    }
}

pub(super) const CASES: &[OpCase] =
    &[OpCase { name: "silu", kernel: "silu", shapes: &[&[&[1]], &[&[3, 7]]], run: |cx, v| cx.silu(&v[0]) }];
