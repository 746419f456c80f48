//! Root-mean-square normalisation on a GPU: a team of threads a row, a block a chunk of rows where columns are summed.

use bytemuck::NoUninit;

use super::{Backward, Forward, OP, Rotation};
use crate::reduce::cuda::Accumulator;
use crate::rope::{self, Direction};
use crate::runtime::cuda::{Chunks, Gpu, Launch, Memory, Operand, SLOT, Source, Teams, by_slots, row_width};
use crate::{DType, In, Out, Result};

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

/// `Rotation` in `rms_norm.cu`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct DeviceRotation {
    cos: Operand,
    sin: Operand,
    tokens: u64,
    pairs: u32,
    vectors: u32,
}

impl DeviceRotation {
    fn new(Rotation { cos, sin, dims }: Rotation<'_>) -> Result<Self> {
        let [cos, sin] = [cos, sin].map(Operand::from);
        let pairs = dims.width / 2;
        let vectors = pairs.is_multiple_of(2) && cos.is_aligned_to(2) && sin.is_aligned_to(2);
        Ok(DeviceRotation {
            cos,
            sin,
            tokens: dims.tokens as u64,
            pairs: row_width(OP, pairs)?,
            vectors: vectors.into(),
        })
    }
}

/// With a rotation in one kernel where slots are whole pairs. Else in two: what lies between is f32 in scratch memory, so
/// that bf16 is rounded once.
pub(super) fn forward(gpu: &'static Gpu, args: Forward<'_>) -> Result<()> {
    let Forward { x, weight, y, rstd, rows, width, eps, rotation } = args;
    let Some(Rotation { cos, sin, dims }) = rotation.filter(|_| !width.is_multiple_of(SLOT)) else {
        return normalise(gpu, Forward { x, weight, y, rstd, rows, width, eps, rotation });
    };
    let n = rows * width;
    let mut between = Memory::new(gpu, n * DType::F32.size())?;
    let normalised = Out::Cuda(between.slice_mut(0, n, DType::F32));
    normalise(gpu, Forward { x, weight, y: normalised, rstd, rows, width, eps, rotation: None })?;
    let x = In::Cuda(between.slice(0, n, DType::F32));
    rope::cuda::rope(gpu, rope::Args { x, cos, sin, y, dims, direction: Direction::Forward })
}

/// With a rotation `dy` is turned back first, in f32: in the same kernel where slots are whole pairs and all are kept.
pub(super) fn backward(gpu: &'static Gpu, args: Backward<'_>) -> Result<()> {
    let in_two = !args.width.is_multiple_of(SLOT) || !Teams::keep(args.width);
    let Some(Rotation { cos, sin, dims }) = args.rotation.filter(|_| in_two) else { return in_one(gpu, args) };
    let n = args.rows * args.width;
    let mut between = Memory::new(gpu, n * DType::F32.size())?;
    let y = Out::Cuda(between.slice_mut(0, n, DType::F32));
    rope::cuda::rope(gpu, rope::Args { x: args.dy, cos, sin, y, dims, direction: Direction::Inverse })?;
    let dy = In::Cuda(between.slice(0, n, DType::F32));
    in_one(gpu, Backward { dy, rotation: None, ..args })
}

fn normalise(gpu: &Gpu, args: Forward<'_>) -> Result<()> {
    let Forward { x, weight, y, rstd, rows, width, eps, rotation } = args;
    let teams = Teams::new(width);
    let operands = ForwardOperands {
        x: x.into(),
        weight: weight.into(),
        y: y.into(),
        rstd: rstd.into(),
        rows: rows as u64,
        width: row_width(OP, width)?,
        team_size: teams.size,
        eps,
        unused: 0,
    };
    let launch = match rotation {
        Some(rotation) => {
            Launch::new(gpu, OP, &SOURCE, "rms_norm_rope_forward")?.arg(operands).arg(DeviceRotation::new(rotation)?)
        }
        None => {
            let kernel = by_slots(width, ["rms_norm_forward_vectors", "rms_norm_forward_scalars"]);
            Launch::new(gpu, OP, &SOURCE, kernel)?.arg(operands)
        }
    };
    // SAFETY: the kernel touches rows below `rows` and columns below `width`, and `check` found as many in all operands,
    // and angles of all tokens and pairs in the tables.
    unsafe { launch.run(teams.grid(gpu, rows)) }
}

fn in_one(gpu: &'static Gpu, args: Backward<'_>) -> Result<()> {
    let Backward { x, weight, rstd, dy, dx, dweight_acc, rows, width, rotation } = args;
    if rows * width == 0 {
        return Ok(());
    }
    let teams = Teams::new(width).at_most(rows);
    let chunks = Chunks::new(rows, rows, teams.least_chunk());
    let dweight = Accumulator::new(gpu, dweight_acc.into(), chunks, 1, width)?;
    let operands = BackwardOperands {
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
    };
    let launch = match rotation {
        Some(rotation) => {
            Launch::new(gpu, OP, &SOURCE, "rms_norm_rope_backward")?.arg(operands).arg(DeviceRotation::new(rotation)?)
        }
        None => {
            let kernel = by_slots(width, ["rms_norm_backward_vectors", "rms_norm_backward_scalars"]);
            Launch::new(gpu, OP, &SOURCE, kernel)?.arg(operands)
        }
    };
    let grid = teams.each(OP, chunks.count)?.shared(teams.shared_bytes(width));
    // SAFETY: the kernel touches rows below `rows` and columns below `width`, and `check` found as many in all operands,
    // and angles of all tokens and pairs in the tables; the sums have a row a chunk.
    unsafe {
        launch.run(grid)?;
        dweight.finish(gpu, OP)
    }
}
