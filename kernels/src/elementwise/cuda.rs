//! Arithmetic between operands on a GPU: one pass over all elements, four at a time where all operands' addresses (and
//! the width of a row) allow it.

use super::{Accumulate, Combine, Multiply, OP, ScaleRows};
use crate::Result;
use crate::runtime::cuda::{Gpu, Grid, Launch, Operand, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/elementwise.ptx")) };
const THREADS: u32 = 256;

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
    let vectors = operands.iter().all(|operand| operand.is_aligned_to(4));
    let launch = operands.into_iter().fold(Launch::new(gpu, OP, &SOURCE, kernel)?, Launch::arg);
    let launch = factors.iter().copied().fold(launch, Launch::arg).arg(n as u64).arg(u32::from(vectors));
    // SAFETY: the kernel touches elements below `n` only, and `check` found `n` in every operand.
    unsafe { launch.run(Grid::over(gpu, n, THREADS, 4)) }
}

pub(super) fn scale_rows(gpu: &Gpu, args: ScaleRows<'_>) -> Result<()> {
    let ScaleRows { rows, width, .. } = args;
    let (x, y, out) = (Operand::from(args.x), Operand::from(args.y), Operand::from(args.out));
    let vectors = width.is_multiple_of(4) && [x, y, out].iter().all(|operand| operand.is_aligned_to(4));
    let launch = Launch::new(gpu, OP, &SOURCE, "elementwise_scale_rows")?
        .arg(x)
        .arg(Operand::from(args.factors))
        .arg(y)
        .arg(out);
    let launch = launch.arg(rows as u64).arg(width as u64).arg(u32::from(vectors));
    let columns = if vectors { width / 4 } else { width };
    // SAFETY: the kernel touches rows below `rows` and elements of them below `width`, which `check` found.
    unsafe { launch.run(Grid::matrix(gpu, rows, columns)) }
}
