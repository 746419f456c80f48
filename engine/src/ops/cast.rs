//! The same values in another element type. The gradient passes through unchanged: gradients are f32 in either.

use crate::ops::OpCase;
use crate::{Cx, DType, GradSink, Op, Result, Tensor, Var};

/// `y = x`, rounded where the new type is narrower.
#[derive(Clone, Copy, Debug)]
pub struct Cast(DType);

impl Op<1> for Cast {
    const NAME: &'static str = "cast";
    type Saved = ();

    fn forward(&self, [x]: [&Tensor; 1]) -> Result<(Tensor, ())> {
        Ok((x.cast(self.0)?, ()))
    }

    fn backward(self, (): (), dy: Tensor, dx: &mut GradSink<'_, '_, 1>) -> Result<()> {
        dx.add(0, dy)
    }

    fn saved_bytes((): &()) -> usize {
        0
    }
}

impl<'w> Cx<'w> {
    /// `x` in another element type; `x` itself where it has that type.
    ///
    /// # Errors
    /// Index tensors.
    pub fn cast(&self, x: &Var, dtype: DType) -> Result<Var> {
        if x.value().dtype() == dtype { Ok(x.clone()) } else { self.apply(Cast(dtype), [x]) }
    }
}

pub(super) const CASES: &[OpCase] =
    &[OpCase { name: "cast", kernel: "", shapes: &[&[&[3, 7]]], run: |cx, v| cx.apply(Cast(DType::F32), [&v[0]]) }];
