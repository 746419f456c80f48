//! Conversion on a GPU: one pass over all elements, four at a time where both operands' addresses allow it.

use super::{Args, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Grid, Launch, Operand, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/cast.ptx")) };
const THREADS: u32 = 256;

pub(super) fn cast(gpu: &Gpu, args: Args<'_>) -> Result<()> {
    let n = args.y.len();
    let (x, y) = (Operand::from(args.x), Operand::from(args.y));
    let vectors = x.is_aligned_to(4) && y.is_aligned_to(4);
    let launch = Launch::new(gpu, OP, &SOURCE, "cast")?.arg(x).arg(y).arg(n as u64).arg(u32::from(vectors));
    // SAFETY: the kernel touches elements below `n` only, and `check` found `n` in both operands.
    unsafe { launch.run(Grid::over(gpu, n, THREADS, 4)) }
}
