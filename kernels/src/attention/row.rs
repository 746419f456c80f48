//! The catalog row: problems for tests and benches, and how far from the reference an honest f32 kernel may be.

use super::{Backward, Dims, Forward, OP, backward, forward, reference};
use crate::catalog::{Expected, Kernel, Problem, Stored, Work, operands};
use crate::{DType, Result, Runtime};

/// The catalog row.
#[derive(Debug)]
pub struct Row;

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "out = softmax(scale * q k^T) v"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["forward", "backward", "forward_masked", "backward_masked"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["batch", "heads", "queries", "keys", "width"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[
            &[0, 2, 3, 4, 5],
            &[2, 0, 3, 4, 5],
            &[1, 1, 1, 1, 1],
            &[1, 2, 3, 0, 4],
            &[1, 2, 0, 3, 4],
            &[1, 1, 2, 3, 0],
            &[3, 3, 5, 7, 13],
            &[1, 1, 17, 131, 12],
            &[2, 2, 70, 33, 16],
            &[1, 1, 19, 259, 37],
            &[1, 2, 130, 20, 64],
            &[1, 1, 5, 11, 128],
        ]
    }
    fn limits(&self) -> &'static [usize] {
        &[2, 3, 80, 140, 33]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[
            &[16, 4, 128, 128, 16],
            &[16, 4, 128, 4, 16],
            &[1, 6, 256, 256, 64],
            &[4, 6, 256, 256, 64],
            &[1, 6, 1024, 1024, 64],
            &[2, 6, 1024, 1024, 64],
            &[1, 6, 4096, 4096, 64],
            &[8, 4, 512, 512, 64],
            &[1, 12, 1024, 1024, 128],
        ]
    }
    /// Backward counts the recomputed scores, as FlashAttention's papers do; a mask is not counted as saved work.
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        let forward = 4 * n[0] * n[1] * n[2] * n[3] * n[4];
        let (query, key) = (4 * n[0] * n[1] * n[2] * n[4], 4 * n[0] * n[1] * n[3] * n[4]);
        match variant {
            "forward" | "forward_masked" => Work { flops: forward, bytes: 2 * query + 2 * key },
            _ => Work { flops: forward * 5 / 2, bytes: 4 * query + 4 * key },
        }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let dims = Dims { batch: shape[0], heads: shape[1], queries: shape[2], keys: shape[3], width: shape[4] };
        let x = Case::new(dims, variant.ends_with("masked"), dtype, seed);
        match variant {
            "forward" | "forward_masked" => Box::new(ForwardProblem(x)),
            _ => Box::new(BackwardProblem::new(x, dtype, seed)),
        }
    }
}

/// The operands and results of a forward call.
struct Case {
    dims: Dims,
    scale: f32,
    q: Stored,
    k: Stored,
    v: Stored,
    mask: Option<Stored>,
    out: Stored,
    lse: Stored,
}

impl Case {
    fn new(dims: Dims, masked: bool, dtype: DType, seed: u64) -> Self {
        let Dims { batch, heads, queries, keys, width } = dims;
        let (query, key) = (batch * queries * heads * width, batch * keys * heads * width);
        let random = |stream, len| Stored::new(operands(seed, stream, len), dtype);
        // Three keys in four; none at all of the second sequence.
        let attended = |(i, x): (usize, f32)| if x > -1.0 && i / keys != 1 { 1.0 } else { 0.0 };
        let mask = || operands(seed, 3, batch * keys).into_iter().enumerate().map(attended).collect();
        Case {
            dims,
            scale: 1.0 / (width.max(1) as f32).sqrt(),
            q: random(0, query),
            k: random(1, key),
            v: random(2, key),
            mask: masked.then(|| Stored::F32(mask())),
            out: Stored::unwritten(query, dtype),
            lse: Stored::unwritten(batch * heads * queries, DType::F32),
        }
    }

    /// Everything, also what tests do not change: the mask, which has no neighbouring values, and what forward keeps.
    fn move_to(&mut self, rt: &Runtime) -> Result<()> {
        let Case { q, k, v, out, lse, .. } = self;
        move_all(rt, [q, k, v, out, lse].into_iter().chain(&mut self.mask))
    }

    /// Where the operands are.
    fn runtime(&self) -> Runtime {
        match &self.q {
            #[cfg(feature = "cuda")]
            Stored::Cuda { memory, .. } => Runtime::Cuda(memory.gpu()),
            _ => Runtime::cpu(),
        }
    }

    fn forward(&mut self, rt: &Runtime) -> Result<()> {
        let args = Forward {
            q: self.q.input(),
            k: self.k.input(),
            v: self.v.input(),
            key_mask: self.mask.as_ref().map(Stored::input),
            out: self.out.output(),
            lse: self.lse.output(),
            dims: self.dims,
            scale: self.scale,
        };
        forward(rt, args)
    }

    fn reference(&self) -> reference::Operands {
        let mask = self.mask.as_ref().map(Stored::f64);
        let (q, k, v) = (self.q.f64(), self.k.f64(), self.v.f64());
        reference::Operands { q, k, v, mask, dims: self.dims, scale: self.scale.into() }
    }

    /// Roundings to bf16 of the left operand of a product whose terms are probabilities: tensor cores multiply bf16.
    fn tensor_roundings(&self) -> u32 {
        match self.runtime() {
            Runtime::Cpu(_) => 0,
            _ => 1,
        }
    }

    /// Bound on the absolute error of a score (a sum of `width` terms), hence on the relative error of its exponential.
    fn score_error(&self, x: &reference::Operands) -> f64 {
        rounding(self.dims.width) * x.score_magnitude()
    }
}

