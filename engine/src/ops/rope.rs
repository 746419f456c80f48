//! Rotary position embedding: adjacent pairs of a head turned by an angle that depends on the token.

use flg_kernels::rms_norm;
use flg_kernels::rope::{self, Dims, Direction};

use crate::ops::OpCase;
use crate::{Cx, DType, Error, GradSink, Op, Result, Shape, Tensor, Var};

/// Input `x [b, tokens, d]`. Tables `cos`, `sin [tokens, width / 2]`, the same for every head.
#[derive(Clone, Debug)]
pub struct Rope {
    heads: usize,
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    /// Adjacent pairs of each of `heads` heads, turned by the tables `cos`, `sin [tokens, width / 2]`.
    pub fn new(heads: usize, cos: &Tensor, sin: &Tensor) -> Self {
        Rope { heads, cos: cos.clone(), sin: sin.clone() }
    }

    fn dims(&self, shape: Shape) -> Result<Dims> {
        let [batch, tokens, d] = shape.expect_rank("rope")?;
        let width = d / self.heads.max(1);
        shape.expect("rope", [batch, tokens, width * self.heads])?;
        for table in [&self.cos, &self.sin] {
            table.shape().expect("rope", [tokens, width / 2])?;
        }
        Ok(Dims { batch, tokens, heads: self.heads, width })
    }

    /// What the norm in front turns its rows of this shape by.
    pub(super) fn rotation(&self, shape: Shape) -> Result<rms_norm::Rotation<'_>> {
        Ok(rms_norm::Rotation { cos: self.cos.input()?, sin: self.sin.input()?, dims: self.dims(shape)? })
    }

    fn turn(&self, x: &Tensor, dtype: DType, direction: Direction) -> Result<Tensor> {
        let dims = self.dims(x.shape())?;
        let mut y = Tensor::empty(x.device(), x.shape(), dtype)?;
        let args = rope::Args {
            x: x.input()?,
            cos: self.cos.input()?,
            sin: self.sin.input()?,
            y: y.output()?,
            dims,
            direction,
        };
        rope::rope(x.device().runtime(), args).map_err(Error::from)?;
        Ok(y)
    }
}

impl Op<1> for Rope {
    const NAME: &'static str = "rope";
    /// A rotation is undone by the opposite rotation: nothing to keep.
    type Saved = ();

    fn forward(&self, [x]: [&Tensor; 1]) -> Result<(Tensor, ())> {
        Ok((self.turn(x, x.dtype(), Direction::Forward)?, ()))
    }

    fn backward(self, (): (), dy: Tensor, dx: &mut GradSink<'_, '_, 1>) -> Result<()> {
        dx.add(0, self.turn(&dy, DType::F32, Direction::Inverse)?)
    }

    fn saved_bytes((): &()) -> usize {
        0
    }
}

impl<'w> Cx<'w> {
    /// Turns the adjacent pairs of each of `heads` heads of `x [b, tokens, d]` by the tables `cos`, `sin
    /// [tokens, width / 2]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn rope(&self, heads: usize, x: &Var, cos: &Tensor, sin: &Tensor) -> Result<Var> {
        self.apply_again(Rope::new(heads, cos, sin), [x])
    }
}

pub(super) const CASES: &[OpCase] = &[OpCase {
    name: "rope",
    kernel: "rope",
    shapes: &[&[&[1, 1, 4]], &[&[2, 3, 20]]],
    run: |cx, v| {
        let (cos, sin) = tables(cx, &v[0])?;
        cx.rope(2, &v[0], &cos, &sin)
    },
}];

/// Tables for two heads of `x [b, tokens, d]`, for cases.
pub(super) fn tables(cx: &Cx<'_>, x: &Var) -> Result<(Tensor, Tensor)> {
    let [_, tokens, d] = x.value().shape().expect_rank("rope")?;
    let table = |f: fn(f32) -> f32| {
        let angles = (0..tokens * d / 4).map(|i| f(i as f32 * 0.7)).collect();
        Tensor::from_vec(cx.device(), angles, [tokens, d / 4])
    };
    Ok((table(f32::cos)?, table(f32::sin)?))
}
