//! Reductions on a GPU: pieces whose number depends on the shape only, and a second launch where there are several.

use bytemuck::NoUninit;

use super::{ColumnSum, OP, RowTotal, Term, Total};
use crate::runtime::cuda::{Chunks, Gpu, Grid, Launch, Memory, Operand, Pieces, Source, by_slots, row_width};
use crate::view::extent;
use crate::{DType, Error, In, Result};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/reduce.ptx")) };
/// Threads of a block that sums columns.
const THREADS: usize = 256;
const F64_BYTES: usize = 8;

/// `ColumnSum` in `reduce.cu`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Columns {
    x: Operand,
    out: Operand,
    rows: u64,
    chunk: u64,
    chunks: u32,
    tiles: u32,
    width: u32,
    team_size: u32,
    add: u32,
    unused: u32,
}

/// `RowTotal` in `reduce.cu`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Rows {
    x: Operand,
    y: Operand,
    out: Operand,
    partial: u64,
    rows: u64,
    width: u64,
    piece: u32,
    pieces: u32,
    team_size: u32,
    term: u32,
}

pub(super) fn column_sum(gpu: &'static Gpu, args: ColumnSum<'_>) -> Result<()> {
    let ColumnSum { x, sum_acc, rows, width } = args;
    let team = width.div_ceil(4).clamp(1, 32).next_power_of_two();
    let chunks = Chunks::new(rows, rows, 8 * THREADS / team);
    let sums = Accumulator::new(gpu, sum_acc.into(), chunks, 1, width)?;
    let write = if chunks.count == 1 { Write::Add } else { Write::Replace };
    let first = ColumnSums { op: OP, groups: 1, rows, width, chunks, team };
    // SAFETY: `check` found `rows * width` elements in `x` and `width` in `sum_acc`.
    unsafe {
        first.run(gpu, x.into(), sums.output(), write)?;
        sums.finish(gpu, OP)
    }
}

/// An f32 accumulator `[groups, width]` to which blocks add sums over chunks of a group's rows: directly where a group is
/// one chunk, else through partial sums `[groups, chunks, width]`.
pub(crate) struct Accumulator {
    acc: Operand,
    partial: Option<Memory>,
    extents: [usize; 3],
}

impl Accumulator {
    /// Without partial sums if `acc` is absent.
    pub fn new(gpu: &'static Gpu, acc: Operand, chunks: Chunks, groups: usize, width: usize) -> Result<Self> {
        let extents = [groups, chunks.count, width];
        let direct = chunks.count == 1 || acc == Operand::NONE;
        let scratch = || Memory::new(gpu, extent(OP, &extents)? * DType::F32.size());
        Ok(Accumulator { acc, partial: if direct { None } else { Some(scratch()?) }, extents })
    }

    /// Where the first launch puts its sums: added where a group is one chunk, else written.
    pub fn output(&self) -> Operand {
        let len = self.extents.iter().product();
        self.partial.as_ref().map_or(self.acc, |sums| In::Cuda(sums.slice(0, len, DType::F32)).into())
    }

