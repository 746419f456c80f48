//! Layer normalisation on a GPU: a team of threads a row, a block a chunk of a group's rows where columns are summed.

use bytemuck::NoUninit;

use super::{Backward, Forward, OP};
use crate::reduce::cuda::Accumulator;
use crate::runtime::cuda::{Chunks, Gpu, Launch, Operand, Source, Teams, by_slots, row_width};
use crate::{Error, Result};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/layer_norm.ptx")) };

/// `Forward` in `layer_norm.cu`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct ForwardOperands {
    x: Operand,
    weight: Operand,
    bias: Operand,
    y: Operand,
    mean: Operand,
    rstd: Operand,
    rows: u64,
    rows_per_group: u64,
    width: u32,
    team_size: u32,
    weight_offset: f32,
    eps: f32,
}

/// `Backward` in `layer_norm.cu`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct BackwardOperands {
    x: Operand,
    weight: Operand,
    mean: Operand,
    rstd: Operand,
    dy: Operand,
    dx: Operand,
    dweight: Operand,
    dbias: Operand,
    rows_per_group: u64,
    chunk: u64,
    chunks: u32,
    width: u32,
    team_size: u32,
    weight_offset: f32,
}

pub(super) fn forward(gpu: &Gpu, args: Forward<'_>) -> Result<()> {
    let Forward { x, weight, bias, y, mean, rstd, rows, width, rows_per_group, weight_offset, eps } = args;
    let teams = Teams::new(width);
    let kernel = by_slots(width, ["layer_norm_forward_vectors", "layer_norm_forward_scalars"]);
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.arg(ForwardOperands {
        x: x.into(),
        weight: weight.into(),
        bias: bias.into(),
        y: y.into(),
        mean: mean.into(),
        rstd: rstd.into(),
        rows: rows as u64,
        rows_per_group: rows_per_group as u64,
        width: row_width(OP, width)?,
        team_size: teams.size,
        weight_offset,
        eps,
    });
    // SAFETY: the kernel touches rows below `rows`, groups below `rows / rows_per_group` and columns below `width`, and
    // `check` found as many in all operands.
    unsafe { launch.run(teams.grid(gpu, rows)) }
}

pub(super) fn backward(gpu: &'static Gpu, args: Backward<'_>) -> Result<()> {
    let Backward { rows, width, rows_per_group, weight_offset, .. } = args;
    if rows * width == 0 {
        return Ok(());
    }
    let teams = Teams::new(width).at_most(rows_per_group);
    let chunks = Chunks::new(rows, rows_per_group, teams.least_chunk());
    let groups = rows / rows_per_group;
    let dweight = Accumulator::new(gpu, args.dweight_acc.into(), chunks, groups, width)?;
    let dbias = Accumulator::new(gpu, args.dbias_acc.into(), chunks, groups, width)?;
    let kernel = by_slots(width, ["layer_norm_backward_vectors", "layer_norm_backward_scalars"]);
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.arg(BackwardOperands {
        x: args.x.into(),
        weight: args.weight.into(),
        mean: args.mean.into(),
        rstd: args.rstd.into(),
        dy: args.dy.into(),
        dx: args.dx.into(),
        dweight: dweight.output(),
        dbias: dbias.output(),
        rows_per_group: rows_per_group as u64,
        chunk: chunks.rows as u64,
        chunks: chunks.count as u32,
        width: row_width(OP, width)?,
        team_size: teams.size,
        weight_offset,
    });
    let blocks = groups.checked_mul(chunks.count).ok_or(Error::Overflow { op: OP })?;
    let grid = teams.each(OP, blocks)?.shared(teams.shared_bytes(width));
    // SAFETY: as for the forward pass; the sums have a row a chunk of a group.
    unsafe {
        launch.run(grid)?;
        dweight.finish(gpu, OP)?;
        dbias.finish(gpu, OP)
    }
}
