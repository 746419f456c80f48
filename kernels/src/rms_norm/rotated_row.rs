//! The catalog's row of normalisation and rotation in one pass.

use super::{Backward, Forward, Rotation, backward, forward, reference};
use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, central_differences, operands};
use crate::rope::{Dims, reference::rotate};
use crate::{DType, Runtime};

/// The catalog row.
#[derive(Debug)]
pub struct RotatedRow;

impl Kernel for RotatedRow {
    fn name(&self) -> &'static str {
        "rms_norm_rope"
    }
    fn formula(&self) -> &'static str {
        "y = rotate(x * rstd * weight), rstd = 1 / sqrt(mean(x^2) + eps)"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["forward", "backward"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["batch", "tokens", "heads", "pairs"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[
            &[0, 3, 2, 4],
            &[2, 0, 3, 4],
            &[2, 3, 0, 4],
            &[2, 3, 2, 0],
            &[1, 1, 1, 1],
            &[2, 3, 5, 7],
            &[2, 5, 2, 7],
            &[3, 17, 2, 32],
            &[2, 197, 3, 11],
        ]
    }
    fn limits(&self) -> &'static [usize] {
        &[3, 7, 4, 9]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[1, 4096, 6, 32]]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n = 2 * shape.iter().product::<usize>() as u64;
        let tables = 8 * (shape[1] * shape[3]) as u64;
        let (flops, bytes) = if variant == "forward" { (7, 8) } else { (15, 12) };
        Work { flops: flops * n, bytes: bytes * n + tables }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let &[batch, tokens, heads, pairs] = shape else { unreachable!("four extents above") };
        let dims = Dims { batch, tokens, heads, width: 2 * pairs };
        if variant == "forward" { forward_problem(dims, dtype, seed) } else { backward_problem(dims, dtype, seed) }
    }
}

/// Rows and their width.
fn extents(dims: Dims) -> (usize, usize) {
    (dims.batch * dims.tokens, dims.heads * dims.width)
}

/// `x`, `weight`, `cos`, `sin`. The tables are not on the unit circle: the kernel must not assume it.
fn inputs(dims: Dims, dtype: DType, seed: u64) -> Vec<Stored> {
    let (rows, width) = extents(dims);
    let table = |stream| Stored::F32(operands(seed, stream, dims.tokens * dims.width / 2));
    let [x, weight] = [(0, rows * width), (1, width)].map(|(i, len)| Stored::new(operands(seed, i, len), dtype));
    vec![x, weight, table(2), table(3)]
}

fn rotation(inputs: &[Stored], dims: Dims) -> Rotation<'_> {
    Rotation { cos: inputs[2].input(), sin: inputs[3].input(), dims }
}

/// The angles of the pairs of one row, as `(cos, sin)`.
fn angles<'a>(cos: &'a [f64], sin: &'a [f64], dims: Dims, row: usize) -> impl Iterator<Item = (f64, f64)> + 'a {
    let pairs = dims.width / 2;
    let of_token = row % dims.tokens * pairs;
    (0..dims.heads * pairs).map(move |i| (cos[of_token + i % pairs], sin[of_token + i % pairs]))
}

/// One row, turned.
fn turned(row: &[f64], angles: impl Iterator<Item = (f64, f64)>) -> Vec<f64> {
    row.chunks_exact(2).zip(angles).flat_map(|(pair, (c, s))| rotate([pair[0], pair[1]], c, s)).collect()
}

/// The magnitudes of the two terms of each element of [`turned`], added up; the same for either direction.
fn magnitudes(row: &[f64], angles: impl Iterator<Item = (f64, f64)>) -> Vec<f64> {
    let pairs = row.chunks_exact(2).zip(angles).map(|(pair, (c, s))| {
        let [a, b, c, s] = [pair[0], pair[1], c, s].map(f64::abs);
        [a * c + b * s, a * s + b * c]
    });
    pairs.flatten().collect()
}