    /// Adds the partial sums, if there are any, chunk by chunk.
    ///
    /// # Safety
    /// The accumulator has `groups * width` elements.
    pub unsafe fn finish(self, gpu: &Gpu, op: &'static str) -> Result<()> {
        if self.partial.is_none() {
            return Ok(());
        }
        let [groups, rows, width] = self.extents;
        // Few columns a block: there are few rows, so only this way there are many blocks.
        let team = width.div_ceil(4).clamp(1, 8).next_power_of_two();
        let second = ColumnSums { op, groups, rows, width, chunks: Chunks { rows, count: 1 }, team };
        // SAFETY: the partial sums have those extents, the accumulator those that the caller promises.
        unsafe { second.run(gpu, self.output(), self.acc, Write::Add) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    Add,
    Replace,
}

/// Sums of `[groups, rows, width]` down the rows of each group's chunks: `[groups, chunks, width]`.
struct ColumnSums {
    op: &'static str,
    groups: usize,
    rows: usize,
    width: usize,
    chunks: Chunks,
    /// Threads beside each other, a power of two of at most 32.
    team: usize,
}

impl ColumnSums {
    /// # Safety
    /// Both operands have that many elements.
    unsafe fn run(&self, gpu: &Gpu, x: Operand, out: Operand, write: Write) -> Result<()> {
        let &ColumnSums { op, groups, rows, width, chunks, team } = self;
        let tiles = width.div_ceil(4 * team);
        let blocks = groups.checked_mul(chunks.count).and_then(|n| n.checked_mul(tiles));
        let blocks = blocks.ok_or(Error::Overflow { op })?;
        let kernel = by_slots(width, ["column_sum_vectors", "column_sum_scalars"]);
        let launch = Launch::new(gpu, op, &SOURCE, kernel)?.arg(Columns {
            x,
            out,
            rows: rows as u64,
            chunk: chunks.rows as u64,
            chunks: chunks.count as u32,
            tiles: tiles as u32,
            width: row_width(op, width)?,
            team_size: team as u32,
            add: u32::from(write == Write::Add),
            unused: 0,
        });
        // SAFETY: the caller's promise; the kernel's indices end with the extents.
        unsafe { launch.run(Grid::each(op, blocks, THREADS as u32)?) }
    }
}

pub(super) fn total(gpu: &'static Gpu, args: Total<'_>) -> Result<()> {
    let Total { x, y, out, term } = args;
    let width = x.len();
    row_total(gpu, RowTotal { x, y, out, term, rows: 1, width })
}

pub(super) fn row_total(gpu: &'static Gpu, args: RowTotal<'_>) -> Result<()> {
    let RowTotal { x, y, out, term, rows, width } = args;
    let (out, pieces) = (Operand::from(out), Pieces::new(width));
    let count = rows.checked_mul(pieces.count).ok_or(Error::Overflow { op: OP })?;
    let partial = if pieces.count == 1 { None } else { Some(Memory::new(gpu, count * F64_BYTES)?) };
    let kernel = by_slots(width, ["row_total_vectors", "row_total_scalars"]);
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.arg(Rows {
        x: x.into(),
        y: y.into(),
        out,
        partial: partial.as_ref().map_or(0, Memory::address),
        rows: rows as u64,
        width: width as u64,
        piece: pieces.len as u32,
        pieces: row_width(OP, pieces.count)?,
        team_size: pieces.teams.size,
        term: term as u32,
    });
    // SAFETY: `check` found `rows * width` elements in both inputs and `rows` in `out`; there are `rows` partial sums a
    // piece.
    unsafe { launch.run(pieces.teams.grid(gpu, count))? };
    match partial {
        Some(partial) => {
            finish(gpu, OP, Partials { sums: &partial, rows, pieces: pieces.count, factor: 1.0, term }, out)
        }
        None => Ok(()),
    }
}

/// f64 `[rows, pieces]`, each of whose rows is to be reduced and multiplied by `factor`.
pub(crate) struct Partials<'a> {
    pub sums: &'a Memory,
    pub rows: usize,
    pub pieces: usize,
    pub factor: f64,
    pub term: Term,
}

/// Writes the reductions of the rows of `partials` to the f32 elements of `out`, as many as rows.
pub(crate) fn finish(gpu: &Gpu, op: &'static str, partials: Partials<'_>, out: Operand) -> Result<()> {
    let Partials { sums, rows, pieces, factor, term } = partials;
    assert!(sums.bytes() >= rows * pieces * F64_BYTES, "{rows} * {pieces} partial sums in {} bytes", sums.bytes());
    let launch = Launch::new(gpu, op, &SOURCE, "reduce_partials")?;
    let launch = launch.arg(sums.address()).arg(out).arg(pieces as u64).arg(factor).arg(term as u32);
    // SAFETY: the length of `sums` was checked, that of `out` where the caller's operands were.
    unsafe { launch.run(Grid::each(op, rows, THREADS as u32)?) }
}
