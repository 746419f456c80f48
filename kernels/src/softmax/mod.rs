//! Softmax along rows: `y[r, j] = e^(x[r, j] - m_r) / sum_k e^(x[r, k] - m_r)` with `m_r` the row's maximum.
//!
//! Backward: `dx = y * (dy - sum_k y_k dy_k)`. Minus infinity gives exactly 0; a row of nothing else gives NaN.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;

use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, central_differences, operands};
use crate::view::extent;
use crate::{DType, In, Out, Result, Runtime};

const OP: &str = "softmax";

/// `y = softmax(x)`
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[rows, width]`
    pub x: In<'a>,
    /// `[rows, width]`
    pub y: Out<'a>,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

/// `dx = y * (dy - sum_k y_k dy_k)`
#[derive(Debug)]
pub struct Backward<'a> {
    /// `[rows, width]`, the output of the forward pass
    pub y: In<'a>,
    /// `[rows, width]`
    pub dy: In<'a>,
    /// `[rows, width]`
    pub dx: Out<'a>,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

/// Runs the forward pass.
///
/// # Errors
/// Operands whose length is not what the extents ask for.
pub fn forward(rt: &Runtime, mut args: Forward<'_>) -> Result<()> {
    let n = extent(OP, &[args.rows, args.width])?;
    args.x.check(rt, OP, "x", n)?;
    args.y.check(rt, OP, "y", n)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::forward(gpu, args)?,
        Runtime::Cpu(isa) => args.y.write(|y| cpu::forward(*isa, &args.x.widen(), y, args.width)),
    }
    Ok(())
}

/// Runs the backward pass.
///
/// # Errors
/// Operands whose length is not what the extents ask for.
pub fn backward(rt: &Runtime, mut args: Backward<'_>) -> Result<()> {
    let n = extent(OP, &[args.rows, args.width])?;
    args.y.check(rt, OP, "y", n)?;
    args.dy.check(rt, OP, "dy", n)?;
    args.dx.check(rt, OP, "dx", n)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::backward(gpu, args)?,
        Runtime::Cpu(isa) => {
            let (y, dy) = (args.y.widen(), args.dy.widen());
            args.dx.write(|dx| cpu::backward(*isa, &y, &dy, dx, args.width));
        }
    }
    Ok(())
}

/// The catalog row.
#[derive(Debug)]
pub struct Row;

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "y = e^(x - max) / sum e^(x - max) along each row"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["forward", "backward"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["rows", "width"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[&[0, 3], &[3, 0], &[1, 1], &[1, 7], &[3, 8], &[5, 13], &[31, 257]]
    }
    fn limits(&self) -> &'static [usize] {
        &[9, 70]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[4096, 1024]]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n = (shape[0] * shape[1]) as u64;
        if variant == "forward" { Work { flops: 18 * n, bytes: 8 * n } } else { Work { flops: 4 * n, bytes: 12 * n } }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let (rows, width) = (shape[0], shape[1]);
        let x = operands(seed, 0, rows * width);
        let out = Stored::unwritten(rows * width, dtype);
        if variant == "forward" {
            Case::boxed(
                vec![Stored::new(x, dtype)],
                vec![("y", out)],
                move |rt, inputs, out| forward(rt, Forward { x: inputs[0].input(), y: out[0].output(), rows, width }),
                move |inputs| {
                    // The exponential's 2e-7, the rounding of `x - max` (at most 4), and the sum's.
                    let tolerance = 1e-6 + f64::from(f32::EPSILON) * (width as f64).sqrt();
                    vec![Expected::pointwise(reference::forward(&inputs[0].f64(), width), tolerance, 0.0)]
                },
            )
        } else {
            let x: Vec<f64> = x.into_iter().map(f64::from).collect();
            backward_problem(x, Stored::new(operands(seed, 1, rows * width), dtype), out, width)
        }
    }
}

fn backward_problem(x: Vec<f64>, dy: Stored, out: Stored, width: usize) -> Box<dyn Problem> {
    let rows = x.len().checked_div(width).unwrap_or(0);
    let y = reference::forward(&x, width).into_iter().map(|y| y as f32).collect();
    Case::boxed(
        vec![Stored::new(y, out.input().dtype()), dy],
        vec![("dx", out)],
        move |rt, inputs, out| {
            let (y, dy) = (inputs[0].input(), inputs[1].input());
            backward(rt, Backward { y, dy, dx: out[0].output(), rows, width })
        },
        move |inputs| {
            let (y, dy) = (inputs[0].f64(), inputs[1].f64());
            let (mut value, mut scale) = (Vec::new(), Vec::new());
            for row in (0..rows).map(|r| r * width..(r + 1) * width) {
                let (y, dy) = (&y[row.clone()], &dy[row.clone()]);
                value.extend(central_differences(&x[row], |x| dot(&reference::forward(x, width), dy)));
                let sum: f64 = y.iter().zip(dy).map(|(y, dy)| (y * dy).abs()).sum();
                scale.extend(y.iter().zip(dy).map(|(y, dy)| y * (dy.abs() + sum)));
            }
            // `y` is rounded twice over: as a factor and in the sum.
            let expected = Expected::reduction(value, scale, width);
            vec![Expected { roundings: 3, atol: 1e-10, ..expected }]
        },
    )
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn softmax(x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        let args = Forward { x: In::F32(x), y: Out::F32(&mut y), rows: 1, width: x.len() };
        forward(&Runtime::cpu(), args).unwrap();
        y
    }

    #[test]
    fn minus_infinity_gives_zero() {
        let y = softmax(&[0.0, f32::NEG_INFINITY, 0.0, -1e30]);
        assert_eq!(y, [0.5, 0.0, 0.5, 0.0]);
        assert!(softmax(&[f32::NEG_INFINITY; 9]).iter().all(|y| y.is_nan()));
    }

    #[test]
    fn large_values_do_not_overflow_and_nan_stays() {
        assert_eq!(softmax(&[3e38, 3e38]), [0.5, 0.5]);
        for i in 0..11 {
            let mut x = [1.0; 11];
            x[i] = f32::NAN;
            assert!(softmax(&x).iter().all(|y| y.is_nan()), "element {i}");
        }
    }
}
