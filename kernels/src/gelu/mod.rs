//! GELU, exact or by its tanh approximation (Hendrycks and Gimpel, 2016).
//!
//! - [`Form::Erf`]: `y = x Phi(x) = x/2 (1 + erf(x / sqrt 2))`
//! - [`Form::Tanh`]: `y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`
//!
//! Backward recomputes from `x`; nothing else is saved.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;

use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, operands};
use crate::{DType, In, Out, Result, Runtime};

const OP: &str = "gelu";

/// Which GELU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By tanh, as Wan's feed-forward has it.
    Tanh,
    /// Exact.
    Erf,
}

/// `y = gelu(x)`
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[n]`
    pub x: In<'a>,
    /// `[n]`
    pub y: Out<'a>,
    /// Which GELU.
    pub form: Form,
}

/// `dx = dy * gelu'(x)`
#[derive(Debug)]
pub struct Backward<'a> {
    /// `[n]`, the input of the forward pass
    pub x: In<'a>,
    /// `[n]`
    pub dy: In<'a>,
    /// `[n]`
    pub dx: Out<'a>,
    /// Which GELU.
    pub form: Form,
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
        Runtime::Cpu(isa) => args.y.write(|y| cpu::forward(*isa, &args.x.widen(), y, args.form)),
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
        Runtime::Cpu(isa) => {
            let (x, dy) = (args.x.widen(), args.dy.widen());
            args.dx.write(|dx| cpu::backward(*isa, &x, &dy, dx, args.form));
        }
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::backward(gpu, args)?,
    }
    Ok(())
}

/// The catalog row of one form.
#[derive(Debug)]
pub struct Row(pub Form);

impl Kernel for Row {
    fn name(&self) -> &'static str {
        match self.0 {
            Form::Tanh => "gelu_tanh",
            Form::Erf => "gelu_erf",
        }
    }
    fn formula(&self) -> &'static str {
        match self.0 {
            Form::Tanh => "y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))",
            Form::Erf => "y = x/2 (1 + erf(x / sqrt 2))",
        }
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
        if variant == "forward" { Work { flops: 20 * n, bytes: 8 * n } } else { Work { flops: 30 * n, bytes: 12 * n } }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let (n, form) = (shape[0] * shape[1], self.0);
        let x = Stored::new(operands(seed, 0, n).into_iter().map(|x| 2.0 * x).collect(), dtype);
        let out = Stored::unwritten(n, dtype);
        if variant == "forward" {
            return Case::boxed(
                vec![x],
                vec![("y", out)],
                move |rt, inputs, out| forward(rt, Forward { x: inputs[0].input(), y: out[0].output(), form }),
                move |inputs| vec![Expected::pointwise(reference::forward(&inputs[0].f64(), form), 1e-6, 1e-6)],
            );
        }
        Case::boxed(
            vec![x, Stored::new(operands(seed, 1, n), dtype)],
            vec![("dx", out)],
            move |rt, inputs, out| {
                let (x, dy) = (inputs[0].input(), inputs[1].input());
                backward(rt, Backward { x, dy, dx: out[0].output(), form })
            },
            move |inputs| {
                // Pointwise, so the derivative of each element by its own central difference.
                const H: f64 = 1e-5;
                let gelu = |x: f64| reference::forward(&[x], form)[0];
                let slope = |x: f64| (gelu(x + H) - gelu(x - H)) / (2.0 * H);
                let dx = inputs[0].f64().into_iter().zip(inputs[1].f64()).map(|(x, dy)| dy * slope(x));
                vec![Expected::pointwise(dx.collect(), 1e-6, 2e-6)]
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Body, Isa, LANES, Simd, dispatch};

    struct Tail<'a>(&'a mut [f32; LANES]);
    impl Body for Tail<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            s.store(cpu::upper_tail(s, s.load(self.0)).0, self.0);
        }
    }

    #[test]
    fn erf_is_accurate() {
        assert!((reference::erf(0.5) - 0.520_499_877_813_046_5).abs() < 1e-15);
        assert!((reference::erf(-2.0) + 0.995_322_265_018_952_7).abs() < 1e-15);
        for isa in Isa::available() {
            for i in 0..80_000 {
                let x = i as f32 * 1e-4;
                let mut got = [x; LANES];
                dispatch(isa, Tail(&mut got));
                let (got, want) = (1.0 - 2.0 * f64::from(got[5]), reference::erf(f64::from(x) / 2f64.sqrt()));
                assert!((got - want).abs() < 7e-7, "{isa:?} erf({x} / sqrt 2) = {got}, expected {want}");
            }
        }
    }

    #[test]
    fn far_out_it_is_the_identity_or_zero_and_nan_stays() {
        let x = [-1e30, -60.0, 60.0, 1e30, f32::NAN];
        for form in [Form::Tanh, Form::Erf] {
            let mut y = [0.0; 5];
            forward(&Runtime::cpu(), Forward { x: In::F32(&x), y: Out::F32(&mut y), form }).unwrap();
            assert!(y[..2].iter().all(|y| y.abs() < 1e-5) && y[4].is_nan(), "{form:?} {y:?}");
            assert_eq!(y[2..4], x[2..4], "{form:?}");
        }
    }
}
