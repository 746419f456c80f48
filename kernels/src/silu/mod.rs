//! SiLU: `y = x * sigmoid(x)`.
//!
//! Backward: `dx = dy * s * (1 + x * (1 - s))` with `s = sigmoid(x)`, recomputed from `x` (nothing else is saved).

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;

use crate::catalog::{Expected, Kernel, Problem, Stored, Work, operands};
use crate::{DType, In, Out, Result, Runtime};

const OP: &str = "silu";

/// `y = x * sigmoid(x)`
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[n]`
    pub x: In<'a>,
    /// `[n]`
    pub y: Out<'a>,
}

/// `dx = dy * s * (1 + x * (1 - s))`
#[derive(Debug)]
pub struct Backward<'a> {
    /// `[n]`, the input of the forward pass
    pub x: In<'a>,
    /// `[n]`
    pub dy: In<'a>,
    /// `[n]`
    pub dx: Out<'a>,
}

/// Runs the forward pass.
///
/// # Errors
/// Operands of different lengths.
pub fn forward(rt: &Runtime, mut args: Forward<'_>) -> Result<()> {
    let n = args.y.len();
    args.x.check(rt, OP, "x", n)?;
    args.y.check(rt, OP, "y", n)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => args.y.write(|y| cpu::forward(*isa, &args.x.widen(), y)),
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::forward(gpu, args)?,
    }
    Ok(())
}

/// Runs the backward pass.
///
/// # Errors
/// Operands of different lengths.
pub fn backward(rt: &Runtime, mut args: Backward<'_>) -> Result<()> {
    let n = args.dx.len();
    args.x.check(rt, OP, "x", n)?;
    args.dy.check(rt, OP, "dy", n)?;
    args.dx.check(rt, OP, "dx", n)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => args.dx.write(|dx| cpu::backward(*isa, &args.x.widen(), &args.dy.widen(), dx)),
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::backward(gpu, args)?,
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
        "y = x * sigmoid(x)"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["forward", "backward"]
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
        if variant == "forward" { Work { flops: 10 * n, bytes: 8 * n } } else { Work { flops: 14 * n, bytes: 12 * n } }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let n = shape[0] * shape[1];
        let x = Stored::new(operands(seed, 0, n), dtype);
        let dy = Stored::new(operands(seed, 1, n), dtype);
        Box::new(Silu { forward: variant == "forward", x, dy, out: Stored::unwritten(n, dtype) })
    }
}

struct Silu {
    forward: bool,
    x: Stored,
    dy: Stored,
    out: Stored,
}

impl Problem for Silu {
    fn run(&mut self, rt: &Runtime) -> Result<()> {
        let (x, dy) = (self.x.input(), self.dy.input());
        if self.forward {
            forward(rt, Forward { x, y: self.out.output() })
        } else {
            backward(rt, Backward { x, dy, dx: self.out.output() })
        }
    }
    fn operands(&mut self) -> Vec<&mut Stored> {
        vec![&mut self.x, &mut self.dy, &mut self.out]
    }
    fn outputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        vec![(if self.forward { "y" } else { "dx" }, self.out.f32())]
    }
    fn expected(&self) -> Vec<Expected> {
        let x = self.x.f64();
        if self.forward {
            return vec![Expected::pointwise(reference::forward(&x), 1e-6, 1e-7)];
        }
        // Pointwise, so the derivative of each element by its own central difference.
        let dx = x.iter().zip(self.dy.f64()).map(|(&x, dy)| {
            const H: f64 = 1e-5;
            dy * (reference::forward(&[x + H])[0] - reference::forward(&[x - H])[0]) / (2.0 * H)
        });
        vec![Expected::pointwise(dx.collect(), 1e-6, 1e-6)]
    }
}
