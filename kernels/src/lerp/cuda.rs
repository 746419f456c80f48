//! Moving averages on a GPU: one pass over all elements, four at a time where both operands' addresses allow it.

use super::{Args, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Grid, Launch, Operand, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/lerp.ptx")) };
const THREADS: u32 = 256;

pub(super) fn lerp(gpu: &Gpu, args: Args<'_>) -> Result<()> {
    let n = args.x.len();
    let (average, x) = (Operand::from(args.average), Operand::from(args.x));
    let vectors = average.is_aligned_to(4) && x.is_aligned_to(4);
    let launch = Launch::new(gpu, OP, &SOURCE, "lerp")?.arg(average).arg(x).arg(args.decay).arg(1.0 - args.decay);
    let launch = launch.arg(n as u64).arg(u32::from(vectors));
    // SAFETY: the kernel touches elements below `n` only, and `check` found `n` in both operands.
    unsafe { launch.run(Grid::over(gpu, n, THREADS, 4)) }
}
