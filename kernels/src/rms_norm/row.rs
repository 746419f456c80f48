//! The catalog's row of root-mean-square normalisation.

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
        "y = x * rstd * weight, rstd = 1 / sqrt(mean(x^2) + eps)"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["forward", "backward"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["rows", "width"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[&[0, 3], &[4, 0], &[1, 1], &[6, 7], &[7, 64], &[14, 131], &[393, 67]]
    }
    fn limits(&self) -> &'static [usize] {
        &[12, 70]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[4096, 384]]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n = (shape[0] * shape[1]) as u64;
        if variant == "forward" { Work { flops: 4 * n, bytes: 8 * n } } else { Work { flops: 12 * n, bytes: 12 * n } }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let (rows, width) = (shape[0], shape[1]);
        if variant == "forward" {
            forward_problem(rows, width, dtype, seed)
        } else {
            backward_problem(rows, width, dtype, seed)
        }
    }
}

fn forward_problem(rows: usize, width: usize, dtype: DType, seed: u64) -> Box<dyn Problem> {
    const EPS: f32 = 1e-6;
    let inputs = [(0, rows * width), (1, width)].map(|(i, len)| Stored::new(operands(seed, i, len), dtype));
    let outputs = vec![("y", Stored::unwritten(rows * width, dtype)), ("rstd", Stored::unwritten(rows, DType::F32))];
    let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
        let [y, rstd] = outputs else { unreachable!("two outputs above") };
        let (x, weight) = (inputs[0].input(), inputs[1].input());
        forward(rt, Forward { x, weight, y: y.output(), rstd: rstd.output(), rows, width, eps: EPS, rotation: None })
    };
    Case::boxed(inputs.into(), outputs, call, move |inputs| {
        let (x, weight) = (inputs[0].f64(), inputs[1].f64());
        let row = |r| reference::forward(&x[r * width..][..width], &weight, EPS as f64);
        let (y, rstd): (Vec<_>, Vec<_>) = (0..rows).map(row).unzip();
        // No term cancels: every result is known relative to itself.
        let reduction = |value: Vec<f64>| {
            let scale = value.iter().map(|v| v.abs()).collect();
            Expected::reduction(value, scale, width)
        };
        vec![reduction(y.concat()), reduction(rstd).stored_in_f32()]
    })
}

/// Large, so that central differences with step 1e-5 are exact to 1e-8 for rows near zero too.
const BACKWARD_EPS: f64 = 1e-2;

fn backward_problem(rows: usize, width: usize, dtype: DType, seed: u64) -> Box<dyn Problem> {
    let [x, weight, dy] = [(0, rows * width), (1, width), (2, rows * width)]
        .map(|(stream, len)| Stored::new(operands(seed, stream, len), dtype));
    let (wide, ones) = (x.f64(), vec![1.0; width]);
    let rstd = |r| reference::forward(&wide[r * width..][..width], &ones, BACKWARD_EPS).1 as f32;
    let inputs = vec![x, weight, Stored::F32((0..rows).map(rstd).collect()), dy];
    let initial = operands(seed, 3, width);
    let outputs = vec![("dx", Stored::unwritten(rows * width, dtype)), ("dweight", Stored::F32(initial.clone()))];
    let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
        let [dx, dweight] = outputs else { unreachable!("two outputs above") };
        let [x, weight, rstd, dy] = [0, 1, 2, 3].map(|i: usize| inputs[i].input());
        let (dx, dweight_acc) = (dx.output(), dweight.output());
        backward(rt, Backward { x, weight, rstd, dy, dx, dweight_acc, rows, width, rotation: None })
    };
    Case::boxed(inputs, outputs, call, move |inputs| expected_backward(inputs, &initial, rows, width))
}

fn expected_backward(inputs: &[Stored], initial: &[f32], rows: usize, width: usize) -> Vec<Expected> {
    let (x, weight, dy) = (inputs[0].f64(), inputs[1].f64(), inputs[3].f64());
    let (mut dx, mut dx_scale) = (Vec::new(), Vec::new());
    let mut dweight: Vec<f64> = initial.iter().map(|&v| v as f64).collect();
    let mut dweight_scale: Vec<f64> = dweight.iter().map(|v| v.abs()).collect();
    for row in 0..rows {
        let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
        let gradient = central_differences(&[x, &weight].concat(), |v| {
            let (y, _) = reference::forward(&v[..width], &v[width..], BACKWARD_EPS);
            y.iter().zip(dy).map(|(y, dy)| y * dy).sum()
        });
        dx.extend_from_slice(&gradient[..width]);
        let (_, rstd) = reference::forward(x, &weight, BACKWARD_EPS);
        let terms = (0..width).map(|j| (dy[j] * weight[j] * x[j] * rstd).abs());
        let product = terms.sum::<f64>() / width.max(1) as f64;
        for j in 0..width {
            let xhat = (x[j] * rstd).abs();
            dx_scale.push(rstd * ((dy[j] * weight[j]).abs() + xhat * product));
            dweight[j] += gradient[width + j];
            dweight_scale[j] += dy[j].abs() * xhat;
        }
    }
    vec![Expected::reduction(dx, dx_scale, width), Expected::reduction(dweight, dweight_scale, rows).stored_in_f32()]
}
