//! The catalog's row of rotary position embedding.

use super::{Args, Dims, Direction, OP, reference, rope};
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
        "(a, b) -> (a * cos - b * sin, a * sin + b * cos)"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["forward", "inverse"]
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
            &[3, 17, 2, 32],
            &[2, 331, 3, 22],
        ]
    }
    fn limits(&self) -> &'static [usize] {
        &[3, 7, 4, 20]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[1, 4096, 6, 32]]
    }
    fn work(&self, _variant: &str, shape: &[usize]) -> Work {
        let n = 2 * shape.iter().product::<usize>() as u64;
        Work { flops: 3 * n, bytes: 8 * n + 8 * (shape[1] * shape[3]) as u64 }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let &[batch, tokens, heads, pairs] = shape else { unreachable!("four extents above") };
        let dims = Dims { batch, tokens, heads, width: 2 * pairs };
        let direction = if variant == "forward" { Direction::Forward } else { Direction::Inverse };
        let n = batch * tokens * heads * 2 * pairs;
        // Not on the unit circle: the kernel must not assume it.
        let table = |stream| Stored::F32(operands(seed, stream, tokens * pairs));
        let inputs = vec![Stored::new(operands(seed, 0, n), dtype), table(1), table(2)];
        let call = move |rt: &Runtime, inputs: &[Stored], outputs: &mut [Stored]| {
            let [x, cos, sin] = [0, 1, 2].map(|i: usize| inputs[i].input());
            rope(rt, Args { x, cos, sin, y: outputs[0].output(), dims, direction })
        };
        let outputs = vec![("y", Stored::unwritten(n, dtype))];
        Case::boxed(inputs, outputs, call, move |inputs| vec![expected(inputs, dims, direction)])
    }
}

fn expected(inputs: &[Stored], dims: Dims, direction: Direction) -> Expected {
    let (x, cos, sin) = (inputs[0].f64(), inputs[1].f64(), inputs[2].f64());
    let pairs = dims.width / 2;
    let (mut value, mut scale) = (Vec::new(), Vec::new());
    for (i, pair) in x.chunks_exact(2).enumerate() {
        let angle = i / (dims.heads * pairs) % dims.tokens * pairs + i % pairs;
        let (pair, c, s) = ([pair[0], pair[1]], cos[angle], sin[angle]);
        value.extend(match direction {
            Direction::Forward => reference::rotate(pair, c, s).to_vec(),
            // The backward pass of `rotate` for the output gradient `pair`.
            Direction::Inverse => central_differences(&[0.0; 2], |v| {
                let y = reference::rotate([v[0], v[1]], c, s);
                y[0] * pair[0] + y[1] * pair[1]
            }),
        });
        scale.extend([(pair[0] * c).abs() + (pair[1] * s).abs(), (pair[0] * s).abs() + (pair[1] * c).abs()]);
    }
    Expected::reduction(value, scale, 2)
}
