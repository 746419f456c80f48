//! The copy on a GPU: a thread an element.

use bytemuck::{Pod, Zeroable};

use super::{Dims, MAX_RANK, OP};
use crate::runtime::cuda::{Gpu, Grid, Launch, Operand, Source};
use crate::{In, Out, Result};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/strided_copy.ptx")) };
const THREADS: u32 = 256;

/// `Dims` in `strided_copy.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct DeviceDims {
    extents: [u64; MAX_RANK],
    x_strides: [u64; MAX_RANK],
    y_strides: [u64; MAX_RANK],
}

/// `x` and `y` reach as far as `dims` does, and it has `elements` of them.
pub(super) fn strided_copy(gpu: &Gpu, x: In<'_>, y: Out<'_>, dims: &Dims, elements: usize) -> Result<()> {
    let wide = |list: [usize; MAX_RANK]| list.map(|n| n as u64);
    let device_dims =
        DeviceDims { extents: wide(dims.extents), x_strides: wide(dims.x_strides), y_strides: wide(dims.y_strides) };
    let launch = Launch::new(gpu, OP, &SOURCE, "strided_copy")?;
    let launch = launch.arg(Operand::from(x)).arg(Operand::from(y)).arg(device_dims).arg(elements as u64);
    // SAFETY: the kernel touches what the indices of `dims` lead to, and `strided_copy` found that both operands reach
    // that far.
    unsafe { launch.run(Grid::over(gpu, elements, THREADS, 1)) }
}
