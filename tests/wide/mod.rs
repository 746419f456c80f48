//! Problems of kernels that work along rows, at widths that the catalog's references are too slow for.

use flg_kernels::catalog::Problem;
use flg_kernels::{DType, Runtime};

/// The catalog's rows that reduce along rows or down columns.
pub const NAMES: [&str; 7] = ["layer_norm", "layer_norm_modulate", "rms_norm", "softmax", "mse", "reduce", "unit_norm"];

/// A part of a warp, a warp, a block, and more than a thread keeps; with vectors and without. Those with many rows are
/// summed down their columns in several chunks.
pub const SHAPES: [&[usize]; 6] = [&[300, 20], &[70, 130], &[40, 516], &[3, 1031], &[34, 5128], &[2, 5203]];

/// Of two honest f32 sums over rows or columns, relative to the largest element of the output.
pub fn tolerance(shape: &[usize], dtype: DType) -> f64 {
    let terms = shape.iter().copied().max().unwrap_or(1);
    let rounding = if dtype == DType::Bf16 { 1.0 / 128.0 } else { 0.0 };
    8.0 * f64::from(f32::EPSILON) * (terms as f64).sqrt() + rounding
}

/// The results of a problem where its operands are.
pub fn run(mut problem: Box<dyn Problem>, rt: &Runtime) -> Vec<(&'static str, Vec<f32>)> {
    problem.reset();
    problem.run(rt).unwrap();
    problem.outputs()
}

/// The results of a problem that is moved to `rt`.
pub fn on(mut problem: Box<dyn Problem>, rt: &Runtime) -> Vec<(&'static str, Vec<f32>)> {
    problem.move_to(rt).unwrap();
    run(problem, rt)
}
