//! Every kernel of the catalog against its f64 reference: every variant, type, instruction set and device, the listed odd
//! shapes and random ones; the same bits twice and on any number of threads.

mod devices;

use devices::{assert_no_reports, gpu};
use flg_kernels::catalog::{KERNELS, Kernel, Stored};
use flg_kernels::simd::Isa;
use flg_kernels::{DType, Runtime, normal};

/// Runs one problem and compares each output with the reference; the message can be pasted as a regression test.
fn check(kernel: &dyn Kernel, variant: &'static str, shape: &[usize], dtype: DType, rt: Runtime, seed: u64) {
    let at = || format!("{}/{variant} {shape:?} {dtype} {rt:?} seed {seed}", kernel.name());
    let mut problem = kernel.problem(variant, shape, dtype, seed);
    problem.move_to(&rt).and_then(|()| problem.run(&rt)).unwrap_or_else(|e| panic!("{}: {e}", at()));
    let first = problem.outputs();
    let expected = problem.expected();
    assert_eq!(first.len(), expected.len(), "{}: outputs against references", at());
    for ((name, got), want) in first.iter().zip(&expected) {
        assert_eq!(got.len(), want.value.len(), "{}: length of {name}", at());
        for (i, (&g, &w)) in got.iter().zip(&want.value).enumerate() {
            let bound = want.bound(i, dtype);
            assert!((g as f64 - w).abs() <= bound, "{}: {name}[{i}] = {g}, expected {w} within {bound:e}", at());
        }
    }
    problem.reset();
    problem.run(&rt).unwrap();
    assert_same_bits(&first, &problem.outputs(), &at());
    assert_no_reports(&at());
}

fn assert_same_bits(a: &[(&str, Vec<f32>)], b: &[(&str, Vec<f32>)], at: &str) {
    for ((name, a), (_, b)) in a.iter().zip(b) {
        let same = a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{at}: {name} differs");
    }
}

/// Everything that kernels run on here.
fn runtimes() -> Vec<Runtime> {
    Isa::available().map(Runtime::Cpu).chain(gpu()).collect()
}

fn for_every_row(mut body: impl FnMut(&dyn Kernel, &'static str, DType, Runtime)) {
    for kernel in KERNELS {
        for &variant in kernel.variants() {
            for &dtype in kernel.dtypes() {
                for rt in runtimes() {
                    body(*kernel, variant, dtype, rt);
                }
            }
        }
    }
}

#[test]
fn listed_shapes_agree_with_the_reference() {
    for_every_row(|kernel, variant, dtype, rt| {
        for shape in kernel.shapes() {
            check(kernel, variant, shape, dtype, rt, 1);
        }
    });
}

#[test]
fn random_shapes_agree_with_the_reference() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    for kernel in KERNELS {
        let extents: Vec<_> = kernel.limits().iter().map(|&limit| 0..=limit).collect();
        let variants = kernel.variants();
        let dtypes = kernel.dtypes();
        let runtimes: Vec<_> = [Runtime::cpu()].into_iter().chain(gpu()).collect();
        let strategy = (extents, 0..variants.len(), 0..dtypes.len(), any::<u64>());
        let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
        runner
            .run(&strategy, |(shape, variant, dtype, seed)| {
                for rt in &runtimes {
                    check(*kernel, variants[variant], &shape, dtypes[dtype], *rt, seed);
                }
                Ok(())
            })
            .unwrap_or_else(|e| panic!("{}: {e}", kernel.name()));
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let pools: Vec<_> =
        [1, 2, 3, 8].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap()).into_iter().collect();
    for kernel in KERNELS {
        for &variant in kernel.variants() {
            for shape in kernel.shapes().iter().chain(kernel.bench_shapes().first()) {
                let run = |pool: &rayon::ThreadPool| {
                    let mut problem = kernel.problem(variant, shape, DType::F32, 7);
                    pool.install(|| problem.run(&Runtime::cpu()).unwrap());
                    problem.outputs()
                };
                let one = run(&pools[0]);
                for pool in &pools[1..] {
                    let at = format!("{}/{variant} {shape:?}, {} threads", kernel.name(), pool.current_num_threads());
                    assert_same_bits(&one, &run(pool), &at);
                }
            }
        }
    }
}

