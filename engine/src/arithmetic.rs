//! Arithmetic on plain tensors, for optimisers, samplers and gradients made by hand. Results are f32.

use flg_kernels::gemm::{self, Batch, Dims, Epilogue, Layout, Write};
use flg_kernels::{elementwise, lerp, reduce};

use crate::{DType, Error, Result, Shape, Tensor};

impl Tensor {
    /// `alpha * self + beta * other`
    ///
    /// # Errors
    /// Different shapes.
    pub fn combine(&self, alpha: f32, other: &Tensor, beta: f32) -> Result<Tensor> {
        other.shape().expect("combine", self.shape())?;
        self.linear(alpha, Some(other), beta)
    }

    /// `alpha * self`
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn scale(&self, alpha: f32) -> Result<Tensor> {
        self.linear(alpha, None, 0.0)
    }

    fn linear(&self, alpha: f32, other: Option<&Tensor>, beta: f32) -> Result<Tensor> {
        let mut out = Tensor::empty(self.device(), self.shape(), DType::F32)?;
        let y = other.map(Tensor::input).transpose()?;
        let args = elementwise::Combine { x: self.input()?, y, alpha, beta, out: out.output()? };
        elementwise::combine(self.device().runtime(), args)?;
        Ok(out)
    }

    /// The product of two matrices, `self` or `other` transposed as `layout` says: `[m, k] x [k, n]` for NN,
    /// `[m, k] x [n, k]` for NT, `[k, m] x [k, n]` for TN.
    ///
    /// # Errors
    /// Tensors that are no matrices, or whose inner extents differ.
    pub fn matmul(&self, other: &Tensor, layout: Layout) -> Result<Tensor> {
        let ([r, c], [other_r, other_c]) = (self.shape().expect_rank("matmul")?, other.shape().expect_rank("matmul")?);
        let (m, k) = if layout == Layout::TN { (c, r) } else { (r, c) };
        let (inner, n) = if layout == Layout::NT { (other_c, other_r) } else { (other_r, other_c) };
        if inner != k {
            return Err(Error::Shape { op: "matmul", expected: self.shape(), got: other.shape() });
        }
        let mut y = Tensor::empty(self.device(), [m, n], DType::F32)?;
        let args = gemm::Args {
            a: self.input()?,
            b: other.input()?,
            c: y.output()?,
            layout,
            dims: Dims { m, n, k },
            batch: Batch::one(),
            write: Write::Overwrite,
            epilogue: Epilogue::default(),
        };
        gemm::gemm(self.device().runtime(), args)?;
        Ok(y)
    }

    /// `self + other`
    ///
    /// # Errors
    /// Different shapes.
    pub fn add(&self, other: &Tensor) -> Result<Tensor> {
        self.combine(1.0, other, 1.0)
    }

    /// `self - other`
    ///
    /// # Errors
    /// Different shapes.
    pub fn sub(&self, other: &Tensor) -> Result<Tensor> {
        self.combine(1.0, other, -1.0)
    }

    /// `self * other`, element by element.
    ///
    /// # Errors
    /// Different shapes.
    pub fn mul(&self, other: &Tensor) -> Result<Tensor> {
        other.shape().expect("mul", self.shape())?;
        let mut out = Tensor::empty(self.device(), self.shape(), DType::F32)?;
        let args = elementwise::Multiply { a: self.input()?, b: other.input()?, out: out.output()? };
        elementwise::multiply(self.device().runtime(), args)?;
        Ok(out)
    }

    /// `self += alpha * other`, in place. `self` is f32.
    ///
    /// # Errors
    /// Different shapes, or `self` not f32.
    pub fn accumulate(&mut self, alpha: f32, other: &Tensor) -> Result<()> {
        other.shape().expect("accumulate", self.shape())?;
        let rt = *self.device().runtime();
        elementwise::accumulate(&rt, elementwise::Accumulate { x: other.input()?, alpha, y_acc: self.output()? })?;
        Ok(())
    }

