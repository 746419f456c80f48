//! Picks rows: `y[b, i, :] = x[b, index[i], :]`, zeros where the index is -1. With a linear layer behind it, a convolution.

use flg_kernels::gather;

use crate::ops::OpCase;
use crate::{Cx, DType, Error, GradSink, Op, Result, Shape, Tensor, Var};

/// Input `x [b, rows, d]`; `index [picks]` of type i32, the same for every batch item.
#[derive(Clone, Debug)]
pub struct Gather {
    index: Tensor,
}

impl Op<1> for Gather {
    const NAME: &'static str = "gather";
    /// The input's shape.
    type Saved = Shape;

    fn forward(&self, [x]: [&Tensor; 1]) -> Result<(Tensor, Shape)> {
        let [batch, rows, width] = x.shape().expect_rank("gather")?;
        let picks = self.index.elements();
        let mut y = Tensor::empty(x.device(), [batch, picks, width], x.dtype())?;
        let (x_in, index) = (x.input()?, self.index.input()?);
        gather::forward(
            x.device().runtime(),
            gather::Forward { x: x_in, index, y: y.output()?, batch, rows, picks, width },
        )?;
        Ok((y, x.shape()))
    }

    fn backward(self, shape: Shape, dy: Tensor, dx: &mut GradSink<'_, '_, 1>) -> Result<()> {
        let [batch, rows, width] = shape.expect_rank("gather")?;
        let picks = self.index.elements();
        let (device, rt) = (dy.device().clone(), *dy.device().runtime());
        dx.accumulate(0, &device, shape, |dx_acc| {
            let (dy, index) = (dy.input()?, self.index.input()?);
            gather::backward(&rt, gather::Backward { dy, index, dx_acc, batch, rows, picks, width })
                .map_err(Error::from)
        })
    }

    fn saved_bytes(_: &Shape) -> usize {
        0
    }
}

impl<'w> Cx<'w> {
    /// Rows `index [picks]` (i32; -1 gives zeros) of `x [b, rows, d]`.
    ///
    /// # Errors
    /// An index outside the rows; shapes that do not fit.
    pub fn gather(&self, x: &Var, index: &Tensor) -> Result<Var> {
        if index.dtype() != DType::I32 {
            return Err(Error::DType { op: "gather", expected: DType::I32, got: index.dtype() });
        }
        self.apply(Gather { index: index.clone() }, [x])
    }
}

pub(super) const CASES: &[OpCase] = &[OpCase {
    name: "gather",
    kernel: "gather",
    shapes: &[&[&[2, 5, 3]]],
    run: |cx, v| cx.gather(&v[0], &Tensor::from_indices(cx.device(), vec![4, -1, 0, 4, 2, 2, 1], [7])?),
}];