/// A run may go on elsewhere: its noise is a function of position, whatever device makes it.
#[test]
fn random_numbers_have_the_same_bits_everywhere() {
    let key = normal::Key { seed: 0x0123_4567_89ab_cdef, stream: 42 };
    for (offset, len) in [(0, 4096), (3, 20_011), (5 << 34, 999), ((5 << 34) + 2, 1000)] {
        for dtype in [DType::F32, DType::Bf16] {
            let draw = |rt: &Runtime| {
                let mut outs = [(); 2].map(|()| Stored::unwritten(len, dtype).on(rt).unwrap());
                normal::normal(rt, normal::Args { out: outs[0].output(), key, offset }).unwrap();
                normal::uniform(rt, normal::Uniform { out: outs[1].output(), key, offset }).unwrap();
                [("normal", outs[0].f32()), ("uniform", outs[1].f32())]
            };
            let portable = draw(&Runtime::portable());
            for rt in runtimes() {
                assert_same_bits(&portable, &draw(&rt), &format!("{len} from {offset}, {dtype}, {rt:?}"));
            }
        }
    }
}

/// Kernels without a sum over many elements or an exponential have one order of operations, and where products and sums
/// are fused (everywhere but on the portable path) one result.
#[test]
fn plain_arithmetic_has_the_same_bits_everywhere() {
    const PLAIN: [&str; 8] = ["adamw", "cast", "elementwise", "gather", "lerp", "normal", "patchify", "rope"];
    let fused: Vec<_> = runtimes().into_iter().filter(|rt| *rt != Runtime::portable()).collect();
    let kernels: Vec<_> = KERNELS.iter().filter(|kernel| PLAIN.contains(&kernel.name())).collect();
    assert_eq!(kernels.len(), PLAIN.len());
    for kernel in kernels {
        for &variant in kernel.variants() {
            for (shape, &dtype) in
                kernel.shapes().iter().flat_map(|shape| kernel.dtypes().iter().map(move |d| (shape, d)))
            {
                let run = |rt: &Runtime| {
                    let mut problem = kernel.problem(variant, shape, dtype, 5);
                    problem.move_to(rt).and_then(|()| problem.run(rt)).unwrap();
                    problem.outputs()
                };
                let outputs: Vec<_> = fused.iter().map(run).collect();
                for (rt, other) in fused.iter().zip(&outputs).skip(1) {
                    let at = format!("{}/{variant} {shape:?} {dtype} {rt:?}", kernel.name());
                    assert_same_bits(&outputs[0], other, &at);
                }
            }
        }
    }
}

#[test]
fn the_catalog_is_well_formed() {
    let mut names: Vec<_> = KERNELS.iter().map(|k| k.name()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|w| w[0] != w[1]), "two rows share a name");
    for kernel in KERNELS {
        let extents = kernel.extents().len();
        assert_eq!(kernel.limits().len(), extents, "{}: limits", kernel.name());
        for shape in kernel.shapes().iter().chain(kernel.bench_shapes()) {
            assert_eq!(shape.len(), extents, "{}: {shape:?}", kernel.name());
        }
        assert!(kernel.shapes().iter().any(|s| s.contains(&1)), "{}: shapes must try 1", kernel.name());
        // A patch has at least one pixel; every other extent may be zero.
        for (i, extent) in kernel.extents().iter().enumerate().filter(|(_, extent)| **extent != "patch") {
            // Alone, so that no other zero makes the call return early.
            let alone = |s: &&[usize]| s.iter().enumerate().all(|(j, &n)| (n == 0) == (i == j));
            assert!(
                kernel.shapes().iter().copied().any(|s| alone(&s)),
                "{}: no shape with {extent} = 0",
                kernel.name()
            );
        }
    }
}

#[test]
fn every_kernel_folder_has_a_row() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/src");
    let folders = std::fs::read_dir(source).unwrap().map(|entry| entry.unwrap().path());
    let kernels: Vec<_> = folders.filter(|folder| folder.join("reference.rs").exists()).collect();
    assert!(!kernels.is_empty());
    for folder in kernels {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(KERNELS.iter().any(|k| k.name().starts_with(&name)), "{name} is in no row of the catalog");
    }
}
