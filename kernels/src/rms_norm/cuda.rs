//! Root-mean-square normalisation on a GPU: a team of threads a row, a block a chunk of rows where columns are summed.

use bytemuck::NoUninit;

use super::{Backward, Forward, OP};
use crate::Result;
use crate::reduce::cuda::Accumulator;
use crate::runtime::cuda::{Chunks, Gpu, Launch, Operand, Source, Teams, by_slots, row_width};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/rms_norm.ptx")) };

/// `Forward` in `rms_norm.cu`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct ForwardOperands {
    x: Operand,
    weight: Operand,
    y: Operand,
    rstd: Operand,
    rows: u64,
    width: u32,
    team_size: u32,
    eps: f32,
    unused: u32,
}

/// `Backward` in `rms_norm.cu`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct BackwardOperands {
    x: Operand,
    weight: Operand,
    rstd: Operand,
    dy: Operand,
    dx: Operand,
    dweight: Operand,
    rows: u64,
    chunk: u64,
    chunks: u32,
    width: u32,
    team_size: u32,
    unused: u32,
}

pub(super) fn forward(gpu: &Gpu, args: Forward<'_>) -> Result<()> {
    let Forward { x, weight, y, rstd, rows, width, eps } = args;
    let teams = Teams::new(width);
    let kernel = by_slots(width, ["rms_norm_forward_vectors", "rms_norm_forward_scalars"]);
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.arg(ForwardOperands {
        x: x.into(),
        weight: weight.into(),
        y: y.into(),
        rstd: rstd.into(),
        rows: rows as u64,
        width: row_width(OP, width)?,
        team_size: teams.size,
        eps,
        unused: 0,
    });
    // SAFETY: the kernel touches rows below `rows` and columns below `width`, and `check` found as many in all operands.
    unsafe { launch.run(teams.grid(gpu, rows)) }
}

pub(super) fn backward(gpu: &'static Gpu, args: Backward<'_>) -> Result<()> {
    let Backward { x, weight, rstd, dy, dx, dweight_acc, rows, width } = args;
    if rows * width == 0 {
        return Ok(());
    }
    let teams = Teams::new(width).at_most(rows);
    let chunks = Chunks::new(rows, rows, teams.least_chunk());
    let dweight = Accumulator::new(gpu, dweight_acc.into(), chunks, 1, width)?;
    let kernel = by_slots(width, ["rms_norm_backward_vectors", "rms_norm_backward_scalars"]);
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.arg(BackwardOperands {
        x: x.into(),
        weight: weight.into(),
        rstd: rstd.into(),
        dy: dy.into(),
        dx: dx.into(),
        dweight: dweight.output(),
        rows: rows as u64,
        chunk: chunks.rows as u64,
        chunks: chunks.count as u32,
        width: row_width(OP, width)?,
        team_size: teams.size,
        unused: 0,
    });
    let grid = teams.each(OP, chunks.count)?.shared(teams.shared_bytes(width));
    // SAFETY: the kernel touches rows below `rows` and columns below `width`, and `check` found as many in all operands;
    // the sums have a row a chunk.
    unsafe {
        launch.run(grid)?;
        dweight.finish(gpu, OP)
    }
}
