//! The catalog row.

use super::{Accumulate, Combine, Multiply, OP, ScaleRows, accumulate, combine, multiply, reference, scale_rows};
use crate::DType;
use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, operands};

const ALPHA: f32 = 0.75;
const BETA: f32 = -1.1;

/// The catalog row.
#[derive(Debug)]
pub struct Row;

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "alpha x + beta y; y += alpha x; a * b; factors[r] x[r] + y[r]"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["combine", "scale", "accumulate", "multiply", "scale_rows", "scale_rows_add"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["rows", "width"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[&[0, 3], &[4, 0], &[1, 1], &[1, 7], &[3, 8], &[5, 13], &[300, 257]]
    }
    fn limits(&self) -> &'static [usize] {
        &[9, 70]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[4096, 1536]]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n = (shape[0] * shape[1]) as u64;
        match variant {
            "scale" | "scale_rows" => Work { flops: n, bytes: 8 * n },
            "multiply" => Work { flops: n, bytes: 12 * n },
            "combine" => Work { flops: 3 * n, bytes: 12 * n },
            _ => Work { flops: 2 * n, bytes: 12 * n },
        }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let (rows, width) = (shape[0], shape[1]);
        let n = rows * width;
        let x = Stored::new(operands(seed, 0, n), dtype);
        let y = Stored::new(operands(seed, 1, n), dtype);
        let factors = Stored::new(operands(seed, 2, rows), DType::F32);
        let out = ("out", Stored::unwritten(n, dtype));
        match variant {
            "combine" => combined(vec![x, y], out),
            "scale" => combined(vec![x], out),
            "accumulate" => accumulated(x, ("y_acc", Stored::new(operands(seed, 3, n), DType::F32))),
            "multiply" => multiplied([x, y], out),
            "scale_rows" => rows_scaled(vec![x, factors], out, width),
            _ => rows_scaled(vec![x, factors, y], out, width),
        }
    }
}

/// The result of one sum of two products: its rounding errors are relative to the terms, which may cancel.
fn sum_of_products(value: Vec<f64>, x: &[f64], y: &[f64]) -> Expected {
    let scale = x.iter().zip(y).map(|(x, y)| x.abs() + y.abs()).collect();
    Expected::reduction(value, scale, 2)
}

fn scaled(x: &[f64], factor: f32) -> Vec<f64> {
    x.iter().map(|x| x * f64::from(factor)).collect()
}

/// The second operand, or zeros.
fn second(inputs: &[Stored], i: usize) -> Vec<f64> {
    inputs.get(i).map_or_else(|| vec![0.0; inputs[0].f64().len()], Stored::f64)
}

fn combined(inputs: Vec<Stored>, out: (&'static str, Stored)) -> Box<dyn Problem> {
    Case::boxed(
        inputs,
        vec![out],
        |rt, inputs, out| {
            let y = inputs.get(1).map(Stored::input);
            combine(rt, Combine { x: inputs[0].input(), y, alpha: ALPHA, beta: BETA, out: out[0].output() })
        },
        |inputs| {
            let (x, y) = (inputs[0].f64(), second(inputs, 1));
            let value = reference::combine(&x, &y, ALPHA.into(), BETA.into());
            vec![sum_of_products(value, &scaled(&x, ALPHA), &scaled(&y, BETA))]
        },
    )
}

fn accumulated(x: Stored, y: (&'static str, Stored)) -> Box<dyn Problem> {
    let before = y.1.f64();
    Case::boxed(
        vec![x],
        vec![y],
        |rt, inputs, out| accumulate(rt, Accumulate { x: inputs[0].input(), alpha: ALPHA, y_acc: out[0].output() }),
        move |inputs| {
            let x = inputs[0].f64();
            let value = reference::combine(&x, &before, ALPHA.into(), 1.0);
            vec![sum_of_products(value, &scaled(&x, ALPHA), &before).stored_in_f32()]
        },
    )
}

fn multiplied(inputs: [Stored; 2], out: (&'static str, Stored)) -> Box<dyn Problem> {
    Case::boxed(
        inputs.to_vec(),
        vec![out],
        |rt, inputs, out| multiply(rt, Multiply { a: inputs[0].input(), b: inputs[1].input(), out: out[0].output() }),
        |inputs| {
            let value = reference::multiply(&inputs[0].f64(), &inputs[1].f64());
            vec![Expected::pointwise(value, f64::from(f32::EPSILON), 0.0)]
        },
    )
}

fn rows_scaled(inputs: Vec<Stored>, out: (&'static str, Stored), width: usize) -> Box<dyn Problem> {
    Case::boxed(
        inputs,
        vec![out],
        move |rt, inputs, out| {
            let (x, factors) = (inputs[0].input(), inputs[1].input());
            let y = inputs.get(2).map(Stored::input);
            scale_rows(rt, ScaleRows { x, factors, y, out: out[0].output(), rows: factors.len(), width })
        },
        |inputs| {
            let (x, factors, y) = (inputs[0].f64(), inputs[1].f64(), second(inputs, 2));
            let value = reference::scale_rows(&x, &factors, &y);
            let products = reference::scale_rows(&x, &factors, &vec![0.0; x.len()]);
            vec![sum_of_products(value, &products, &y)]
        },
    )
}
