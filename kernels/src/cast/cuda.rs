//! Conversion on a GPU: one pass over all elements, four at a time where both operands' addresses allow it.

use super::{Args, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Launch, Operand, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/cast.ptx")) };

pub(super) fn cast(gpu: &Gpu, args: Args<'_>) -> Result<()> {
    let n = args.y.len();
    let operands = [Operand::from(args.x), args.y.into()];
    let launch = Launch::new(gpu, OP, &SOURCE, "cast")?.args(operands);
    // SAFETY: the kernel touches elements below `n` only, and `check` found `n` in both operands.
    unsafe { launch.run_over(n, &operands) }
}