    /// `self = decay * self + (1 - decay) * other`, in place: a moving average.
    ///
    /// # Errors
    /// Different shapes, or `self` not f32.
    pub fn average_with(&mut self, other: &Tensor, decay: f32) -> Result<()> {
        other.shape().expect("average_with", self.shape())?;
        let rt = *self.device().runtime();
        lerp::lerp(&rt, lerp::Args { average: self.output()?, x: other.input()?, decay })?;
        Ok(())
    }

    /// Row `r` times `factors[r]`, plus `add` where given. A row is what one factor covers: elements / `factors.len()`.
    ///
    /// # Errors
    /// A number of factors that does not divide the elements, or an addend of another shape.
    pub fn scale_rows(&self, factors: &[f32], add: Option<&Tensor>) -> Result<Tensor> {
        let rows = factors.len();
        let width = self.elements().checked_div(rows).unwrap_or(0);
        self.shape()
            .expect("scale_rows", if rows * width == self.elements() { self.shape() } else { [rows].into() })?;
        if let Some(add) = add {
            add.shape().expect("scale_rows", self.shape())?;
        }
        let mut out = Tensor::empty(self.device(), self.shape(), DType::F32)?;
        let factors = Tensor::from_vec(self.device(), factors.to_vec(), [rows])?;
        let args = elementwise::ScaleRows {
            x: self.input()?,
            factors: factors.input()?,
            y: add.map(Tensor::input).transpose()?,
            out: out.output()?,
            rows,
            width,
        };
        elementwise::scale_rows(self.device().runtime(), args)?;
        Ok(out)
    }

    /// A total over all elements: of `self`, its squares, products or differences with `other`. Order fixed by the shape.
    ///
    /// # Errors
    /// Different shapes, or a term of two operands without `other`.
    pub fn total(&self, term: reduce::Term, other: Option<&Tensor>) -> Result<f32> {
        let mut out = Tensor::empty(self.device(), [1], DType::F32)?;
        let y = other.map(Tensor::input).transpose()?;
        reduce::total(self.device().runtime(), reduce::Total { x: self.input()?, y, out: out.output()?, term })?;
        out.item()
    }

    /// The same for each of `rows` equal pieces.
    ///
    /// # Errors
    /// As [`Tensor::total`], and a number of rows that does not divide the elements.
    pub fn row_totals(&self, term: reduce::Term, other: Option<&Tensor>, rows: usize) -> Result<Vec<f32>> {
        let mut out = Tensor::empty(self.device(), [rows], DType::F32)?;
        let width = self.elements().checked_div(rows).unwrap_or(0);
        let y = other.map(Tensor::input).transpose()?;
        let args = reduce::RowTotal { x: self.input()?, y, out: out.output()?, term, rows, width };
        reduce::row_total(self.device().runtime(), args)?;
        out.values()
    }

    /// Whether every element is finite.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn is_finite(&self) -> Result<bool> {
        // A NaN or an infinity anywhere makes the sum of squares one.
        Ok(self.total(reduce::Term::Square, None)?.is_finite())
    }
}

/// Tensors one after the other along dimension 0, f32, in storage of their own.
///
/// # Errors
/// No tensor at all, shapes that differ behind dimension 0, or index tensors.
pub fn concat(parts: &[&Tensor]) -> Result<Tensor> {
    let first = parts.first().ok_or(Error::Rank { got: 0 })?;
    let inner = first.dims().get(1..).unwrap_or_default();
    let mut rows = 0;
    for part in parts {
        let mut expected = part.dims().get(..1).unwrap_or_default().to_vec();
        expected.extend_from_slice(inner);
        part.shape().expect("concat", Shape::new(&expected)?)?;
        rows += part.dims().first().copied().unwrap_or(0);
    }
    let mut dims = vec![rows];
    dims.extend_from_slice(inner);
    let mut all = Tensor::empty(first.device(), Shape::new(&dims)?, DType::F32)?;
    let mut start = 0;
    for part in parts {
        all.overwrite(0, start, part)?;
        start += part.dims().first().copied().unwrap_or(0);
    }
    Ok(all)
}
