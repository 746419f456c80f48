//! What kernels do on a GPU: instructions, memory traffic and bank conflicts counted by the emulated driver, and the bound
//! on time that follows for an A100 and an H100. On a real GPU, time.
//!
//!     .ci/emulated cargo bench --features cuda --bench gpu
//!     .ci/emulated cargo bench --features cuda --bench gpu -- gpu/gemm
//!
//! A bound says that a kernel can not be faster, not how fast it is.

mod bound;
mod counted;
#[expect(dead_code, reason = "tests need more of it")]
#[path = "../../tests/devices/emulator.rs"]
mod emulator;
mod launches;

use std::time::Instant;

use flg_kernels::catalog::{KERNELS, Kernel};
use flg_kernels::{DType, Runtime};

use self::bound::{A100, H100};
use self::counted::{count, largest_shape};

/// Operations, or elements, beyond which an emulated call would take minutes.
const LIMIT: u64 = 1 << 28;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).unwrap_or_default();
    let rt = match Runtime::cuda(0) {
        Ok(rt) => rt,
        Err(error) => {
            eprintln!("error: no GPU, real or emulated: {error}");
            std::process::exit(2);
        }
    };
    let Runtime::Cuda(gpu) = rt else { unreachable!("a GPU was asked for") };
    println!("{}", gpu.name());
    if gpu.is_emulated() {
        emulator::count_everything();
        println!("counted, not timed; a bound is the least time that the counts allow, not a measurement\n");
    }
    for kernel in KERNELS {
        for &variant in kernel.variants() {
            for &dtype in kernel.dtypes() {
                let name = format!("gpu/{}/{variant}/{dtype}", kernel.name());
                if name.contains(&filter) {
                    row(&name, *kernel, variant, dtype, &rt);
                }
            }
        }
    }
}

fn row(name: &str, kernel: &dyn Kernel, variant: &'static str, dtype: DType, rt: &Runtime) {
    let Runtime::Cuda(gpu) = rt else { return };
    let Some(shape) = largest_shape(kernel, variant, if gpu.is_emulated() { LIMIT } else { u64::MAX }) else { return };
    let extents = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    if gpu.is_emulated() {
        match count(kernel, variant, shape, dtype, rt) {
            Ok(counted) => {
                for launch in &counted.launches {
                    println!("{}", launch.line(&format!("{name}/{extents}"), &[&A100, &H100]));
                }
                println!("{:>56} {:.2} times the bytes that must move", "", counted.traffic);
            }
            Err(error) => println!("{name}/{extents}: {error}"),
        }
        return;
    }
    let mut problem = kernel.problem(variant, shape, dtype, 1);
    if let Err(error) = problem.move_to(rt).and_then(|()| problem.run(rt)).and_then(|()| gpu.synchronize()) {
        println!("{name}/{extents}: {error}");
        return;
    }
    // Enough calls that starting them does not count.
    const CALLS: u32 = 20;
    let started = Instant::now();
    for _ in 0..CALLS {
        problem.run(rt).expect("it ran before");
    }
    gpu.synchronize().expect("it ran before");
    let seconds = started.elapsed().as_secs_f64() / f64::from(CALLS);
    let work = kernel.work(variant, shape);
    let (rate, traffic) = (work.flops as f64 / seconds / 1e9, work.bytes as f64 / seconds / 1e9);
    println!("{name}/{extents}: {:.1} us, {rate:.0} GFLOP/s, {traffic:.0} GB/s", seconds * 1e6);
}