fn forward_problem(dims: Dims, dtype: DType, seed: u64) -> Box<dyn Problem> {
    const EPS: f32 = 1e-6;
    let (rows, width) = extents(dims);
    let outputs = vec![("y", Stored::unwritten(rows * width, dtype)), ("rstd", Stored::unwritten(rows, DType::F32))];
    let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
        let [y, rstd] = outputs else { unreachable!("two outputs above") };
        let (x, weight, rotation) = (inputs[0].input(), inputs[1].input(), Some(rotation(inputs, dims)));
        forward(rt, Forward { x, weight, y: y.output(), rstd: rstd.output(), rows, width, eps: EPS, rotation })
    };
    Case::boxed(inputs(dims, dtype, seed), outputs, call, move |inputs| {
        let [x, weight, cos, sin] = [0, 1, 2, 3].map(|i: usize| inputs[i].f64());
        let (mut y, mut scale, mut rstds) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows {
            let (normalised, rstd) = reference::forward(&x[row * width..][..width], &weight, EPS.into());
            y.extend(turned(&normalised, angles(&cos, &sin, dims, row)));
            scale.extend(magnitudes(&normalised, angles(&cos, &sin, dims, row)));
            rstds.push(rstd);
        }
        let rstd = Expected::reduction(rstds.clone(), rstds, width).stored_in_f32();
        vec![Expected::reduction(y, scale, width + 2), rstd]
    })
}

/// Large, so that central differences with step 1e-5 are exact to 1e-8 for rows near zero too.
const BACKWARD_EPS: f64 = 1e-2;

fn backward_problem(dims: Dims, dtype: DType, seed: u64) -> Box<dyn Problem> {
    let (rows, width) = extents(dims);
    let mut inputs = inputs(dims, dtype, seed);
    let (wide, ones) = (inputs[0].f64(), vec![1.0; width]);
    let rstd = |row| reference::forward(&wide[row * width..][..width], &ones, BACKWARD_EPS).1 as f32;
    inputs.push(Stored::F32((0..rows).map(rstd).collect()));
    inputs.push(Stored::new(operands(seed, 4, rows * width), dtype));
    let initial = operands(seed, 5, width);
    let outputs = vec![("dx", Stored::unwritten(rows * width, dtype)), ("dweight", Stored::F32(initial.clone()))];
    let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
        let [dx, dweight] = outputs else { unreachable!("two outputs above") };
        let [x, weight, rstd, dy] = [0, 1, 4, 5].map(|i: usize| inputs[i].input());
        let (dx, dweight_acc, rotation) = (dx.output(), dweight.output(), Some(rotation(inputs, dims)));
        backward(rt, Backward { x, weight, rstd, dy, dx, dweight_acc, rows, width, rotation })
    };
    Case::boxed(inputs, outputs, call, move |inputs| expected_backward(inputs, &initial, dims))
}

fn expected_backward(inputs: &[Stored], initial: &[f32], dims: Dims) -> Vec<Expected> {
    let (rows, width) = extents(dims);
    let [x, weight, cos, sin, dy] = [0, 1, 2, 3, 5].map(|i: usize| inputs[i].f64());
    let (mut dx, mut dx_scale) = (Vec::new(), Vec::new());
    let mut dweight: Vec<f64> = initial.iter().map(|&v| v as f64).collect();
    let mut dweight_scale: Vec<f64> = dweight.iter().map(|v| v.abs()).collect();
    for row in 0..rows {
        let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
        let gradient = central_differences(&[x, &weight].concat(), |v| {
            let (normalised, _) = reference::forward(&v[..width], &v[width..], BACKWARD_EPS);
            turned(&normalised, angles(&cos, &sin, dims, row)).iter().zip(dy).map(|(y, dy)| y * dy).sum()
        });
        dx.extend_from_slice(&gradient[..width]);
        // The gradient of the normalised row has these magnitudes; from there on it is the norm's own backward pass.
        let d = magnitudes(dy, angles(&cos, &sin, dims, row));
        let (_, rstd) = reference::forward(x, &weight, BACKWARD_EPS);
        let product = (0..width).map(|j| d[j] * (weight[j] * x[j] * rstd).abs()).sum::<f64>() / width.max(1) as f64;
        for j in 0..width {
            let xhat = (x[j] * rstd).abs();
            dx_scale.push(rstd * (d[j] * weight[j].abs() + xhat * product));
            dweight[j] += gradient[width + j];
            dweight_scale[j] += d[j] * xhat;
        }
    }
    let dweight = Expected::reduction(dweight, dweight_scale, rows + 2).stored_in_f32();
    vec![Expected::reduction(dx, dx_scale, width + 2), dweight]
}
