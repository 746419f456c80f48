//! Exponential moving average: `average = decay * average + (1 - decay) * x`, in place.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;

use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, operands};
use crate::{DType, In, Out, Result, Runtime};

const OP: &str = "lerp";

/// `average = decay * average + (1 - decay) * x`
#[derive(Debug)]
pub struct Args<'a> {
    /// `[n]`, f32, in place
    pub average: Out<'a>,
    /// `[n]`
    pub x: In<'a>,
    /// In 0..=1; 0 copies `x`, 1 keeps the average.
    pub decay: f32,
}

/// Moves the average towards `x`.
///
/// # Errors
/// Operands of different lengths, an average that is not f32.
pub fn lerp(rt: &Runtime, args: Args<'_>) -> Result<()> {
    let n = args.x.len();
    args.x.check(rt, OP, "x", n)?;
    args.average.check_f32(rt, OP, "average", n)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => cpu::lerp(*isa, args.average.f32(), &args.x.widen(), args.decay),
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::lerp(gpu, args)?,
    }
    Ok(())
}

/// The catalog row.
#[derive(Debug)]
pub struct Row;

const DECAY: f32 = 0.93;

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "average = decay * average + (1 - decay) * x"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["step"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["n"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[&[0], &[1], &[7], &[8], &[65], &[77_101]]
    }
    fn limits(&self) -> &'static [usize] {
        &[300]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[1_000_000]]
    }
    fn work(&self, _: &str, shape: &[usize]) -> Work {
        Work { flops: 3 * shape[0] as u64, bytes: 12 * shape[0] as u64 }
    }
    fn problem(&self, _: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let average = Stored::new(operands(seed, 0, shape[0]), DType::F32);
        let before = average.f64();
        Case::boxed(
            vec![Stored::new(operands(seed, 1, shape[0]), dtype)],
            vec![("average", average)],
            |rt, inputs, out| lerp(rt, Args { average: out[0].output(), x: inputs[0].input(), decay: DECAY }),
            move |inputs| {
                let magnitudes = |x: &[f64]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
                let x = inputs[0].f64();
                let scale = reference::lerp(&magnitudes(&before), &magnitudes(&x), DECAY.into());
                let value = reference::lerp(&before, &x, DECAY.into());
                vec![Expected::reduction(value, scale, 2).stored_in_f32()]
            },
        )
    }
}
