//! Gather on a GPU.

use super::by_row::by_row;
use super::{Backward, Forward, OP};
use crate::runtime::cuda::{Gpu, Launch, Memory, Operand, Source};
use crate::{DType, Error, In, Result};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/gather.ptx")) };

pub(super) fn forward(gpu: &Gpu, args: Forward<'_>) -> Result<()> {
    let Forward { batch, rows, picks, width, .. } = args;
    let (x, y) = (Operand::from(args.x), Operand::from(args.y));
    let launch = Launch::new(gpu, OP, &SOURCE, "gather_forward")?.args([x, args.index.into(), y]);
    // SAFETY: the kernel touches `[batch, picks, width]` of `y`, the index below `picks`, and the rows of `x` that it
    // names; `check` found the extents, and looked at every index.
    unsafe { launch.extents([batch, rows, picks, width]).run_over_rows(batch * picks, width, &[x, y]) }
}

/// `index` is `args.index`, on the host.
pub(super) fn backward(gpu: &'static Gpu, args: Backward<'_>, index: &[i32]) -> Result<()> {
    let Backward { batch, rows, picks, width, .. } = args;
    if i32::try_from(picks).is_err() {
        return Err(Error::Overflow { op: OP });
    }
    let (starts, order) = by_row(index, rows);
    let (first, last) = (starts.len(), starts.len() + order.len());
    // Numbers of picks, which fit.
    let numbers: Vec<i32> = starts.into_iter().chain(order).map(|number| number as i32).collect();
    let mut memory = Memory::new(gpu, last * DType::I32.size())?;
    memory.upload(0, bytemuck::cast_slice(&numbers))?;
    let part = |from: usize, to: usize| Operand::from(In::Cuda(memory.slice(from, to - from, DType::I32)));
    let (dy, dx) = (Operand::from(args.dy), Operand::from(args.dx_acc));
    let launch = Launch::new(gpu, OP, &SOURCE, "gather_backward")?;
    let launch = launch.args([dy, part(0, first), part(first, last), dx]);
    // SAFETY: the kernel touches `[batch, rows, width]` of `dx`, all starts, the picks between them, and their rows of
    // `dy`; `check` found the extents, and `by_row` gives `rows + 1` starts.
    unsafe { launch.extents([batch, rows, picks, width]).run_over_rows(batch * rows, width, &[dy, dx]) }
}
