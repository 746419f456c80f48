//! The catalog row.

use super::reference::{self, Scalars};
use super::{Args, Average, OP, step};
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
const DECAY: f32 = 0.93;

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
        &["step", "step_shadow", "step_average"]
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
        match variant {
            "step" => Work { flops: 14 * n, bytes: 28 * n },
            "step_shadow" => Work { flops: 14 * n, bytes: 30 * n },
            _ => Work { flops: 17 * n, bytes: 36 * n },
        }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let n = shape[0];
        let squares = operands(seed, 3, n).into_iter().map(|x| x * x).collect();
        let mut outputs = vec![
            ("param", Stored::new(operands(seed, 1, n), DType::F32)),
            ("m", Stored::new(operands(seed, 2, n), DType::F32)),
            ("v", Stored::new(squares, DType::F32)),
        ];
        if variant == "step_average" {
            outputs.push(("average", Stored::new(operands(seed, 4, n), DType::F32)));
        }
        let before: Vec<Stored> = outputs.iter().map(|(_, stored)| stored.clone()).collect();
        if variant == "step_shadow" {
            outputs.push(("shadow", Stored::unwritten(n, DType::Bf16)));
        }
        Case::boxed(
            vec![Stored::new(operands(seed, 0, n), dtype)],
            outputs,
            move |rt, inputs, out| {
                let [param, m, v, more @ ..] = out else { unreachable!("three outputs, and perhaps one more") };
                let mut args = args([param.output(), m.output(), v.output()], &inputs[0]);
                match (variant, more) {
                    ("step_shadow", [shadow]) => args.shadow = Some(shadow.output()),
                    ("step_average", [average]) => {
                        args.average = Some(Average { average: average.output(), decay: DECAY });
                    }
                    _ => {}
                }
                step(rt, args)
            },
            move |inputs| expected(&before, &inputs[0], variant),
        )
    }
}

fn args<'a>([param, m, v]: [Out<'a>; 3], grad: &'a Stored) -> Args<'a> {
    Args {
        param,
        grad: grad.input(),
        m,
        v,
        shadow: None,
        average: None,
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
fn expected(before: &[Stored], grad: &Stored, variant: &str) -> Vec<Expected> {
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
    let more = match variant {
        "step_shadow" => Some(Expected::pointwise(value[0].clone(), 1.0 / 256.0, 1e-6)),
        "step_average" => Some(average(&before[3].f64(), &value[0], &scale[0])),
        _ => None,
    };
    let outputs = value.into_iter().zip(scale).map(|(value, scale)| Expected::reduction(value, scale, 8));
    let mut outputs: Vec<_> = outputs.map(Expected::stored_in_f32).collect();
    outputs.extend(more);
    outputs
}

/// The average behind the step, given the new parameter and the magnitudes it is a sum of.
fn average(before: &[f64], param: &[f64], scale: &[f64]) -> Expected {
    let decay = f64::from(DECAY);
    let value = before.iter().zip(param).map(|(average, x)| decay * average + (1.0 - decay) * x).collect();
    let scale = before.iter().zip(scale).map(|(average, x)| decay * average.abs() + (1.0 - decay) * x).collect();
    Expected::reduction(value, scale, 8).stored_in_f32()
}
