//! The convolution on a GPU.

use bytemuck::{Pod, Zeroable};

use super::{Args, MAX_TAPS, OP};
use crate::Result;
use crate::gemm::Write;
use crate::runtime::cuda::{Gpu, Grid, Launch, Operand, Source};
use crate::view::extent;

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/conv.ptx")) };
/// Results and channels of a block: `TILE` in `conv.cu`.
const TILE: usize = 64;
/// Threads of a block: `THREADS` in `conv.cu`.
const THREADS: u32 = 256;

/// `Problem` in `conv.cu`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Problem {
    frames: [Operand; MAX_TAPS],
    weight: Operand,
    bias: Operand,
    y: Operand,
    height: u64,
    width: u64,
    channels: u64,
    out_channels: u64,
    rows: u64,
    columns: u64,
    taps: [u32; 3],
    sampling: u32,
    accumulate: u32,
    unused: u32,
}

pub(super) fn conv(gpu: &Gpu, args: Args<'_>) -> Result<()> {
    let Args { frames, weight, bias, y, write, dims } = args;
    let [rows, columns] = dims.output();
    let mut operands = [Operand::NONE; MAX_TAPS];
    for (operand, frame) in operands.iter_mut().zip(frames) {
        *operand = (*frame).into();
    }
    let blocks = extent(OP, &[(rows * columns).div_ceil(TILE), dims.out_channels.div_ceil(TILE)])?;
    let launch = Launch::new(gpu, OP, &SOURCE, "conv")?.arg(Problem {
        frames: operands,
        weight: weight.into(),
        bias: bias.into(),
        y: y.into(),
        height: dims.height as u64,
        width: dims.width as u64,
        channels: dims.channels as u64,
        out_channels: dims.out_channels as u64,
        rows: rows as u64,
        columns: columns as u64,
        taps: dims.taps.map(|taps| taps as u32),
        sampling: dims.sampling as u32,
        accumulate: u32::from(write == Write::Accumulate),
        unused: 0,
    });
    // SAFETY: blocks read pixels inside of the frames and terms below those of a row of the weight, and write results and
    // channels that exist; `check` found room for all of them in every operand.
    unsafe { launch.run(Grid::each(OP, blocks, THREADS)?) }
}
