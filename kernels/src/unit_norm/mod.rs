//! Rows brought to one length, with an optional SiLU: the normalisation of Wan's autoencoder.
//!
//! ```text
//! u = sqrt(width) * x / max(|x|, 1e-12) * weight          |x| = sqrt(sum x^2)
//! y = u, or u * sigmoid(u)
//! ```
//!
//! In exact arithmetic that is root-mean-square normalisation without an epsilon; a row of zeros stays zero. Forward only:
//! the autoencoder is not trained.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;

use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, operands};
use crate::view::extent;
use crate::{DType, In, Out, Result, Runtime};

const OP: &str = "unit_norm";

/// The least length that a row is divided by.
const FLOOR: f32 = 1e-12;

/// What follows the norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `u * sigmoid(u)`
    Silu,
}

/// `y = activation(sqrt(width) * x / max(|x|, 1e-12) * weight)`
#[derive(Debug)]
pub struct Args<'a> {
    /// `[rows, width]`
    pub x: In<'a>,
    /// `[width]`
    pub weight: In<'a>,
    /// `[rows, width]`
    pub y: Out<'a>,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// What follows.
    pub activation: Activation,
}

/// Runs it.
///
/// # Errors
/// Operands whose length is not that of their extents.
pub fn unit_norm(rt: &Runtime, mut args: Args<'_>) -> Result<()> {
    let n = extent(OP, &[args.rows, args.width])?;
    args.x.check(rt, OP, "x", n)?;
    args.weight.check(rt, OP, "weight", args.width)?;
    args.y.check(rt, OP, "y", n)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::unit_norm(gpu, args)?,
        Runtime::Cpu(isa) => {
            let (x, weight, activation) = (args.x.widen(), args.weight.widen(), args.activation);
            args.y.write(|y| cpu::run(*isa, cpu::Inputs { x: &x, weight: &weight, activation }, y));
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
        "y = activation(sqrt(width) * x / max(|x|, 1e-12) * weight)"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["plain", "silu"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["rows", "width"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[&[0, 3], &[4, 0], &[1, 1], &[6, 7], &[7, 64], &[14, 131], &[393, 67]]
    }
    fn limits(&self) -> &'static [usize] {
        &[12, 70]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[24960, 96], &[6240, 384]]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n = (shape[0] * shape[1]) as u64;
        Work { flops: if variant == "plain" { 4 * n } else { 14 * n }, bytes: 8 * n }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let (rows, width) = (shape[0], shape[1]);
        let activation = if variant == "silu" { Activation::Silu } else { Activation::None };
        let inputs = [(0, rows * width), (1, width)].map(|(i, len)| Stored::new(operands(seed, i, len), dtype));
        Case::boxed(
            inputs.into(),
            vec![("y", Stored::unwritten(rows * width, dtype))],
            move |rt, inputs, out| {
                let (x, weight) = (inputs[0].input(), inputs[1].input());
                unit_norm(rt, Args { x, weight, y: out[0].output(), rows, width, activation })
            },
            move |inputs| vec![expected(inputs, rows, width, activation)],
        )
    }
}

/// No term of the sum cancels, so `u` is known relative to itself; SiLU's slope is below 1.1, and its own error is a few
/// roundings of a result no larger than `|u|`.
fn expected(inputs: &[Stored], rows: usize, width: usize, activation: Activation) -> Expected {
    let (x, weight) = (inputs[0].f64(), inputs[1].f64());
    let u: Vec<f64> = (0..rows).flat_map(|r| reference::norm(&x[r * width..][..width], &weight)).collect();
    let scale = u.iter().map(|u| 1.1 * u.abs()).collect();
    let value = match activation {
        Activation::None => u,
        Activation::Silu => u.into_iter().map(reference::silu).collect(),
    };
    let mut expected = Expected::reduction(value, scale, width);
    expected.tolerance += 4.0 * f64::from(f32::EPSILON);
    expected.atol = 1e-7;
    expected
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `|x|` is no smaller than the floor and where it is.
    #[test]
    fn short_rows_are_divided_by_the_floor() {
        let x = [3e-12, 4e-12, 3e-13, 4e-13, 0.0, 0.0];
        let mut devices = vec![Runtime::cpu(), Runtime::portable()];
        devices.extend(crate::runtime::gpu_of_tests());
        for rt in devices {
            let [x, weight] = [&x[..], &[1.0, 2.0]].map(|x| Stored::F32(x.to_vec()).on(&rt).unwrap());
            let mut y = Stored::unwritten(6, DType::F32).on(&rt).unwrap();
            let args = Args {
                x: x.input(),
                weight: weight.input(),
                y: y.output(),
                rows: 3,
                width: 2,
                activation: Activation::None,
            };
            unit_norm(&rt, args).unwrap();
            let root = 2f32.sqrt();
            let want = [0.6 * root, 1.6 * root, 0.3 * root, 0.8 * root, 0.0, 0.0];
            assert!(y.f32().iter().zip(want).all(|(y, want)| (y - want).abs() < 1e-6), "{rt:?}: {:?}", y.f32());
        }
    }
}
