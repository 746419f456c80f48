//! Video to tokens and back on a GPU.

use super::{Args, Grid, OP, Order};
use crate::Result;
use crate::runtime::cuda::{self, Gpu, Launch, Operand, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/patchify.ptx")) };
/// Tokens of a block: `TOKENS` in `patchify.cu`.
const TOKENS: usize = 16;

pub(super) fn patchify(gpu: &Gpu, args: Args<'_>) -> Result<()> {
    let grid = args.grid;
    let tokens = grid.batch * grid.patches().iter().product::<usize>();
    let threads = grid.patch_len().clamp(1, 256).next_multiple_of(32);
    let blocks = cuda::Grid::over(gpu, tokens.div_ceil(TOKENS) * threads, threads as u32, 1);
    // SAFETY: the kernel touches elements of the video, each at one place of the tokens, and `check` found both.
    unsafe { launch(gpu, "patchify", args)?.run(blocks) }
}

pub(super) fn unpatchify(gpu: &Gpu, args: Args<'_>) -> Result<()> {
    let grid = args.grid;
    let [f, h, _] = grid.patches();
    let strips = (grid.batch * f * h).min(i32::MAX as usize) as u32;
    let matrix = cuda::Grid::matrix(gpu, grid.channels, grid.width);
    let blocks = cuda::Grid { blocks: [strips, matrix.blocks[1], 1], ..matrix };
    // SAFETY: as above.
    unsafe { launch(gpu, "unpatchify", args)?.run(blocks) }
}

fn launch<'g>(gpu: &'g Gpu, kernel: &'static str, args: Args<'_>) -> Result<Launch<'g>> {
    let Grid { batch, channels, frames, height, width, patch: [pt, ph, pw] } = args.grid;
    let extents = [batch, channels, frames, height, width, pt, ph, pw];
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.args([Operand::from(args.from), args.to.into()]);
    Ok(launch.extents(extents).arg(u32::from(args.order == Order::ChannelLast)))
}
