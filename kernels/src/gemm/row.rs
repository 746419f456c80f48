//! The catalog row.

use super::{
    Activation, Args, Batch, Dims, Epilogue, Gated, Layout, OP, Prepack, Write, gemm, panels_len, prepack, reference,
};
use crate::catalog::{Expected, Kernel, Problem, Stored, Work, operands};
use crate::{DType, Result, Runtime};

/// The catalog row. Shapes are `[batch, m, k, n]`; a variant with an epilogue is one product of `batch * m` rows in
/// `batch` groups.
#[derive(Debug)]
pub struct Row;

/// What a variant does beyond its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Accumulate,
    Bf16Weights,
    Bias(Activation),
    Gated,
}

fn parse(variant: &str) -> (Layout, Kind) {
    match variant {
        "nn" => (Layout::NN, Kind::Plain),
        "nt" => (Layout::NT, Kind::Plain),
        "tn" => (Layout::TN, Kind::Plain),
        "tn_accumulate" => (Layout::TN, Kind::Accumulate),
        "nt_bf16_weights" => (Layout::NT, Kind::Bf16Weights),
        "np_bias_gelu" => (Layout::NP, Kind::Bias(Activation::GeluTanh)),
        "nt_bias" => (Layout::NT, Kind::Bias(Activation::None)),
        "nt_bias_gelu" => (Layout::NT, Kind::Bias(Activation::GeluTanh)),
        "nt_bias_gelu_erf" => (Layout::NT, Kind::Bias(Activation::GeluErf)),
        "nt_bias_silu" => (Layout::NT, Kind::Bias(Activation::Silu)),
        _ => (Layout::NT, Kind::Gated),
    }
}

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "c (= or +=) residual + gate * activation(a b + bias)"
    }
    fn variants(&self) -> &'static [&'static str] {
        &[
            "nn",
            "nt",
            "tn",
            "tn_accumulate",
            "nt_bf16_weights",
            "nt_bias",
            "nt_bias_gelu",
            "nt_bias_gelu_erf",
            "nt_bias_silu",
            "nt_gated",
            "np_bias_gelu",
        ]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["batch", "m", "k", "n"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[
            &[0, 2, 3, 4],
            &[1, 0, 5, 7],
            &[1, 5, 0, 7],
            &[1, 7, 5, 0],
            &[1, 1, 1, 1],
            &[2, 6, 8, 16],
            &[3, 7, 13, 17],
            &[1, 61, 400, 37],
            &[1, 64, 1301, 65],
            &[1, 300, 20, 33],
        ]
    }
    fn limits(&self) -> &'static [usize] {
        &[3, 40, 70, 50]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[
            &[1, 256, 256, 256],
            &[1, 2048, 384, 1536],
            &[1, 2048, 1536, 384],
            &[1, 2048, 384, 1152],
            &[1, 512, 256, 1024],
            &[1, 512, 512, 512],
            &[1, 1024, 1024, 1024],
            &[1, 2048, 2048, 2048],
            &[1, 2048, 64, 64],
            &[1, 2048, 64, 192],
            &[1, 64, 2048, 64],
            &[1, 192, 2048, 64],
            &[64, 256, 64, 256],
            &[64, 256, 256, 64],
            &[6, 1024, 64, 1024],
        ]
    }
    fn work(&self, _variant: &str, shape: &[usize]) -> Work {
        let [batch, m, k, n] = [0, 1, 2, 3].map(|i| shape[i] as u64);
        Work { flops: 2 * batch * m * k * n, bytes: 4 * batch * (m * k + k * n + m * n) }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let (layout, kind) = parse(variant);
        let one = matches!(kind, Kind::Bias(_) | Kind::Gated);
        let (count, m) = if one { (1, shape[0] * shape[1]) } else { (shape[0], shape[1]) };
        let (dims, groups) = (Dims { m, k: shape[2], n: shape[3] }, if m == 0 { 0 } else { shape[0] });
        let stored = |stream, len| Stored::new(operands(seed, stream, len), dtype);
        let c = count * m * dims.n;
        let weights = if kind == Kind::Bf16Weights { DType::Bf16 } else { dtype };
        let before = if kind == Kind::Accumulate { stored(2, c) } else { Stored::unwritten(c, dtype) };
        Box::new(Gemm {
            layout,
            kind,
            dims,
            count,
            rows_per_group: m.checked_div(groups).unwrap_or(1).max(1),
            a: stored(0, count * m * dims.k),
            b: Stored::new(operands(seed, 1, count * dims.k * dims.n), weights),
            c: before.clone(),
            before,
            preactivation: Stored::unwritten(c, dtype),
            bias: stored(3, dims.n),
            residual: stored(4, c),
            gate: stored(5, groups * dims.n),
        })
    }
}

