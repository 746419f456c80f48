//! GELU, in the tanh form and the exact (erf) form.

use flg_kernels::gelu::{self, Form};

use crate::ops::OpCase;
use crate::{Again, Cx, DType, GradSink, Kept, Op, Result, Tensor, Var};

/// `y = gelu(x)`.
#[derive(Clone, Copy, Debug)]
pub struct Gelu {
    form: Form,
}

impl Op<1> for Gelu {
    const NAME: &'static str = "gelu";
    /// The input.
    type Saved = Kept;

    fn forward(&self, [x]: [&Tensor; 1]) -> Result<(Tensor, Kept)> {
        let mut y = Tensor::empty(x.device(), x.shape(), x.dtype())?;
        gelu::forward(x.device().runtime(), gelu::Forward { x: x.input()?, y: y.output()?, form: self.form })?;
        Ok((y, Kept::Value(x.clone())))
    }

    fn backward(self, x: Kept, dy: Tensor, dx: &mut GradSink<'_, '_, 1>) -> Result<()> {
        let x = x.get()?;
        let mut gradient = Tensor::empty(dy.device(), x.shape(), DType::F32)?;
        let args = gelu::Backward { x: x.input()?, dy: dy.input()?, dx: gradient.output()?, form: self.form };
        gelu::backward(dy.device().runtime(), args)?;
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
    /// GELU of every element.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn gelu(&self, x: &Var, form: Form) -> Result<Var> {
        self.apply(Gelu { form }, [x])
    }
}

pub(super) const CASES: &[OpCase] = &[
    OpCase {
        name: "gelu tanh",
        kernel: "gelu_tanh",
        shapes: &[&[&[1]], &[&[3, 7]]],
        run: |cx, v| cx.gelu(&v[0], Form::Tanh),
    },
    OpCase {
        name: "gelu erf",
        kernel: "gelu_erf",
        shapes: &[&[&[1]], &[&[3, 7]]],
        run: |cx, v| cx.gelu(&v[0], Form::Erf),
    },
];
