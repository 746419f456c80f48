//! Conversion between f32 and bf16: `y = x`, rounded to nearest even where `y` is narrower.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;

use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, operands};
use crate::{DType, In, Out, Result, Runtime};

const OP: &str = "cast";

/// `y = x`
#[derive(Debug)]
pub struct Args<'a> {
    /// `[n]`
    pub x: In<'a>,
    /// `[n]`
    pub y: Out<'a>,
}

/// Copies `x` to `y`, converting.
///
/// # Errors
/// Operands of different lengths, indices.
pub fn cast(rt: &Runtime, args: Args<'_>) -> Result<()> {
    let n = args.y.len();
    args.x.check(rt, OP, "x", n)?;
    args.y.check(rt, OP, "y", n)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(_) => cpu::cast(args.x, args.y),
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::cast(gpu, args)?,
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
        "y = x, rounded to nearest even where y is narrower"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["to_f32", "to_bf16"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["rows", "width"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[&[0, 3], &[3, 0], &[1, 1], &[1, 7], &[3, 8], &[5, 13], &[300, 257]]
    }
    fn limits(&self) -> &'static [usize] {
        &[9, 70]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[4096, 1536]]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n = (shape[0] * shape[1]) as u64;
        Work { flops: 0, bytes: if variant == "to_f32" { 8 * n } else { 6 * n } }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let n = shape[0] * shape[1];
        let to = if variant == "to_f32" { DType::F32 } else { DType::Bf16 };
        Case::boxed(
            vec![Stored::new(operands(seed, 0, n), dtype)],
            vec![("y", Stored::unwritten(n, to))],
            |rt, inputs, out| cast(rt, Args { x: inputs[0].input(), y: out[0].output() }),
            move |inputs| {
                let x = inputs[0].f64();
                vec![Expected::exact(if to == DType::Bf16 { reference::round_to_bf16(&x) } else { x })]
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16;

    #[test]
    fn ties_go_to_even_and_specials_survive() {
        let ulp = 2f32.powi(-7);
        let x = [1.0 + 0.5 * ulp, 1.0 + 1.5 * ulp, f32::INFINITY, -0.0, f32::NAN, f32::from_bits(0x7f80_0001)];
        let mut y = [bf16::ZERO; 6];
        cast(&Runtime::cpu(), Args { x: In::F32(&x), y: Out::Bf16(&mut y) }).unwrap();
        let got = y.map(f32::from);
        assert_eq!(got[..3], [1.0, 1.0 + 2.0 * ulp, f32::INFINITY]);
        assert!(got[3].is_sign_negative() && got[4].is_nan() && got[5].is_nan());
    }

    #[test]
    fn indices_are_refused() {
        let mut y = [0.0];
        assert!(cast(&Runtime::cpu(), Args { x: In::I32(&[1]), y: Out::F32(&mut y) }).is_err());
    }
}
