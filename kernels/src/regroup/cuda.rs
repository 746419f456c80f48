//! The shortcuts on a GPU.

use bytemuck::{Pod, Zeroable};

use super::{Average, Dims, Duplicate, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Grid, Launch, Operand, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/regroup.ptx")) };
const THREADS: u32 = 256;

/// `Problem` in `regroup.cu`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Problem {
    frames: [Operand; 2],
    y: Operand,
    height: u64,
    width: u64,
    channels: u64,
    out_channels: u64,
    step_frames: u64,
    side: u64,
    at: u64,
}

impl Problem {
    fn new(dims: Dims, frames: [Operand; 2], y: Operand, at: usize) -> Self {
        let Dims { height, width, channels, out_channels, frames: step_frames, side } = dims;
        let [height, width, channels, out_channels, step_frames, side, at] =
            [height, width, channels, out_channels, step_frames, side, at].map(|extent| extent as u64);
        Problem { frames, y, height, width, channels, out_channels, step_frames, side, at }
    }
}

pub(super) fn average(gpu: &Gpu, args: Average<'_>) -> Result<()> {
    let n = args.y_acc.len();
    if args.dims.channels == 0 || n == 0 {
        return Ok(());
    }
    let mut frames = [Operand::NONE; 2];
    for (operand, frame) in frames.iter_mut().zip(args.frames) {
        *operand = (*frame).into();
    }
    let launch = Launch::new(gpu, OP, &SOURCE, "regroup_average")?;
    let launch = launch.arg(Problem::new(args.dims, frames, args.y_acc.into(), 0));
    // SAFETY: the kernel touches elements of the result, and those of the frames that stand in its mean; `check` found
    // both.
    unsafe { launch.run(Grid::over(gpu, n, THREADS, 1)) }
}

pub(super) fn duplicate(gpu: &Gpu, args: Duplicate<'_>) -> Result<()> {
    let n = args.y_acc.len();
    if n == 0 {
        return Ok(());
    }
    let frames = [args.frame.into(), Operand::NONE];
    let launch = Launch::new(gpu, OP, &SOURCE, "regroup_duplicate")?;
    let launch = launch.arg(Problem::new(args.dims, frames, args.y_acc.into(), args.at));
    // SAFETY: the kernel touches elements of the result, and the element of the frame that each is a copy of; `check`
    // found both.
    unsafe { launch.run(Grid::over(gpu, n, THREADS, 1)) }
}
