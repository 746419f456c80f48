//! SiLU on a GPU: one pass over all elements, four at a time where all operands' addresses allow it.

use super::{Backward, Forward, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Launch, Operand, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/silu.ptx")) };

pub(super) fn forward(gpu: &Gpu, args: Forward<'_>) -> Result<()> {
    let n = args.y.len();
    run(gpu, "silu_forward", n, [args.x.into(), args.y.into()])
}

pub(super) fn backward(gpu: &Gpu, args: Backward<'_>) -> Result<()> {
    let n = args.dx.len();
    run(gpu, "silu_backward", n, [args.x.into(), args.dy.into(), args.dx.into()])
}

/// All operands have `n` elements.
fn run<const N: usize>(gpu: &Gpu, kernel: &'static str, n: usize, operands: [Operand; N]) -> Result<()> {
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.args(operands);
    // SAFETY: the kernel touches elements below `n` only, and `check` found `n` in every operand.
    unsafe { launch.run_over(n, &operands) }
}
