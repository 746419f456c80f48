//! Kernels that work along rows, at widths that the catalog's references are too slow for, and at addresses at which no
//! vector may start. Every device against the plain path of the host.

mod devices;

use devices::gpu;
use flg_kernels::catalog::{KERNELS, Problem};
use flg_kernels::{DType, Runtime};

/// The catalog's rows that reduce along rows or down columns.
const NAMES: [&str; 6] = ["layer_norm", "layer_norm_modulate", "rms_norm", "softmax", "mse", "reduce"];

/// A part of a warp, a warp, a block, and more than a thread keeps; with vectors and without. Those with many rows are
/// summed down their columns in several chunks.
const SHAPES: [&[usize]; 6] = [&[300, 20], &[70, 130], &[40, 516], &[3, 1031], &[34, 5128], &[2, 5203]];

fn for_every_problem(shapes: &[&[usize]], mut body: impl FnMut(&str, &dyn Fn() -> Box<dyn Problem>, f64)) {
    let kernels = || KERNELS.iter().filter(|kernel| NAMES.contains(&kernel.name()));
    assert_eq!(kernels().count(), NAMES.len());
    for (kernel, shape) in kernels().flat_map(|kernel| shapes.iter().map(move |shape| (kernel, shape))) {
        for &variant in kernel.variants() {
            for &dtype in kernel.dtypes() {
                let at = format!("{}/{variant} {shape:?} {dtype}", kernel.name());
                body(&at, &|| kernel.problem(variant, shape, dtype, 5), tolerance(shape, dtype));
            }
        }
    }
}

/// Of two honest f32 sums over rows or columns, relative to the largest element of the output.
fn tolerance(shape: &[usize], dtype: DType) -> f64 {
    let terms = shape.iter().copied().max().unwrap_or(1);
    let rounding = if dtype == DType::Bf16 { 1.0 / 128.0 } else { 0.0 };
    8.0 * f64::from(f32::EPSILON) * (terms as f64).sqrt() + rounding
}

fn run(mut problem: Box<dyn Problem>, rt: &Runtime) -> Vec<(&'static str, Vec<f32>)> {
    problem.reset();
    problem.run(rt).unwrap();
    problem.outputs()
}

fn on(mut problem: Box<dyn Problem>, rt: &Runtime) -> Vec<(&'static str, Vec<f32>)> {
    problem.move_to(rt).unwrap();
    run(problem, rt)
}

#[test]
fn wide_rows_agree_with_the_plain_path() {
    for_every_problem(&SHAPES, |at, problem, tolerance| {
        let plain = on(problem(), &Runtime::portable());
        for rt in [Runtime::cpu()].into_iter().chain(gpu()) {
            for ((name, want), (_, got)) in plain.iter().zip(on(problem(), &rt)) {
                let largest = want.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                let bound = tolerance * f64::from(largest);
                assert!(largest.is_finite() && largest > 0.0 && got.len() == want.len(), "{at} {rt:?}: {name}");
                for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
                    let near = f64::from((got - want).abs()) <= bound;
                    assert!(near, "{at} {rt:?}: {name}[{i}] = {got}, expected {want} within {bound:e}");
                }
            }
        }
    });
}

/// The order of a sum depends on the shape, and not on where an operand lies.
#[cfg(feature = "cuda")]
#[test]
fn any_address_gives_the_same_bits() {
    use flg_kernels::catalog::Stored;
    let Some(Runtime::Cuda(gpu)) = gpu() else { panic!("the feature `cuda` has a GPU") };
    let rt = Runtime::Cuda(gpu);
    for_every_problem(&[&[7, 20], &[5, 516], &[1, 5128], &[3, 131]], |at, problem, _| {
        let aligned = on(problem(), &rt);
        // One operand after the other off its place, then all of them.
        let operands = problem().operands().len();
        for moved in 0..=operands {
            let mut problem = problem();
            for (i, operand) in problem.operands().into_iter().enumerate() {
                let first = usize::from(i == moved || moved == operands);
                *operand = std::mem::replace(operand, Stored::F32(Vec::new())).on_gpu(gpu, first).unwrap();
            }
            for ((name, want), (_, got)) in aligned.iter().zip(run(problem, &rt)) {
                let same = got.len() == want.len() && got.iter().zip(want).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{at}: {name} depends on the address of operand {moved}");
            }
        }
    });
}
