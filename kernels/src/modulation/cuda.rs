//! The modulation vectors on a GPU.

use super::{Backward, Dims, Forward, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Grid, Launch, Operand, RowSums, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/modulation.ptx")) };

pub(super) fn forward(gpu: &Gpu, dims: Dims, args: Forward<'_>) -> Result<()> {
    let Dims { slots, groups, width } = dims;
    let operands = [args.table.into(), args.projection.into(), Operand::from(args.y)];
    let vectors = width.is_multiple_of(4) && operands.iter().all(|operand| operand.is_aligned_to(4));
    let launch = operands.into_iter().fold(Launch::new(gpu, OP, &SOURCE, "modulation_forward")?, Launch::arg);
    let launch = [slots, groups, width].into_iter().fold(launch, |launch, extent| launch.arg(extent as u64));
    let columns = if vectors { width / 4 } else { width };
    // SAFETY: the kernel touches elements of `[slots, groups, width]`, and of its slots; `check` found them.
    unsafe { launch.arg(u32::from(vectors)).run(Grid::matrix(gpu, slots * groups, columns)) }
}

pub(super) fn backward(gpu: &'static Gpu, dims: Dims, args: Backward<'_>) -> Result<()> {
    let Dims { slots, groups, width } = dims;
    let sums = RowSums::new(slots, groups, width);
    let (dy, dprojection) = (Operand::from(args.dy), Operand::from(args.dprojection));
    let first = |dtable: Operand, shape: RowSums| {
        let launch = Launch::new(gpu, OP, &SOURCE, "modulation_backward")?;
        Ok(launch.arg(dy).arg(dprojection).arg(dtable).arg(shape))
    };
    // SAFETY: `check` found `[slots, groups, width]` in `dy` and `dprojection` and `[slots, width]` in `dtable_acc`.
    unsafe { sums.run(gpu, OP, &[dy, dprojection], args.dtable_acc.into(), first) }
}
