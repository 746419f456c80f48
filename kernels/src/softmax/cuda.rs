//! Softmax on a GPU: a team of threads a row.

use bytemuck::NoUninit;

use super::{Backward, Forward, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Launch, Operand, Source, Teams, by_slots, row_width};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/softmax.ptx")) };

/// `Operands` in `softmax.cu`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Operands {
    x: Operand,
    dy: Operand,
    y: Operand,
    rows: u64,
    width: u32,
    team_size: u32,
}

pub(super) fn forward(gpu: &Gpu, args: Forward<'_>) -> Result<()> {
    let Forward { x, y, rows, width } = args;
    let kernel = by_slots(width, ["softmax_forward_vectors", "softmax_forward_scalars"]);
    run(gpu, kernel, [x.into(), Operand::NONE, y.into()], rows, width)
}

pub(super) fn backward(gpu: &Gpu, args: Backward<'_>) -> Result<()> {
    let Backward { y, dy, dx, rows, width } = args;
    let kernel = by_slots(width, ["softmax_backward_vectors", "softmax_backward_scalars"]);
    run(gpu, kernel, [y.into(), dy.into(), dx.into()], rows, width)
}

/// All operands that are present are `[rows, width]`.
fn run(gpu: &Gpu, kernel: &'static str, [x, dy, y]: [Operand; 3], rows: usize, width: usize) -> Result<()> {
    let teams = Teams::new(width);
    let operands = Operands { x, dy, y, rows: rows as u64, width: row_width(OP, width)?, team_size: teams.size };
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.arg(operands);
    // SAFETY: the kernel touches rows below `rows` and columns below `width`, and `check` found as many in all operands.
    unsafe { launch.run(teams.grid(gpu, rows)) }
}
