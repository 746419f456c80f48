//! Cross-entropy of rows of logits against class indices: `-mean_r log softmax(x_r)[class_r]`.

use flg_kernels::softmax;

use crate::ops::OpCase;
use crate::{Cx, DType, Error, GradSink, Op, Result, Tensor, Var};

/// Input `x [rows, classes]`.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    classes: Vec<usize>,
}

/// Probabilities below this count as this: the loss of a certain mistake stays finite.
const FLOOR: f32 = 1e-30;

impl Op<1> for CrossEntropy {
    const NAME: &'static str = "cross_entropy";
    /// `softmax(x)`.
    type Saved = Tensor;

    fn forward(&self, [x]: [&Tensor; 1]) -> Result<(Tensor, Tensor)> {
        let [rows, width] = x.shape().expect_rank("cross_entropy")?;
        if rows != self.classes.len() {
            return Err(Error::Elements { op: "cross_entropy", shape: x.shape(), got: self.classes.len() });
        }
        if let Some(&index) = self.classes.iter().find(|&&class| class >= width) {
            return Err(Error::Index { op: "cross_entropy", shape: x.shape(), index });
        }
        let mut p = Tensor::empty(x.device(), x.shape(), DType::F32)?;
        softmax::forward(x.device().runtime(), softmax::Forward { x: x.input()?, y: p.output()?, rows, width })?;
        // The logarithms are of a handful of classes: the host takes them, wherever the softmax ran.
        let values = p.values()?;
        let total: f64 =
            values.chunks(width.max(1)).zip(&self.classes).map(|(p, &c)| -f64::from(p[c].max(FLOOR)).ln()).sum();
        let loss = Tensor::from_vec(x.device(), vec![(total / rows.max(1) as f64) as f32], [1])?;
        Ok((loss, p))
    }

    fn backward(self, p: Tensor, dy: Tensor, dx: &mut GradSink<'_, '_, 1>) -> Result<()> {
        let [rows, width] = p.shape().expect_rank("cross_entropy")?;
        let factor = dy.item()? / rows.max(1) as f32;
        let mut values = p.values()?;
        for (row, &class) in values.chunks_mut(width.max(1)).zip(&self.classes) {
            row[class] -= 1.0;
        }
        dx.add(0, Tensor::from_vec(p.device(), values, p.shape())?.scale(factor)?)
    }

    fn saved_bytes(p: &Tensor) -> usize {
        p.bytes()
    }
}

impl<'w> Cx<'w> {
    /// The mean cross-entropy of `x [rows, classes]` against one class index a row; a tensor of one element.
    ///
    /// # Errors
    /// A class that the logits do not have, or another number of rows.
    pub fn cross_entropy(&self, x: &Var, classes: &[usize]) -> Result<Var> {
        self.apply(CrossEntropy { classes: classes.to_vec() }, [x])
    }
}

pub(super) const CASES: &[OpCase] = &[OpCase {
    name: "cross_entropy",
    kernel: "softmax",
    shapes: &[&[&[1, 2]], &[&[3, 7]]],
    run: |cx, v| {
        let rows = v[0].value().shape().rows();
        cx.cross_entropy(&v[0], &[1, 0, 1][..rows])
    },
}];
