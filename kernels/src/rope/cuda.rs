//! Rotary position embedding on a GPU.

use super::{Args, Dims, Direction, OP};
use crate::Result;
use crate::runtime::cuda::{Gpu, Grid, Launch, Operand, Source};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/rope.ptx")) };

pub(crate) fn rope(gpu: &Gpu, args: Args<'_>) -> Result<()> {
    let Dims { batch, tokens, heads, width } = args.dims;
    let (rows, pairs) = (batch * tokens, width / 2);
    let [x, cos, sin] = [args.x, args.cos, args.sin].map(Operand::from);
    let y = Operand::from(args.y);
    let vectors = pairs.is_multiple_of(2)
        && Operand::all_in_fours(&[x, y])
        && [cos, sin].iter().all(|table| table.is_aligned_to(2));
    let sign: f32 = match args.direction {
        Direction::Forward => 1.0,
        Direction::Inverse => -1.0,
    };
    let launch = Launch::new(gpu, OP, &SOURCE, OP)?.args([x, cos, sin, y]).extents([rows, tokens, heads, pairs]);
    // SAFETY: the kernel touches pairs of rows below `rows`, heads below `heads`, and angles of tokens below `tokens`;
    // `check` found them.
    unsafe {
        launch.arg(sign).arg(u32::from(vectors)).run(grid(gpu, rows, heads, if vectors { pairs / 2 } else { pairs }))
    }
}

/// Blocks along y split the heads where rows and pairs alone are too few threads for the GPU.
fn grid(gpu: &Gpu, rows: usize, heads: usize, columns: usize) -> Grid {
    if heads == 0 || columns == 0 {
        return Grid { blocks: [0; 3], threads: [1; 3], shared_bytes: 0 };
    }
    /// Blocks a multiprocessor that keep it busy.
    const ENOUGH: usize = 8;
    let Grid { blocks: [down, ..], threads, .. } = Grid::matrix(gpu, rows, columns);
    let wanted = (gpu.multiprocessors() * ENOUGH).div_ceil(down.max(1) as usize);
    Grid { blocks: [down, wanted.min(heads) as u32, 1], threads, shared_bytes: 0 }
}
