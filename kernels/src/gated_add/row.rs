//! The catalog's row of the gated residual connection.

use super::{Backward, Forward, OP, backward, forward, reference};
use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, central_differences, operands};
use crate::{DType, In, Runtime};

/// The catalog row.
#[derive(Debug)]
pub struct Row;

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "y = x + gate[g] * h"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["forward", "backward", "forward_ungated", "backward_ungated"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["groups", "rows_per_group", "width"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        // The last one is summed in pieces.
        &[&[0, 2, 3], &[2, 0, 3], &[2, 3, 0], &[1, 1, 1], &[5, 1, 7], &[1, 6, 13], &[3, 7, 64], &[2, 401, 131]]
    }
    fn limits(&self) -> &'static [usize] {
        &[5, 9, 70]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[1, 4096, 384], &[4096, 1, 384]]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n = shape.iter().product::<usize>() as u64;
        let gate = (shape[0] * shape[2]) as u64;
        match variant {
            // The gate is read, its accumulator read and written.
            "backward" => Work { flops: 3 * n, bytes: 12 * n + 12 * gate },
            "backward_ungated" => Work { flops: n, bytes: 8 * n },
            "forward_ungated" => Work { flops: 2 * n, bytes: 12 * n },
            _ => Work { flops: 2 * n, bytes: 12 * n + 4 * gate },
        }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let &[groups, rows_per_group, width] = shape else { unreachable!("three extents above") };
        let setup =
            Setup { rows: groups * rows_per_group, width, rows_per_group, gated: !variant.ends_with("ungated") };
        if variant.starts_with("forward") { setup.forward(dtype, seed) } else { setup.backward(dtype, seed) }
    }
}

#[derive(Clone, Copy)]
struct Setup {
    rows: usize,
    width: usize,
    rows_per_group: usize,
    gated: bool,
}

impl Setup {
    /// x, h, gate, dy.
    fn operands(&self, dtype: DType, seed: u64) -> Vec<Stored> {
        let n = self.rows * self.width;
        let lengths = [(0, n), (1, n), (2, self.parameters()), (3, n)];
        lengths.map(|(stream, len)| Stored::new(operands(seed, stream, len), dtype)).into()
    }

    fn parameters(&self) -> usize {
        if self.rows == 0 { 0 } else { self.rows / self.rows_per_group * self.width }
    }

    /// Where the gate of element `i` is.
    fn parameter(&self, i: usize) -> usize {
        i / self.width / self.rows_per_group * self.width + i % self.width
    }

    fn gate<'a>(&self, gate: &'a Stored) -> Option<In<'a>> {
        self.gated.then(|| gate.input())
    }

    /// `[x, h, gate]` of each element.
    fn elements(&self, inputs: &[Stored]) -> Vec<[f64; 3]> {
        let (x, h, gate) = (inputs[0].f64(), inputs[1].f64(), inputs[2].f64());
        (0..x.len()).map(|i| [x[i], h[i], if self.gated { gate[self.parameter(i)] } else { 1.0 }]).collect()
    }

    fn forward(self, dtype: DType, seed: u64) -> Box<dyn Problem> {
        let Setup { rows, width, rows_per_group, .. } = self;
        let outputs = vec![("y", Stored::unwritten(rows * width, dtype))];
        let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
            let (x, h, gate) = (inputs[0].input(), inputs[1].input(), self.gate(&inputs[2]));
            forward(rt, Forward { x, h, gate, y: outputs[0].output(), rows, width, rows_per_group })
        };
        Case::boxed(self.operands(dtype, seed), outputs, call, move |inputs| {
            let elements = self.elements(inputs).into_iter();
            let (y, scale) = elements.map(|[x, h, g]| (reference::forward(x, h, g), x.abs() + (g * h).abs())).unzip();
            vec![Expected::reduction(y, scale, 2)]
        })
    }

    fn backward(self, dtype: DType, seed: u64) -> Box<dyn Problem> {
        let Setup { rows, width, rows_per_group, .. } = self;
        let initial = operands(seed, 4, self.parameters());
        let outputs = vec![("dh", Stored::unwritten(rows * width, dtype)), ("dgate", Stored::F32(initial.clone()))];
        let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
            let [dh, dgate] = outputs else { unreachable!("two outputs above") };
            let (h, gate, dy) = (inputs[1].input(), self.gate(&inputs[2]), inputs[3].input());
            let dgate_acc = self.gated.then(|| dgate.output());
            backward(rt, Backward { h, gate, dy, dh: dh.output(), dgate_acc, rows, width, rows_per_group })
        };
        let inputs = self.operands(dtype, seed);
        Case::boxed(inputs, outputs, call, move |inputs| self.expected_backward(inputs, &initial))
    }

    fn expected_backward(&self, inputs: &[Stored], initial: &[f32]) -> Vec<Expected> {
        let dy = inputs[3].f64();
        let mut dgate: Vec<f64> = initial.iter().map(|&v| v as f64).collect();
        let mut scale: Vec<f64> = dgate.iter().map(|v| v.abs()).collect();
        let mut dh = Vec::new();
        for (i, ([x, h, gate], dy)) in self.elements(inputs).into_iter().zip(dy).enumerate() {
            let gradient = central_differences(&[h, gate], |v| dy * reference::forward(x, v[0], v[1]));
            dh.push(gradient[0]);
            if self.gated {
                dgate[self.parameter(i)] += gradient[1];
                scale[self.parameter(i)] += (dy * h).abs();
            }
        }
        vec![
            // The differences of a bilinear function are exact but for f64's rounding over the step.
            Expected::pointwise(dh, 1e-6, 1e-9),
            Expected { atol: 1e-9, ..Expected::reduction(dgate, scale, self.rows_per_group) }.stored_in_f32(),
        ]
    }
}
