//! Weighted mean squared error: `scale * sum_r w_r sum_j (a - b)^2`.

use flg_kernels::mse;

use crate::ops::OpCase;
use crate::{Cx, DType, Error, GradSink, Op, Result, Tensor, Var};

/// Input `a`; the target and the weights are constants. A row is what one weight covers.
#[derive(Clone, Debug)]
pub struct Mse {
    target: Tensor,
    weights: Option<Tensor>,
    scale: f32,
}

impl Mse {
    fn rows(&self, a: &Tensor) -> Result<(usize, usize)> {
        self.target.shape().expect("mse", a.shape())?;
        let rows = self.weights.as_ref().map_or(1, Tensor::elements);
        let width = a.elements().checked_div(rows).unwrap_or(0);
        if rows * width != a.elements() {
            return Err(Error::Elements { op: "mse", shape: a.shape(), got: rows });
        }
        Ok((rows, width))
    }
}

impl Op<1> for Mse {
    const NAME: &'static str = "mse";
    /// The input.
    type Saved = Tensor;

    fn forward(&self, [a]: [&Tensor; 1]) -> Result<(Tensor, Tensor)> {
        let (rows, width) = self.rows(a)?;
        let mut loss = Tensor::empty(a.device(), [1], DType::F32)?;
        let args = mse::Forward {
            a: a.input()?,
            b: self.target.input()?,
            weights: self.weights.as_ref().map(Tensor::input).transpose()?,
            loss: loss.output()?,
            rows,
            width,
            scale: self.scale,
        };
        mse::forward(a.device().runtime(), args)?;
        Ok((loss, a.clone()))
    }

    fn backward(self, a: Tensor, dy: Tensor, dx: &mut GradSink<'_, '_, 1>) -> Result<()> {
        let (rows, width) = self.rows(&a)?;
        let mut da = Tensor::empty(a.device(), a.shape(), DType::F32)?;
        let args = mse::Backward {
            a: a.input()?,
            b: self.target.input()?,
            weights: self.weights.as_ref().map(Tensor::input).transpose()?,
            dloss: dy.input()?,
            da: da.output()?,
            rows,
            width,
            scale: self.scale,
        };
        mse::backward(a.device().runtime(), args)?;
        dx.add(0, da)
    }

    fn saved_bytes(a: &Tensor) -> usize {
        a.bytes()
    }
}

impl<'w> Cx<'w> {
    /// `scale * sum (a - target)^2`, each of `weights.len()` equal rows weighted; a tensor of one element.
    ///
    /// # Errors
    /// Different shapes; weights that do not divide the elements.
    pub fn squared_error(&self, a: &Var, target: &Tensor, weights: Option<&Tensor>, scale: f32) -> Result<Var> {
        self.apply(Mse { target: target.clone(), weights: weights.cloned(), scale }, [a])
    }

    /// The mean of `(a - target)^2`; 0 for empty tensors.
    ///
    /// # Errors
    /// Different shapes.
    pub fn mse(&self, a: &Var, target: &Tensor) -> Result<Var> {
        self.squared_error(a, target, None, 1.0 / a.value().elements().max(1) as f32)
    }
}

fn target(cx: &Cx<'_>, a: &Var) -> Result<Tensor> {
    let values = (0..a.value().elements()).map(|i| (i as f32 * 0.37).sin()).collect();
    Tensor::from_vec(cx.device(), values, a.value().shape())
}

pub(super) const CASES: &[OpCase] = &[
    OpCase {
        name: "mse",
        kernel: "mse",
        shapes: &[&[&[1]], &[&[3, 7]]],
        run: |cx, v| cx.mse(&v[0], &target(cx, &v[0])?),
    },
    OpCase {
        name: "mse weighted",
        kernel: "mse",
        shapes: &[&[&[3, 7]]],
        run: |cx, v| {
            let weights = Tensor::from_vec(cx.device(), vec![1.0, 0.0, 0.25], [3])?;
            cx.squared_error(&v[0], &target(cx, &v[0])?, Some(&weights), 0.2)
        },
    },
];
