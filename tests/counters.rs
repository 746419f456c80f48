//! What kernels do on a GPU, as the emulated driver counts it: how they access memory, and the bound on their time that
//! follows for an A100. Counts, not times: a bound says that a kernel can not be faster, not how fast it is.
//!
//!     .ci/emulated cargo test --features cuda --test counters -- --nocapture

#[path = "../benches/gpu/bound.rs"]
mod bound;
#[path = "../benches/gpu/counted.rs"]
mod counted;
mod devices;
#[path = "../benches/gpu/launches.rs"]
mod launches;

use std::sync::{Mutex, MutexGuard, PoisonError};

use devices::emulator;
use flg_kernels::catalog::{KERNELS, Kernel};
use flg_kernels::runtime::cuda::COMPILED;
use flg_kernels::{DType, Runtime};

use bound::{A100, H100};
use counted::{Counted, count, largest_shape};

/// Operations or elements of a call, at most.
const LIMIT: u64 = 1 << 26;

/// Kernels that touch more than 1.05 times the sectors that their bytes fit into, and why.
const SCATTERED: &[(&str, f64, &str)] = &[
    ("patchify", 4.6, "gathers pairs of pixels; what shares a sector is read by the same block, and comes from L1"),
    ("unpatchify", 8.6, "gathers elements of neighbouring tokens, as above"),
    ("softmax_forward_scalars", 1.5, "rows of 257 elements begin anywhere in a sector"),
    ("strided_copy", 1.8, "the part that is copied has gaps between lines that begin anywhere in a sector"),
    ("conv", 1.46, "5 channels a pixel, which begin anywhere in a sector; with 96 it is 1.0"),
    ("gemm_panels", 1.26, "terms of 5 channels, as above"),
    ("regroup_average", 1.51, "groups of channels that are no whole sectors"),
    ("regroup_duplicate", 1.34, "groups of channels that are no whole sectors"),
];

/// Kernels that take more than 1.05 times the passes through shared memory, and why.
const CONFLICTING: &[(&str, f64, &str)] =
    &[("conv", 1.9, "not tuned: a tile of pixels is written across the banks that it is read along")];

/// Variants that move more than 1.1 times the bytes that must move, and why.
const HEAVY: &[(&str, f64, &str)] = &[
    ("strided_copy/part", 1.6, "sectors at both ends of each line of the part belong to others as well"),
    ("conv/causal", 2.7, WINDOWS),
    ("conv/causal_residual", 2.7, WINDOWS),
    ("conv/causal_first", 5.9, WINDOWS),
    ("conv/causal_absent", 1.3, WINDOWS),
    ("conv/time", 1.7, WINDOWS),
    ("conv/upsample", 2.6, WINDOWS),
    ("conv/downsample", 1.7, WINDOWS),
];

/// The convolution is not tuned for GPUs.
const WINDOWS: &str = "blocks of output channels read the pixels again, and weights are laid out in panels first";

/// Counters belong to the process, in which tests run side by side: who counts holds this.
static COUNTERS: Mutex<()> = Mutex::new(());

/// The emulated GPU, which counts everything for who holds the guard; none on a real one.
fn counting() -> Option<(Runtime, MutexGuard<'static, ()>)> {
    let guard = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    let rt = devices::gpu().expect("built with the feature `cuda`");
    emulator::count_everything()?;
    Some((rt, guard))
}

fn row(name: &str) -> &'static dyn Kernel {
    *KERNELS.iter().find(|kernel| kernel.name() == name).expect("a row of the catalog")
}

/// What a table allows `name`, or else what is usual.
fn allowed(table: &[(&str, f64, &str)], name: &str, usual: f64) -> f64 {
    table.iter().find(|(listed, ..)| *listed == name).map_or(usual, |(_, most, _)| *most)
}

