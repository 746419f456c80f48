//! One call of a kernel, counted.

use flg_kernels::catalog::Kernel;
use flg_kernels::{DType, Result, Runtime};

use super::launches::{Launch, take};

/// What a call did.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) launches: Vec<Launch>,
    /// Bytes of sectors that were read and that were written, over those that must move.
    pub(super) traffic: f64,
}

/// The shape that benches time, or else tests try, with most multiply-adds or elements, but no more than `most`.
pub(super) fn largest_shape(kernel: &dyn Kernel, variant: &str, most: u64) -> Option<&'static [usize]> {
    let cost = |shape: &&[usize]| {
        let work = kernel.work(variant, shape);
        work.flops.max(work.bytes / 4)
    };
    let shapes = kernel.bench_shapes().iter().chain(kernel.shapes()).copied();
    shapes.filter(|shape| cost(shape) <= most).max_by_key(cost)
}

/// Runs a problem and counts what it launches, without what brings its operands there.
pub(super) fn count(
    kernel: &dyn Kernel,
    variant: &'static str,
    shape: &[usize],
    dtype: DType,
    rt: &Runtime,
) -> Result<Counted> {
    let Runtime::Cuda(gpu) = rt else { unreachable!("a GPU was asked for") };
    // A seed with which streams of random numbers begin at a whole vector.
    let mut problem = kernel.problem(variant, shape, dtype, 0);
    problem.move_to(rt)?;
    gpu.synchronize()?;
    take();
    problem.run(rt)?;
    gpu.synchronize()?;
    let launches = take();
    // Bytes at the element type of the main operands.
    let bytes = kernel.work(variant, shape).bytes * dtype.size() as u64 / 4;
    let moved: u64 = launches.iter().map(|launch| launch.bytes).sum();
    Ok(Counted { launches, traffic: moved as f64 / bytes.max(1) as f64 })
}
