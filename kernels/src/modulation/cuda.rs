//! The modulation vectors on a GPU.

use super::{Backward, Dims, Forward, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Launch, Operand, RowSums, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/modulation.ptx")) };

pub(super) fn forward(gpu: &Gpu, dims: Dims, args: Forward<'_>) -> Result<()> {
    let Dims { slots, groups, width } = dims;
    let operands = [args.table.into(), args.projection.into(), Operand::from(args.y)];
    let launch = Launch::new(gpu, OP, &SOURCE, "modulation_forward")?.args(operands).extents([slots, groups, width]);
    // SAFETY: the kernel touches elements of `[slots, groups, width]`, and of its slots; `check` found them.
    unsafe { launch.run_over_rows(slots * groups, width, &operands) }
}

pub(super) fn backward(gpu: &'static Gpu, dims: Dims, args: Backward<'_>) -> Result<()> {
    let Dims { slots, groups, width } = dims;
    let sums = RowSums::new(slots, groups, width);
    let (dy, dprojection) = (Operand::from(args.dy), Operand::from(args.dprojection));
    let first = |dtable: Operand, shape: RowSums| {
        let launch = Launch::new(gpu, OP, &SOURCE, "modulation_backward")?;
        Ok(launch.args([dy, dprojection, dtable]).arg(shape))
    };
    // SAFETY: `check` found `[slots, groups, width]` in `dy` and `dprojection` and `[slots, width]` in `dtable_acc`.
    unsafe { sums.run(gpu, OP, &[dy, dprojection], args.dtable_acc.into(), first) }
}
