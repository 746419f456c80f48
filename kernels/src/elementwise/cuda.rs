//! Arithmetic between operands on a GPU: one pass over all elements, four at a time where all operands' addresses (and
//! the width of a row) allow it.

use super::{Accumulate, Combine, Multiply, OP, ScaleRows};
use crate::Result;
use crate::runtime::cuda::{Gpu, Launch, Operand, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/elementwise.ptx")) };

pub(super) fn combine(gpu: &Gpu, args: Combine<'_>) -> Result<()> {
    let n = args.out.len();
    let operands = [args.x.into(), args.y.into(), args.out.into()];
    run(gpu, "elementwise_combine", n, operands, &[args.alpha, args.beta])
}

pub(super) fn accumulate(gpu: &Gpu, args: Accumulate<'_>) -> Result<()> {
    let n = args.x.len();
    run(gpu, "elementwise_accumulate", n, [args.x.into(), args.y_acc.into()], &[args.alpha])
}

pub(super) fn multiply(gpu: &Gpu, args: Multiply<'_>) -> Result<()> {
    let n = args.out.len();
    run(gpu, "elementwise_multiply", n, [args.a.into(), args.b.into(), args.out.into()], &[])
}

/// All operands that are present have `n` elements.
fn run<const N: usize>(
    gpu: &Gpu,
    kernel: &'static str,
    n: usize,
    operands: [Operand; N],
    factors: &[f32],
) -> Result<()> {
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.args(operands).args(factors.iter().copied());
    // SAFETY: the kernel touches elements below `n` only, and `check` found `n` in every operand.
    unsafe { launch.run_over(n, &operands) }
}

pub(super) fn scale_rows(gpu: &Gpu, args: ScaleRows<'_>) -> Result<()> {
    let ScaleRows { rows, width, .. } = args;
    let (x, y, out) = (Operand::from(args.x), Operand::from(args.y), Operand::from(args.out));
    let launch = Launch::new(gpu, OP, &SOURCE, "elementwise_scale_rows")?;
    let launch = launch.args([x, args.factors.into(), y, out]).extents([rows, width]);
    // SAFETY: the kernel touches rows below `rows` and elements of them below `width`, which `check` found.
    unsafe { launch.run_over_rows(rows, width, &[x, y, out]) }
}