/// All kernels but products and attention, which have tests of their own: sectors of each launch at both types, and in
/// f32, for which the catalog says how many bytes must move, those of a call.
#[test]
fn memory_is_accessed_in_whole_sectors_and_once() {
    let Some((rt, _alone)) = counting() else { return };
    let mut wrong = Vec::new();
    for kernel in KERNELS.iter().filter(|kernel| !["gemm", "attention"].contains(&kernel.name())) {
        for &variant in kernel.variants() {
            let Some(shape) = largest_shape(*kernel, variant, LIMIT) else { continue };
            for &dtype in kernel.dtypes() {
                let Counted { launches, traffic } = count(*kernel, variant, shape, dtype, &rt).unwrap();
                let name = format!("{}/{variant}", kernel.name());
                println!("{name} {shape:?} {dtype}: {traffic:.3} of the bytes");
                if dtype == DType::F32 && traffic > allowed(HEAVY, &name, 1.1) {
                    wrong.push(format!("{name} {shape:?}: {traffic:.3} times the bytes"));
                }
                for launch in launches {
                    let (sectors, entry) = (launch.sectors(), &launch.kernel);
                    println!("    {entry}: sectors {sectors:.3}, wavefronts {:.3}", launch.wavefronts());
                    if sectors > allowed(SCATTERED, entry, 1.05) {
                        wrong.push(format!("{name} {shape:?} {dtype} {entry}: {sectors:.3} times the sectors"));
                    }
                    if launch.wavefronts() > allowed(CONFLICTING, entry, 1.05) {
                        wrong.push(format!("{name} {shape:?} {dtype} {entry}: {:.3} wavefronts", launch.wavefronts()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A kernel on tensor cores at a shape of one full wave on an A100, and the share of the peak of `mma.sync` that its
/// bound is at least.
struct Peak {
    name: &'static str,
    variant: &'static str,
    shape: &'static [usize],
    share: f64,
}

const PEAKS: [Peak; 5] = [
    Peak { name: "gemm", variant: "nn", shape: &[1, 1536, 1024, 2304], share: 0.8 },
    Peak { name: "gemm", variant: "nt", shape: &[1, 1536, 1024, 2304], share: 0.8 },
    Peak { name: "gemm", variant: "tn", shape: &[1, 1536, 1024, 2304], share: 0.8 },
    Peak { name: "attention", variant: "forward", shape: &[1, 12, 2304, 512, 128], share: 0.65 },
    Peak { name: "attention", variant: "forward", shape: &[1, 18, 2304, 512, 64], share: 0.65 },
];

#[test]
fn tensor_cores_bound_products_and_attention() {
    let Some((rt, _alone)) = counting() else { return };
    let mut wrong = Vec::new();
    for Peak { name, variant, shape, share } in PEAKS {
        let Counted { launches, .. } = count(row(name), variant, shape, DType::Bf16, &rt).unwrap();
        for launch in &launches {
            println!("{}", launch.line(&format!("{name}/{variant} {shape:?}"), &[&A100, &H100]));
        }
        let [launch] = &launches[..] else { panic!("{} launches", launches.len()) };
        let bound = A100.bound(launch);
        if bound.tensor_share < share {
            wrong.push(format!("{name}/{variant} {shape:?}: {:.3} of the peak by {}", bound.tensor_share, bound.unit));
        }
        // All but the way of sums to `c`, which goes through shared memory once a block.
        if launch.wavefronts() > 1.005 {
            wrong.push(format!("{name}/{variant} {shape:?}: {:.4} wavefronts", launch.wavefronts()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Registers of a thread that had to go to memory.
#[test]
fn nothing_spills() {
    for folder in COMPILED {
        for (architecture, report) in folder.reports.iter().filter(|(name, _)| ["sm_80", "sm_90"].contains(name)) {
            let spills: Vec<&str> = report.lines().filter(|line| line.contains("bytes spill")).collect();
            assert!(!spills.is_empty(), "{}: {report}", folder.name);
            for line in spills {
                let clean = line.contains(" 0 bytes spill stores, 0 bytes spill loads");
                assert!(clean, "{} on {architecture}: {line}", folder.name);
            }
        }
    }
}
