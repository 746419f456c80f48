//! GELU on a GPU: one pass over all elements, four at a time where all operands' addresses allow it.

use super::{Backward, Form, Forward, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Launch, Operand, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/gelu.ptx")) };

pub(super) fn forward(gpu: &Gpu, args: Forward<'_>) -> Result<()> {
    let kernel = match args.form {
        Form::Tanh => "gelu_tanh_forward",
        Form::Erf => "gelu_erf_forward",
    };
    let n = args.y.len();
    run(gpu, kernel, n, [args.x.into(), args.y.into()])
}

pub(super) fn backward(gpu: &Gpu, args: Backward<'_>) -> Result<()> {
    let kernel = match args.form {
        Form::Tanh => "gelu_tanh_backward",
        Form::Erf => "gelu_erf_backward",
    };
    let n = args.dx.len();
    run(gpu, kernel, n, [args.x.into(), args.dy.into(), args.dx.into()])
}

/// All operands have `n` elements.
fn run<const N: usize>(gpu: &Gpu, kernel: &'static str, n: usize, operands: [Operand; N]) -> Result<()> {
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.args(operands);
    // SAFETY: the kernel touches elements below `n` only, and `check` found `n` in every operand.
    unsafe { launch.run_over(n, &operands) }
}
