//! Kernels that work along rows, at widths that the catalog's references are too slow for, and at addresses at which no
//! vector may start. Every device against the plain path of the host.

mod devices;
mod wide;

use devices::gpu;
use flg_kernels::Runtime;
use flg_kernels::catalog::{KERNELS, Problem};
use wide::{NAMES, SHAPES, on, tolerance};

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
            for ((name, want), (_, got)) in aligned.iter().zip(wide::run(problem, &rt)) {
                let same = got.len() == want.len() && got.iter().zip(want).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{at}: {name} depends on the address of operand {moved}");
            }
        }
    });
}
