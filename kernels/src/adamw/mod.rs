//! AdamW (Loshchilov and Hutter, 2019), one pass over parameter, gradient and both moments.
//!
//! With `g = grad_scale * grad`, `b1 = 1 - beta1^step` and `b2 = 1 - beta2^step`:
//!
//! ```text
//! m = beta1 m + (1 - beta1) g
//! v = beta2 v + (1 - beta2) g^2
//! param = (1 - lr weight_decay) param - (lr / b1) m / (sqrt(v / b2) + eps)
//! average = decay average + (1 - decay) param
//! ```
//!
//! `grad_scale` lets the clipping of gradients by their norm happen here instead of in a pass of its own, and the moving
//! average, which is optional, follows the new parameter while it is at hand, with the bits of [`crate::lerp`].

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;
mod row;

pub use row::Row;

use crate::{DType, Error, In, Out, Result, Runtime};

const OP: &str = "adamw";

/// A moving average of a parameter.
#[derive(Debug)]
pub struct Average<'a> {
    /// `[n]`, f32, in place
    pub average: Out<'a>,
    /// In 0..=1; 0 copies the parameter, 1 keeps the average.
    pub decay: f32,
}

/// One step.
#[derive(Debug)]
pub struct Args<'a> {
    /// `[n]`, f32, in place
    pub param: Out<'a>,
    /// `[n]`
    pub grad: In<'a>,
    /// `[n]`, f32, in place: the first moment
    pub m: Out<'a>,
    /// `[n]`, f32, in place: the second moment
    pub v: Out<'a>,
    /// `[n]`, bf16: the new parameter, rounded
    pub shadow: Option<Out<'a>>,
    /// Follows the new parameter.
    pub average: Option<Average<'a>>,
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment, in 0..1.
    pub beta1: f32,
    /// Decay of the second moment, in 0..1.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Factor of the gradient.
    pub grad_scale: f32,
    /// Number of this step, from 1.
    pub step: u64,
}

/// Moves the parameter one step.
///
/// # Errors
/// Operands of different lengths or of the wrong type; step 0.
pub fn step(rt: &Runtime, args: Args<'_>) -> Result<()> {
    if args.step == 0 {
        return Err(Error::Domain { op: OP, what: "step", expected: "at least 1", got: 0 });
    }
    let factors = cpu::Factors::new(&args);
    let n = args.param.len();
    args.grad.check(rt, OP, "grad", n)?;
    for (name, operand) in [("param", &args.param), ("m", &args.m), ("v", &args.v)] {
        operand.check_f32(rt, OP, name, n)?;
    }
    args.shadow.as_ref().map_or(Ok(()), |shadow| check_shadow(rt, shadow, n))?;
    args.average.as_ref().map_or(Ok(()), |follow| follow.average.check_f32(rt, OP, "average", n))?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => {
            let shadow = match args.shadow {
                Some(Out::Bf16(shadow)) => Some(shadow),
                _ => None,
            };
            let average = args.average.map(|Average { average, decay }| (average.f32(), decay));
            let state = cpu::State { param: args.param.f32(), m: args.m.f32(), v: args.v.f32(), shadow, average };
            cpu::step(*isa, state, &args.grad.widen(), factors);
        }
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::step(gpu, args, factors)?,
    }
    Ok(())
}

fn check_shadow(rt: &Runtime, shadow: &Out<'_>, n: usize) -> Result<()> {
    shadow.check(rt, OP, "shadow", n)?;
    match shadow.dtype() {
        DType::Bf16 => Ok(()),
        got => Err(Error::DType { op: OP, operand: "shadow", expected: DType::Bf16, got }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lerp;

    /// Three steps of `torch.optim.AdamW([1.5, -0.25, 3.0], lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.2)` on
    /// the gradient of `sum(param^2)`, PyTorch 2.
    #[test]
    fn agrees_with_pytorch() {
        let (mut param, mut m, mut v) = ([1.5f32, -0.25, 3.0], [0.0; 3], [0.0; 3]);
        for step in 1..=3 {
            let grad = param.map(|p| 2.0 * p);
            let args = Args {
                param: Out::F32(&mut param),
                grad: In::F32(&grad),
                m: Out::F32(&mut m),
                v: Out::F32(&mut v),
                shadow: None,
                average: None,
                lr: 0.1,
                beta1: 0.9,
                beta2: 0.95,
                eps: 1e-8,
                weight_decay: 0.2,
                grad_scale: 1.0,
                step,
            };
            super::step(&Runtime::cpu(), args).unwrap();
        }
        for (got, want) in param.into_iter().zip(WANT) {
            assert!((got - want).abs() <= 4e-7 * want.abs().max(1.0), "{got}, expected {want}");
        }
    }

    #[test]
    fn an_average_in_the_same_pass_has_the_bits_of_one_that_follows() {
        for isa in crate::simd::Isa::available() {
            let rt = Runtime::Cpu(isa);
            let run = |one: bool| {
                let [grad, mut param, mut m, mut average] =
                    [0, 1, 2, 3].map(|i| crate::catalog::operands(5, i, 40_003));
                let mut v: Vec<f32> = m.iter().map(|m| m * m).collect();
                let following = Average { average: Out::F32(&mut average), decay: 0.93 };
                let args = Args {
                    param: Out::F32(&mut param),
                    grad: In::F32(&grad),
                    m: Out::F32(&mut m),
                    v: Out::F32(&mut v),
                    shadow: None,
                    average: one.then_some(following),
                    lr: 0.1,
                    beta1: 0.9,
                    beta2: 0.95,
                    eps: 1e-8,
                    weight_decay: 0.2,
                    grad_scale: 0.7,
                    step: 3,
                };
                super::step(&rt, args).unwrap();
                if !one {
                    let args = lerp::Args { average: Out::F32(&mut average), x: In::F32(&param), decay: 0.93 };
                    lerp::lerp(&rt, args).unwrap();
                }
                [param, m, v, average].map(|x| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
            };
            assert_eq!(run(true), run(false), "{isa:?}");
        }
    }

    const WANT: [f32; 3] = [1.118_598_7, 0.039_068_03, 2.529_949_7];
}