fn move_all<'a>(rt: &Runtime, operands: impl Iterator<Item = &'a mut Stored>) -> Result<()> {
    for operand in operands {
        *operand = std::mem::replace(operand, Stored::F32(Vec::new())).on(rt)?;
    }
    Ok(())
}

/// Relative error of a sum of `terms` terms, as in [`Expected::reduction`].
fn rounding(terms: usize) -> f64 {
    4.0 * f32::EPSILON as f64 * (terms.max(1) as f64).sqrt()
}

/// Relative error of one exponential and of the factors around it.
const EXP: f64 = 1e-6;

struct ForwardProblem(Case);

impl Problem for ForwardProblem {
    fn run(&mut self, rt: &Runtime) -> Result<()> {
        self.0.forward(rt)
    }
    fn operands(&mut self) -> Vec<&mut Stored> {
        let Case { q, k, v, out, .. } = &mut self.0;
        vec![q, k, v, out]
    }
    fn move_to(&mut self, rt: &Runtime) -> Result<()> {
        self.0.move_to(rt)
    }
    fn outputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        // -inf has no distance from -inf: both sides show a query without keys as the lowest finite number. NaN stays.
        let lse = self.0.lse.f32().into_iter().map(|l| l.clamp(f32::MIN, f32::INFINITY)).collect();
        vec![("out", self.0.out.f32()), ("lse", lse)]
    }
    fn expected(&self) -> Vec<Expected> {
        let x = self.0.reference();
        let (out, lse) = reference::forward(&x);
        let (magnitude, _) =
            reference::forward(&reference::Operands { v: x.v.iter().map(|v| v.abs()).collect(), ..x.clone() });
        // Numerator and denominator each carry the error of the exponentials and of a sum over the keys.
        let score = self.0.score_error(&x);
        let tolerance = 2.0 * (score + EXP + rounding(self.0.dims.keys));
        let lse: Vec<f64> = lse.into_iter().map(|l| l.max(f32::MIN.into())).collect();
        vec![
            // Of the result; tensor cores also round the probabilities.
            Expected { value: out, scale: magnitude, tolerance, atol: 1e-30, roundings: 1 + self.0.tensor_roundings() },
            Expected { roundings: 0, ..Expected::pointwise(lse, 4.0 * f32::EPSILON as f64, tolerance) },
        ]
    }
}

struct BackwardProblem {
    x: Case,
    dout: Stored,
    gradients: [Stored; 3],
}

impl BackwardProblem {
    fn new(mut x: Case, dtype: DType, seed: u64) -> Self {
        let lengths = [x.q.input().len(), x.k.input().len(), x.k.input().len()];
        let dout = Stored::new(operands(seed, 4, lengths[0]), dtype);
        x.forward(&Runtime::cpu()).expect("the operands were made for these extents");
        BackwardProblem { x, dout, gradients: lengths.map(|len| Stored::unwritten(len, dtype)) }
    }
}

impl Problem for BackwardProblem {
    fn run(&mut self, rt: &Runtime) -> Result<()> {
        let [dq, dk, dv] = &mut self.gradients;
        let args = Backward {
            q: self.x.q.input(),
            k: self.x.k.input(),
            v: self.x.v.input(),
            key_mask: self.x.mask.as_ref().map(Stored::input),
            out: self.x.out.input(),
            lse: self.x.lse.input(),
            dout: self.dout.input(),
            dq: dq.output(),
            dk: dk.output(),
            dv: dv.output(),
            dims: self.x.dims,
            scale: self.x.scale,
        };
        backward(rt, args)
    }
    /// What forward kept belongs to its operands, and to the device that they are on.
    fn reset(&mut self) {
        let rt = self.x.runtime();
        self.x.forward(&rt).expect("the operands were made for these extents");
    }
    fn operands(&mut self) -> Vec<&mut Stored> {
        let Case { q, k, v, .. } = &mut self.x;
        let mut operands = vec![q, k, v, &mut self.dout];
        operands.extend(&mut self.gradients);
        operands
    }
    fn move_to(&mut self, rt: &Runtime) -> Result<()> {
        self.x.move_to(rt)?;
        move_all(rt, [&mut self.dout].into_iter().chain(&mut self.gradients))?;
        self.reset();
        Ok(())
    }
    fn outputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        ["dq", "dk", "dv"].into_iter().zip(self.gradients.iter().map(Stored::f32)).collect()
    }
    fn expected(&self) -> Vec<Expected> {
        let (x, dout) = (self.x.reference(), self.dout.f64());
        let values = reference::backward(&x, &dout);
        let magnitudes = reference::backward_magnitudes(&x, &dout);
        let Dims { queries, keys, width, .. } = self.x.dims;
        // The probability carries the errors of its score and of lse; its gradient two sums over the width, and `out`.
        let tolerance = 3.0 * (self.x.score_error(&x) + EXP + rounding(width) + rounding(queries.max(keys)));
        // In bf16 the result is rounded, and for dq and dk `out`, which the reference has exactly. Tensor cores also round
        // the probabilities that `out` and dv are sums of, and their gradients for dq and dk.
        let tensor = self.x.tensor_roundings();
        let roundings = [2 + 2 * tensor, 2 + 2 * tensor, 1 + tensor];
        values
            .into_iter()
            .zip(magnitudes)
            .zip(roundings)
            .map(|((value, scale), roundings)| Expected { value, scale, tolerance, atol: 1e-30, roundings })
            .collect()
    }
}