struct Gemm {
    layout: Layout,
    kind: Kind,
    dims: Dims,
    count: usize,
    rows_per_group: usize,
    a: Stored,
    b: Stored,
    c: Stored,
    before: Stored,
    preactivation: Stored,
    bias: Stored,
    residual: Stored,
    gate: Stored,
}

impl Problem for Gemm {
    fn run(&mut self, rt: &Runtime) -> Result<()> {
        let Dims { m, n, k } = self.dims;
        let gated = Gated {
            residual: self.residual.input(),
            gate: Some(self.gate.input()),
            rows_per_group: self.rows_per_group,
        };
        let mut panels;
        let b = if self.layout == Layout::NP {
            panels = Stored::unwritten(panels_len(rt, n, k)?, DType::F32).on(rt)?;
            prepack(rt, Prepack { b: self.b.input(), panels: panels.output(), n, k })?;
            panels.input()
        } else {
            self.b.input()
        };
        let epilogue = match self.kind {
            Kind::Bias(activation) => Epilogue {
                bias: Some(self.bias.input()),
                activation,
                preactivation: Some(self.preactivation.output()),
                gated: None,
            },
            Kind::Gated => Epilogue { bias: Some(self.bias.input()), gated: Some(gated), ..Epilogue::default() },
            Kind::Plain | Kind::Accumulate | Kind::Bf16Weights => Epilogue::default(),
        };
        gemm(
            rt,
            Args {
                a: self.a.input(),
                b,
                c: self.c.output(),
                layout: self.layout,
                dims: self.dims,
                batch: Batch { count: self.count, stride_a: m * k, stride_b: k * n, stride_c: m * n },
                write: if self.kind == Kind::Accumulate { Write::Accumulate } else { Write::Overwrite },
                epilogue,
            },
        )
    }

    fn reset(&mut self) {
        self.c.clone_from(&self.before);
    }

    fn operands(&mut self) -> Vec<&mut Stored> {
        let Gemm { a, b, bias, residual, gate, preactivation, before, .. } = self;
        vec![a, b, bias, residual, gate, preactivation, before]
    }

    fn outputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        let mut outputs = vec![("c", self.c.f32())];
        if matches!(self.kind, Kind::Bias(_)) {
            outputs.push(("preactivation", self.preactivation.f32()));
        }
        outputs
    }

    fn expected(&self) -> Vec<Expected> {
        let Dims { m, n, k } = self.dims;
        let (a, b, bias) = (self.a.f64(), self.b.f64(), self.bias.f64());
        let (mut value, mut scale) = (Vec::new(), Vec::new());
        for i in 0..self.count {
            let (a, b) = (&a[i * m * k..][..m * k], &b[i * k * n..][..k * n]);
            let (v, s) = reference::product(self.layout, self.dims, a, b);
            value.extend(v);
            scale.extend(s);
        }
        let mut add = |x: &dyn Fn(usize) -> f64| {
            for i in 0..value.len() {
                value[i] += x(i);
                scale[i] += x(i).abs();
            }
        };
        match self.kind {
            Kind::Plain | Kind::Bf16Weights => {}
            Kind::Accumulate => {
                let before = self.before.f64();
                add(&|i| before[i]);
            }
            Kind::Bias(_) | Kind::Gated => add(&|i| bias[i % n]),
        }
        match self.kind {
            Kind::Bias(activation) => activated(activation, value, scale, k + 1),
            Kind::Gated => {
                let (gate, residual) = (self.gate.f64(), self.residual.f64());
                for i in 0..value.len() {
                    let g = gate[i / n / self.rows_per_group * n + i % n];
                    value[i] = residual[i] + g * value[i];
                    scale[i] = residual[i].abs() + g.abs() * scale[i];
                }
                vec![Expected::reduction(value, scale, k + 3)]
            }
            Kind::Plain | Kind::Accumulate | Kind::Bf16Weights => vec![Expected::reduction(value, scale, k + 1)],
        }
    }
}

/// `activation(u)` and `u`. The slopes of all activations are below 1.13, so an error of `u` grows by no more than that;
/// their own error is a few roundings of a result no larger than `|u|`, and of a polynomial with error 1.5e-7.
fn activated(activation: Activation, u: Vec<f64>, scale: Vec<f64>, terms: usize) -> Vec<Expected> {
    let value = u.iter().map(|&u| reference::activation(activation, u)).collect();
    let mut y = Expected::reduction(value, scale.iter().map(|s| 1.13 * s).collect(), terms);
    y.tolerance += 4.0 * f32::EPSILON as f64;
    y.atol = 5e-7;
    vec![y, Expected::reduction(u, scale, terms)]
}
