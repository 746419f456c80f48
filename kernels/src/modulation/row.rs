//! The catalog's row of the modulation vectors.

use super::{Backward, Forward, OP, backward, forward, reference};
use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, central_differences, operands};
use crate::{DType, Runtime};

/// The catalog row.
#[derive(Debug)]
pub struct Row;

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "y[s, g, :] = table[s, :] + projection[g, s * width ..]"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["forward", "backward"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["slots", "groups", "width"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[&[0, 2, 3], &[6, 0, 3], &[2, 3, 0], &[1, 1, 1], &[6, 1, 7], &[2, 5, 13], &[6, 3, 64], &[3, 17, 29]]
    }
    fn limits(&self) -> &'static [usize] {
        &[7, 5, 20]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[6, 4, 1536], &[6, 1024, 384]]
    }
    fn work(&self, _variant: &str, shape: &[usize]) -> Work {
        let n = shape.iter().product::<usize>() as u64;
        Work { flops: n, bytes: 8 * n }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let &[slots, groups, width] = shape else { unreachable!("three extents above") };
        let dims = [slots, groups, width];
        if variant == "forward" { forward_problem(dims, dtype, seed) } else { backward_problem(dims, dtype, seed) }
    }
}

fn forward_problem(dims: [usize; 3], dtype: DType, seed: u64) -> Box<dyn Problem> {
    let [slots, groups, width] = dims;
    let n = slots * groups * width;
    let inputs = [(0, slots * width), (1, n)].map(|(stream, len)| Stored::new(operands(seed, stream, len), dtype));
    let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
        let (table, projection) = (inputs[0].input(), inputs[1].input());
        forward(rt, Forward { table, projection, y: outputs[0].output(), slots, groups, width })
    };
    Case::boxed(inputs.into(), vec![("y", Stored::unwritten(n, dtype))], call, move |inputs| {
        // One addition of two stored numbers: rounded once.
        vec![Expected::pointwise(reference::forward(&inputs[0].f64(), &inputs[1].f64(), dims), 1e-7, 0.0)]
    })
}

fn backward_problem(dims: [usize; 3], dtype: DType, seed: u64) -> Box<dyn Problem> {
    let [slots, groups, width] = dims;
    let n = slots * groups * width;
    let initial = operands(seed, 1, slots * width);
    let outputs = vec![("dtable", Stored::F32(initial.clone())), ("dprojection", Stored::unwritten(n, dtype))];
    let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
        let [dtable, dprojection] = outputs else { unreachable!("two outputs above") };
        let (dtable_acc, dprojection) = (dtable.output(), dprojection.output());
        backward(rt, Backward { dy: inputs[0].input(), dtable_acc, dprojection, slots, groups, width })
    };
    let inputs = vec![Stored::new(operands(seed, 0, n), dtype)];
    Case::boxed(inputs, outputs, call, move |inputs| expected_backward(&inputs[0].f64(), &initial, dims))
}

/// Columns are independent, so each has its own differences: over its table entries and then its projections.
fn expected_backward(dy: &[f64], initial: &[f32], [slots, groups, width]: [usize; 3]) -> Vec<Expected> {
    let mut dtable: Vec<f64> = initial.iter().map(|&v| v as f64).collect();
    let mut scale: Vec<f64> = dtable.iter().map(|v| v.abs()).collect();
    let mut dprojection = vec![0.0; slots * groups * width];
    for j in 0..width {
        let column: Vec<f64> = (0..slots * groups).map(|row| dy[row * width + j]).collect();
        let here = vec![0.0; slots + slots * groups];
        let gradient = central_differences(&here, |v| {
            let y = reference::forward(&v[..slots], &v[slots..], [slots, groups, 1]);
            y.iter().zip(&column).map(|(y, dy)| y * dy).sum()
        });
        for s in 0..slots {
            dtable[s * width + j] += gradient[s];
            scale[s * width + j] += column[s * groups..(s + 1) * groups].iter().map(|v| v.abs()).sum::<f64>();
        }
        for (row, d) in gradient[slots..].iter().enumerate() {
            dprojection[row * width + j] = *d;
        }
    }
    vec![
        Expected::reduction(dtable, scale, groups).stored_in_f32(),
        // A copy, but for the differences' own rounding.
        Expected { roundings: 0, ..Expected::pointwise(dprojection, 1e-9, 1e-9) },
    ]
}
