//! Moving averages on a GPU: one pass over all elements, four at a time where both operands' addresses allow it.

use super::{Args, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Launch, Operand, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/lerp.ptx")) };

pub(super) fn lerp(gpu: &Gpu, args: Args<'_>) -> Result<()> {
    let n = args.x.len();
    let operands = [Operand::from(args.average), args.x.into()];
    let launch = Launch::new(gpu, OP, &SOURCE, "lerp")?.args(operands).args([args.decay, 1.0 - args.decay]);
    // SAFETY: the kernel touches elements below `n` only, and `check` found `n` in both operands.
    unsafe { launch.run_over(n, &operands) }
}
