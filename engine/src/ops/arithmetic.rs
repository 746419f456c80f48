//! Sums, products, scaling and new shapes.

use crate::ops::OpCase;
use crate::{Cx, GradSink, Op, Result, Shape, Tensor, Var};

/// `y = alpha a + beta b`, gradients `alpha dy` and `beta dy`.
#[derive(Clone, Copy, Debug)]
pub struct Combine {
    alpha: f32,
    beta: f32,
}

impl Op<2> for Combine {
    const NAME: &'static str = "combine";
    type Saved = ();
    fn forward(&self, [a, b]: [&Tensor; 2]) -> Result<(Tensor, ())> {
        Ok((a.combine(self.alpha, b, self.beta)?, ()))
    }
    fn backward(self, (): (), dy: Tensor, dx: &mut GradSink<'_, '_, 2>) -> Result<()> {
        for (i, factor) in [self.alpha, self.beta].into_iter().enumerate() {
            if dx.wants(i) {
                dx.add(i, if factor == 1.0 { dy.clone() } else { dy.scale(factor)? })?;
            }
        }
        Ok(())
    }
    fn saved_bytes((): &()) -> usize {
        0
    }
}

/// `y = a b` element by element, gradients `dy b` and `dy a`.
#[derive(Clone, Copy, Debug)]
pub struct Multiply;

impl Op<2> for Multiply {
    const NAME: &'static str = "multiply";
    type Saved = [Tensor; 2];
    fn forward(&self, [a, b]: [&Tensor; 2]) -> Result<(Tensor, Self::Saved)> {
        Ok((a.mul(b)?, [a.clone(), b.clone()]))
    }
    fn backward(self, [a, b]: Self::Saved, dy: Tensor, dx: &mut GradSink<'_, '_, 2>) -> Result<()> {
        if dx.wants(0) {
            dx.add(0, dy.mul(&b)?)?;
        }
        if dx.wants(1) {
            dx.add(1, dy.mul(&a)?)?;
        }
        Ok(())
    }
    fn saved_bytes(saved: &Self::Saved) -> usize {
        saved.iter().map(Tensor::bytes).sum()
    }
}

/// The same elements under another shape.
#[derive(Clone, Copy, Debug)]
pub struct Reshape(Shape);

impl Op<1> for Reshape {
    const NAME: &'static str = "reshape";
    type Saved = Shape;
    fn forward(&self, [x]: [&Tensor; 1]) -> Result<(Tensor, Shape)> {
        Ok((x.reshape(self.0)?, x.shape()))
    }
    fn backward(self, from: Shape, dy: Tensor, dx: &mut GradSink<'_, '_, 1>) -> Result<()> {
        dx.add(0, dy.reshape(from)?)
    }
    fn saved_bytes(_: &Shape) -> usize {
        0
    }
}

impl<'w> Cx<'w> {
    /// `alpha a + beta b`, f32.
    ///
    /// # Errors
    /// Different shapes.
    pub fn combine(&self, alpha: f32, a: &Var, beta: f32, b: &Var) -> Result<Var> {
        self.apply(Combine { alpha, beta }, [a, b])
    }

    /// `a b` element by element, f32.
    ///
    /// # Errors
    /// Different shapes.
    pub fn multiply(&self, a: &Var, b: &Var) -> Result<Var> {
        self.apply(Multiply, [a, b])
    }

    /// `x` under another shape of as many elements, without copying.
    ///
    /// # Errors
    /// Another number of elements.
    pub fn reshape(&self, x: &Var, shape: impl Into<Shape>) -> Result<Var> {
        self.apply(Reshape(shape.into()), [x])
    }
}

pub(super) const CASES: &[OpCase] = &[
    OpCase {
        name: "combine",
        kernel: "elementwise",
        shapes: &[&[&[1], &[1]], &[&[3, 7], &[3, 7]]],
        run: |cx, v| cx.combine(0.5, &v[0], -2.0, &v[1]),
    },
    OpCase {
        name: "multiply",
        kernel: "elementwise",
        shapes: &[&[&[1], &[1]], &[&[3, 7], &[3, 7]]],
        run: |cx, v| cx.multiply(&v[0], &v[1]),
    },
    OpCase { name: "reshape", kernel: "", shapes: &[&[&[6, 5]]], run: |cx, v| cx.reshape(&v[0], [3, 10]) },
];
