//! The catalog's two rows of layer normalisation: as `torch.nn.LayerNorm`, and with a modulation in groups of rows.

use super::{Backward, Forward, backward, forward, reference};
use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, central_differences, operands};
use crate::{DType, In, Runtime};

/// A catalog row.
#[derive(Debug)]
pub struct Row {
    name: &'static str,
    formula: &'static str,
    variants: &'static [&'static str],
}

/// With weight and bias for all rows, and without any.
pub const AFFINE: Row = Row {
    name: "layer_norm",
    formula: "y = (x - mean) * rstd * weight + bias",
    variants: &["forward", "backward", "forward_plain", "backward_plain"],
};

/// With a scale and a shift for all rows, for each of several groups, and for each row.
pub const MODULATED: Row = Row {
    name: "layer_norm_modulate",
    formula: "y = (x - mean) * rstd * (1 + scale[g]) + shift[g]",
    variants: &["forward", "backward", "forward_grouped", "backward_grouped", "forward_per_row", "backward_per_row"],
};

impl Kernel for Row {
    fn name(&self) -> &'static str {
        self.name
    }
    fn formula(&self) -> &'static str {
        self.formula
    }
    fn variants(&self) -> &'static [&'static str] {
        self.variants
    }
    fn extents(&self) -> &'static [&'static str] {
        &["rows", "width"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        // The last one is summed in pieces: 393 rows of one group, and 3 groups of 131.
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
        let setup = Setup::new(self.name == MODULATED.name, variant, shape);
        let parameters = if setup.affine { setup.parameters() as u64 } else { 0 };
        if variant.starts_with("forward") {
            Work { flops: 8 * n, bytes: 8 * n + 8 * parameters }
        } else {
            // The weight is read, and two accumulators are read and written.
            Work { flops: 17 * n, bytes: 12 * n + 20 * parameters }
        }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let setup = Setup::new(self.name == MODULATED.name, variant, shape);
        if variant.starts_with("forward") { setup.forward(dtype, seed) } else { setup.backward(dtype, seed) }
    }
}

/// What a variant makes of a shape.
#[derive(Clone, Copy)]
struct Setup {
    rows: usize,
    width: usize,
    rows_per_group: usize,
    weight_offset: f32,
    affine: bool,
}

impl Setup {
    fn new(modulated: bool, variant: &str, shape: &[usize]) -> Self {
        let (rows, width) = (shape[0], shape[1]);
        let rows_per_group = if variant.ends_with("grouped") {
            // As many groups as the smallest prime factor of the rows.
            rows / (2..=rows).find(|d| rows.is_multiple_of(*d)).unwrap_or(1)
        } else if variant.ends_with("per_row") {
            1
        } else {
            rows
        };
        let weight_offset = if modulated { 1.0 } else { 0.0 };
        Setup { rows, width, rows_per_group, weight_offset, affine: !variant.ends_with("plain") }
    }

    fn parameters(&self) -> usize {
        if self.rows == 0 { 0 } else { self.rows / self.rows_per_group * self.width }
    }

