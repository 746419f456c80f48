//! Copy between views: `y[i . y_strides] = x[i . x_strides]` for every index `i` of a shape.
//!
//! It makes a strided view contiguous, and puts a part into a larger tensor. Elements of `y` that no index leads to stay
//! as they are.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;

use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, operands};
use crate::view::extent;
use crate::{DType, Error, In, Out, Result, Runtime};

const OP: &str = "strided_copy";

/// The most dimensions of a copy.
pub const MAX_RANK: usize = 6;

/// A shape and where its elements lie in `x` and in `y`, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Extents; unused leading ones are 1.
    pub extents: [usize; MAX_RANK],
    /// Steps between neighbours in `x`.
    pub x_strides: [usize; MAX_RANK],
    /// Steps between neighbours in `y`; no two indices may lead to one element.
    pub y_strides: [usize; MAX_RANK],
}

impl Dims {
    /// From the shape and the strides of views with at most [`MAX_RANK`] dimensions.
    ///
    /// # Panics
    /// More dimensions, or lists of different lengths.
    pub fn new(extents: &[usize], x_strides: &[usize], y_strides: &[usize]) -> Self {
        let pad = |list: &[usize], fill| {
            assert!(list.len() == extents.len() && list.len() <= MAX_RANK, "{list:?} for {extents:?}");
            let mut padded = [fill; MAX_RANK];
            padded[MAX_RANK - list.len()..].copy_from_slice(list);
            padded
        };
        Dims { extents: pad(extents, 1), x_strides: pad(x_strides, 0), y_strides: pad(y_strides, 0) }
    }

    fn elements(&self) -> Result<usize> {
        extent(OP, &self.extents)
    }

    /// One more than the largest position in a view with these strides; 0 where there is no element.
    fn span(&self, strides: &[usize; MAX_RANK]) -> Result<usize> {
        if self.extents.contains(&0) {
            return Ok(0);
        }
        let mut steps = self.extents.iter().zip(strides).map(|(&extent, &stride)| (extent - 1).checked_mul(stride));
        let last = steps.try_fold(0usize, |sum, step| sum.checked_add(step?));
        last.and_then(|last| last.checked_add(1)).ok_or(Error::Overflow { op: OP })
    }
}

/// `y[i . y_strides] = x[i . x_strides]`
#[derive(Debug)]
pub struct Args<'a> {
    /// At least as many elements as the view reaches
    pub x: In<'a>,
    /// At least as many elements as the view reaches
    pub y: Out<'a>,
    /// Which elements.
    pub dims: Dims,
}

/// Runs the copy; between f32 and bf16 it rounds or widens.
///
/// # Errors
/// A view that reaches beyond its operand, indices, extents that overflow.
pub fn strided_copy(rt: &Runtime, args: Args<'_>) -> Result<()> {
    let Args { x, y, dims } = args;
    x.check(rt, OP, "x", x.len())?;
    y.check(rt, OP, "y", y.len())?;
    for (operand, strides, got) in [("x", &dims.x_strides, x.len()), ("y", &dims.y_strides, y.len())] {
        let expected = dims.span(strides)?;
        if got < expected {
            return Err(Error::Length { op: OP, operand, expected, got });
        }
    }
    let elements = dims.elements()?;
    match rt {
        Runtime::Cpu(_) if elements > 0 => cpu::strided_copy(x, y, &dims),
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) if elements > 0 => cuda::strided_copy(gpu, x, y, &dims, elements)?,
        _ => {}
    }
    Ok(())
}

/// The catalog row.
#[derive(Debug)]
pub struct Row;

impl Row {
    /// Row-major strides of `extents`.
    fn strides(extents: [usize; 4]) -> [usize; 4] {
        let [_, b, c, d] = extents;
        [b * c * d, c * d, d, 1]
    }
}

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "y[i . y_strides] = x[i . x_strides]"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["contiguous", "transposed", "part"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["a", "b", "c", "d"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[
            &[0, 2, 3, 4],
            &[2, 0, 3, 4],
            &[2, 3, 0, 4],
            &[2, 3, 4, 0],
            &[1, 1, 1, 1],
            &[2, 3, 5, 7],
            &[1, 1, 64, 48],
            &[3, 2, 33, 129],
        ]
    }
    fn limits(&self) -> &'static [usize] {
        &[3, 5, 9, 20]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[1, 8, 1024, 384]]
    }
    fn work(&self, _: &str, shape: &[usize]) -> Work {
        let n = shape.iter().product::<usize>() as u64;
        Work { flops: 0, bytes: 8 * n }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let extents = [shape[0], shape[1], shape[2], shape[3]];
        let (a, b, c, d) = (shape[0], shape[1], shape[2], shape[3]);
        let (dims, x_len, y_len) = match variant {
            // Dimensions b and c exchanged on the way.
            "transposed" => {
                let y_strides = Row::strides([a, c, b, d]);
                let swapped = [y_strides[0], y_strides[2], y_strides[1], y_strides[3]];
                (Dims::new(&extents, &Row::strides(extents), &swapped), a * b * c * d, a * b * c * d)
            }
            // Into the rows of a wider tensor, from every second element.
            "part" => {
                let x_strides = Row::strides(extents).map(|stride| 2 * stride);
                let dims = Dims::new(&extents, &x_strides, &Row::strides([a, b, c, d + 3]));
                (dims, 2 * a * b * c * d, a * b * c * (d + 3))
            }
            _ => (Dims::new(&extents, &Row::strides(extents), &Row::strides(extents)), a * b * c * d, a * b * c * d),
        };
        let y = Stored::unwritten(y_len, dtype);
        let before = y.f64();
        Case::boxed(
            vec![Stored::new(operands(seed, 0, x_len), dtype)],
            vec![("y", y)],
            move |rt, inputs, out| strided_copy(rt, Args { x: inputs[0].input(), y: out[0].output(), dims }),
            move |inputs| vec![Expected::exact(reference::strided_copy(&inputs[0].f64(), &before, &dims))],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_that_reach_beyond_their_operands_are_refused() {
        let (x, mut y) = ([1.0; 6], [0.0; 6]);
        let mut run = |dims| strided_copy(&Runtime::cpu(), Args { x: In::F32(&x), y: Out::F32(&mut y), dims });
        assert_eq!(run(Dims::new(&[2, 3], &[3, 1], &[1, 2])), Ok(()));
        let beyond = run(Dims::new(&[2, 3], &[4, 1], &[3, 1]));
        assert_eq!(beyond, Err(Error::Length { op: OP, operand: "x", expected: 7, got: 6 }));
        assert!(matches!(run(Dims::new(&[2, 3], &[3, 1], &[3, 2])), Err(Error::Length { operand: "y", .. })));
        let overflow = run(Dims::new(&[3, 3], &[usize::MAX / 2, 1], &[3, 1]));
        assert_eq!(overflow, Err(Error::Overflow { op: OP }));
    }
}
