//! The catalog row.

use super::reference::{self, Scalars};
use super::{Args, OP, step};
use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, operands};
use crate::{DType, Out};

/// The catalog row.
#[derive(Debug)]
pub struct Row;

const LR: f32 = 0.01;
const BETA1: f32 = 0.9;
const BETA2: f32 = 0.95;
const EPS: f32 = 1e-8;
const WEIGHT_DECAY: f32 = 0.1;
const GRAD_SCALE: f32 = 0.7;
const STEP: u64 = 3;

const SCALARS: Scalars = Scalars {
    lr: LR as f64,
    beta1: BETA1 as f64,
    beta2: BETA2 as f64,
    eps: EPS as f64,
    weight_decay: WEIGHT_DECAY as f64,
    grad_scale: GRAD_SCALE as f64,
    step: STEP,
};

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "m, v = moments of grad; param = (1 - lr wd) param - lr m^ / (sqrt(v^) + eps)"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["step", "step_shadow"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["n"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[&[0], &[1], &[7], &[8], &[65], &[9_001]]
    }
    fn limits(&self) -> &'static [usize] {
        &[300]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[100_000], &[10_000_000]]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n = shape[0] as u64;
        Work { flops: 14 * n, bytes: if variant == "step" { 28 * n } else { 30 * n } }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let n = shape[0];
        let squares = operands(seed, 3, n).into_iter().map(|x| x * x).collect();
        let mut outputs = vec![
            ("param", Stored::new(operands(seed, 1, n), DType::F32)),
            ("m", Stored::new(operands(seed, 2, n), DType::F32)),
            ("v", Stored::new(squares, DType::F32)),
        ];
        let before: Vec<Stored> = outputs.iter().map(|(_, stored)| stored.clone()).collect();
        if variant == "step_shadow" {
            outputs.push(("shadow", Stored::unwritten(n, DType::Bf16)));
        }
        let shadowed = variant == "step_shadow";
        Case::boxed(
            vec![Stored::new(operands(seed, 0, n), dtype)],
            outputs,
            |rt, inputs, out| {
                let [param, m, v, shadow @ ..] = out else { unreachable!("three outputs, and perhaps a shadow") };
                step(rt, args([param.output(), m.output(), v.output()], shadow.first_mut(), &inputs[0]))
            },
            move |inputs| expected(&before, &inputs[0], shadowed),
        )
    }
}

fn args<'a>([param, m, v]: [Out<'a>; 3], shadow: Option<&'a mut Stored>, grad: &'a Stored) -> Args<'a> {
    Args {
        param,
        grad: grad.input(),
        m,
        v,
        shadow: shadow.map(Stored::output),
        lr: LR,
        beta1: BETA1,
        beta2: BETA2,
        eps: EPS,
        weight_decay: WEIGHT_DECAY,
        grad_scale: GRAD_SCALE,
        step: STEP,
    }
}

/// Each output is a sum of two terms, which may cancel; the update of the parameter has about eight roundings.
fn expected(before: &[Stored], grad: &Stored, shadowed: bool) -> Vec<Expected> {
    let (param, m, v, grad) = (before[0].f64(), before[1].f64(), before[2].f64(), grad.f64());
    let (mut value, mut scale): ([Vec<f64>; 3], [Vec<f64>; 3]) = Default::default();
    for i in 0..grad.len() {
        let old = [param[i], m[i], v[i]];
        let new = reference::step(old, grad[i], SCALARS);
        let terms = [(new[0] - old[0]).abs(), grad[i].abs(), grad[i].powi(2)];
        for k in 0..3 {
            value[k].push(new[k]);
            scale[k].push(old[k].abs() + terms[k]);
        }
    }
    let shadow = Expected::pointwise(value[0].clone(), 1.0 / 256.0, 1e-6);
    let outputs = value.into_iter().zip(scale).map(|(value, scale)| Expected::reduction(value, scale, 8));
    let mut outputs: Vec<_> = outputs.map(Expected::stored_in_f32).collect();
    if shadowed {
        outputs.push(shadow);
    }
    outputs
}