    fn option<'a>(&self, x: &'a Stored) -> Option<In<'a>> {
        self.affine.then(|| x.input())
    }

    /// Factors and shifts of `row` for the reference.
    fn row_parameters(&self, weight: &[f64], bias: &[f64], row: usize) -> (Vec<f64>, Vec<f64>) {
        if !self.affine {
            return (vec![1.0; self.width], vec![0.0; self.width]);
        }
        let own = row / self.rows_per_group * self.width..(row / self.rows_per_group + 1) * self.width;
        (weight[own.clone()].iter().map(|w| w + self.weight_offset as f64).collect(), bias[own].to_vec())
    }

    fn forward(self, dtype: DType, seed: u64) -> Box<dyn Problem> {
        const EPS: f32 = 1e-6;
        let Setup { rows, width, rows_per_group, weight_offset, .. } = self;
        let input = |stream, len| Stored::new(operands(seed, stream, len), dtype);
        let inputs = vec![input(0, rows * width), input(1, self.parameters()), input(2, self.parameters())];
        let outputs = vec![
            ("y", Stored::unwritten(rows * width, dtype)),
            ("mean", Stored::unwritten(rows, DType::F32)),
            ("rstd", Stored::unwritten(rows, DType::F32)),
        ];
        let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
            let [y, mean, rstd] = outputs else { unreachable!("three outputs above") };
            let (weight, bias) = (self.option(&inputs[1]), self.option(&inputs[2]));
            let (y, mean, rstd) = (y.output(), mean.output(), rstd.output());
            let x = inputs[0].input();
            forward(
                rt,
                Forward { x, weight, bias, y, mean, rstd, rows, width, rows_per_group, weight_offset, eps: EPS },
            )
        };
        Case::boxed(inputs, outputs, call, move |inputs| self.expected_forward(inputs, EPS as f64))
    }

    fn expected_forward(&self, inputs: &[Stored], eps: f64) -> Vec<Expected> {
        let (x, weight, bias) = (inputs[0].f64(), inputs[1].f64(), inputs[2].f64());
        let [mut y, mut y_scale, mut mean, mut mean_scale, mut rstd, mut rstd_scale] = [(); 6].map(|()| Vec::new());
        for row in 0..self.rows {
            let x = &x[row * self.width..][..self.width];
            let (factor, shift) = self.row_parameters(&weight, &bias, row);
            let normalised = reference::forward(x, &factor, &shift, eps);
            let magnitude = x.iter().map(|x| x.abs()).sum::<f64>() / self.width.max(1) as f64;
            // The mean is known to eps * magnitude; `rstd` turns that into an error of every xhat, and of itself.
            let spread = normalised.rstd * magnitude;
            for ((x, f), s) in x.iter().zip(&factor).zip(&shift) {
                let xhat = (x - normalised.mean) * normalised.rstd;
                let size = normalised.rstd * x.abs() + spread;
                y_scale.push(f.abs() * size * (1.0 + xhat.abs()) + s.abs());
            }
            y.extend(normalised.y);
            mean.push(normalised.mean);
            mean_scale.push(magnitude);
            rstd.push(normalised.rstd);
            rstd_scale.push(normalised.rstd * (1.0 + spread));
        }
        vec![
            Expected::reduction(y, y_scale, self.width),
            Expected::reduction(mean, mean_scale, self.width).stored_in_f32(),
            Expected::reduction(rstd, rstd_scale, self.width).stored_in_f32(),
        ]
    }

    fn backward(self, dtype: DType, seed: u64) -> Box<dyn Problem> {
        // Large, so that central differences with step 1e-5 are exact to 1e-8 for two nearly equal elements too.
        const EPS: f64 = 1e-2;
        let Setup { rows, width, rows_per_group, weight_offset, .. } = self;
        let input = |stream, len| Stored::new(operands(seed, stream, len), dtype);
        let x = input(0, rows * width);
        let ones = vec![1.0; width];
        let wide = x.f64();
        let statistics = (0..rows).map(|r| reference::forward(&wide[r * width..][..width], &ones, &ones, EPS));
        let (mean, rstd) = statistics.map(|n| (n.mean as f32, n.rstd as f32)).unzip();
        let inputs = vec![
            x,
            input(1, self.parameters()),
            input(2, self.parameters()),
            Stored::F32(mean),
            Stored::F32(rstd),
            input(3, rows * width),
        ];
        let initial = [4, 5].map(|stream| operands(seed, stream, self.parameters()));
        let outputs = vec![
            ("dx", Stored::unwritten(rows * width, dtype)),
            ("dweight", Stored::F32(initial[0].clone())),
            ("dbias", Stored::F32(initial[1].clone())),
        ];
        let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
            let [dx, dweight, dbias] = outputs else { unreachable!("three outputs above") };
            let (dweight_acc, dbias_acc) =
                if self.affine { (Some(dweight.output()), Some(dbias.output())) } else { (None, None) };
            let [x, _, _, mean, rstd, dy] = [0, 1, 2, 3, 4, 5].map(|i: usize| inputs[i].input());
            let (weight, dx) = (self.option(&inputs[1]), dx.output());
            let args = Backward {
                x,
                weight,
                mean,
                rstd,
                dy,
                dx,
                dweight_acc,
                dbias_acc,
                rows,
                width,
                rows_per_group,
                weight_offset,
            };
            backward(rt, args)
        };
        Case::boxed(inputs, outputs, call, move |inputs| self.expected_backward(inputs, &initial, EPS))
    }

    fn expected_backward(&self, inputs: &[Stored], initial: &[Vec<f32>; 2], eps: f64) -> Vec<Expected> {
        let width = self.width;
        let (x, weight, bias, dy) = (inputs[0].f64(), inputs[1].f64(), inputs[2].f64(), inputs[5].f64());
        let (mut dx, mut dx_scale) = (Vec::new(), Vec::new());
        let mut sums = initial.each_ref().map(|initial| initial.iter().map(|&v| v as f64).collect::<Vec<_>>());
        let mut sums_scale = sums.clone().map(|sum| sum.iter().map(|v| v.abs()).collect::<Vec<_>>());
        for row in 0..self.rows {
            let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
            let (factor, shift) = self.row_parameters(&weight, &bias, row);
            let here = [x, &factor, &shift].concat();
            let gradient = central_differences(&here, |v| {
                let y = reference::forward(&v[..width], &v[width..2 * width], &v[2 * width..], eps).y;
                y.iter().zip(dy).map(|(y, dy)| y * dy).sum()
            });
            dx.extend_from_slice(&gradient[..width]);
            let normalised = reference::forward(x, &factor, &shift, eps);
            // |xhat| and what the mean's rounding adds to it.
            let size: Vec<f64> = x.iter().map(|x| normalised.rstd * (x.abs() + normalised.mean.abs())).collect();
            let d: Vec<f64> = dy.iter().zip(&factor).map(|(dy, f)| (dy * f).abs()).collect();
            let n = width.max(1) as f64;
            let a = d.iter().sum::<f64>() / n;
            let b = d.iter().zip(&size).map(|(d, size)| d * size).sum::<f64>() / n;
            dx_scale.extend(d.iter().zip(&size).map(|(d, size)| normalised.rstd * (d + a + size * b)));
            if self.affine {
                let start = row / self.rows_per_group * width;
                for j in 0..width {
                    for (k, scale) in [(0, size[j]), (1, 1.0)] {
                        sums[k][start + j] += gradient[(k + 1) * width + j];
                        sums_scale[k][start + j] += dy[j].abs() * scale;
                    }
                }
            }
        }
        let [dweight, dbias] = sums;
        let [dweight_scale, dbias_scale] = sums_scale;
        vec![
            Expected::reduction(dx, dx_scale, width),
            Expected::reduction(dweight, dweight_scale, self.rows_per_group).stored_in_f32(),
            Expected::reduction(dbias, dbias_scale, self.rows_per_group).stored_in_f32(),
        ]
    }
}
