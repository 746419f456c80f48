//! Random numbers on a GPU, the same bits as on the CPU.

use super::{Args, Key, OP, Uniform};
use crate::runtime::cuda::{Gpu, Grid, Launch, Operand, Source};
use crate::{Out, Result};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/normal.ptx")) };
const THREADS: u32 = 256;

pub(super) fn normal(gpu: &Gpu, args: Args<'_>) -> Result<()> {
    fill(gpu, "normal", args.out, args.key, args.offset)
}

pub(super) fn uniform(gpu: &Gpu, args: Uniform<'_>) -> Result<()> {
    fill(gpu, "uniform", args.out, args.key, args.offset)
}

fn fill(gpu: &Gpu, kernel: &'static str, out: Out<'_>, key: Key, offset: u64) -> Result<()> {
    let (n, out) = (out.len(), Operand::from(out));
    let vectors = out.is_aligned_to(4) && offset.is_multiple_of(4);
    let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.arg(out).arg(key.seed).arg(key.stream).arg(offset);
    // SAFETY: the kernel writes elements below `n` only.
    unsafe { launch.arg(n as u64).arg(u32::from(vectors)).run(Grid::over(gpu, n, THREADS, 4)) }
}
