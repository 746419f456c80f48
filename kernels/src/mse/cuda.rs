//! Squared error on a GPU: a block a few rows, or a piece of a wide one.

use bytemuck::NoUninit;

use super::{Backward, Forward, OP};
use crate::reduce::Term;
use crate::reduce::cuda::{Partials, finish};
use crate::runtime::cuda::{Gpu, Launch, Memory, Operand, Pieces, Source, by_slots, row_width};
use crate::{Error, Result};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/mse.ptx")) };

/// `Operands` in `mse.cu`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Operands {
    a: Operand,
    b: Operand,
    weights: Operand,
    dloss: Operand,
    da: Operand,
    partial: u64,
    rows: u64,
    width: u64,
    rows_per_block: u64,
    piece: u32,
    pieces: u32,
    team_size: u32,
    factor: f32,
}

/// The extents as the kernel sees them: without weights rows do not matter, and all elements are one.
fn extents(weights: Operand, rows: usize, width: usize) -> (usize, usize) {
    if weights == Operand::NONE { (usize::from(rows > 0), rows * width) } else { (rows, width) }
}

pub(super) fn forward(gpu: &'static Gpu, args: Forward<'_>) -> Result<()> {
    /// Elements of several rows that a block takes.
    const BLOCK: usize = 8192;
    let Forward { a, b, weights, loss, rows, width, scale } = args;
    let weights = Operand::from(weights);
    let (rows, width) = extents(weights, rows, width);
    let pieces = Pieces::new(width);
    let rows_per_block = (BLOCK / width.max(1)).max(1);
    // No weight counts where there is no element.
    let blocks = if width == 0 { 0 } else { rows.div_ceil(rows_per_block) };
    let blocks = blocks.checked_mul(pieces.count).ok_or(Error::Overflow { op: OP })?;
    let partial = Memory::new(gpu, blocks * size_of::<f64>())?;
    let kernel = by_slots(width, ["mse_forward_vectors", "mse_forward_scalars"]);
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.arg(Operands {
        a: a.into(),
        b: b.into(),
        weights,
        dloss: Operand::NONE,
        da: Operand::NONE,
        partial: partial.address(),
        rows: rows as u64,
        width: width as u64,
        rows_per_block: rows_per_block as u64,
        piece: pieces.len as u32,
        pieces: row_width(OP, pieces.count)?,
        team_size: pieces.teams.size,
        factor: 1.0,
    });
    // SAFETY: `check` found `rows * width` elements in `a` and `b` and a weight a row; there is a partial sum a block.
    unsafe { launch.run(pieces.teams.each(OP, blocks)?)? };
    let sums = Partials { sums: &partial, rows: 1, pieces: blocks, factor: scale.into(), term: Term::Sum };
    finish(gpu, OP, sums, loss.into())
}

pub(super) fn backward(gpu: &Gpu, args: Backward<'_>) -> Result<()> {
    let Backward { a, b, weights, dloss, da, rows, width, scale } = args;
    let weights = Operand::from(weights);
    let (rows, width) = extents(weights, rows, width);
    let pieces = Pieces::new(width);
    let count = rows.checked_mul(pieces.count).ok_or(Error::Overflow { op: OP })?;
    let kernel = by_slots(width, ["mse_backward_vectors", "mse_backward_scalars"]);
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.arg(Operands {
        a: a.into(),
        b: b.into(),
        weights,
        dloss: dloss.into(),
        da: da.into(),
        partial: 0,
        rows: rows as u64,
        width: width as u64,
        rows_per_block: 0,
        piece: pieces.len as u32,
        pieces: row_width(OP, pieces.count)?,
        team_size: pieces.teams.size,
        factor: 2.0 * scale,
    });
    // SAFETY: `check` found `rows * width` elements in `a`, `b` and `da`, a weight a row, and one element in `dloss`.
    unsafe { launch.run(pieces.teams.grid(gpu, count)) }
}
