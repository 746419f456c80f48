//! AdamW on the CPU: four streams read and three written, at memory speed; with a moving average a fifth and a
//! fourth.

use bytemuck::NoUninit;
use half::bf16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::Args;
use crate::lanes;
use crate::simd::{Body, Isa, LANES, Simd, dispatch};

/// Elements of one task: each begins with four streams that are not on their way from memory yet, so it is a long one.
const PIECE: usize = 1 << 14;

/// Elements of one step of the loop: a cache line.
const BLOCK: usize = 2 * LANES;

/// Steps between asking for a cache line and its use.
const AHEAD: usize = 16;

pub(super) struct State<'a> {
    pub param: &'a mut [f32],
    pub m: &'a mut [f32],
    pub v: &'a mut [f32],
    pub shadow: Option<&'a mut [bf16]>,
    /// And its decay.
    pub average: Option<(&'a mut [f32], f32)>,
}

/// What is the same for every element. `Factors` in `adamw.cu`.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(super) struct Factors {
    grad_scale: f32,
    /// `beta1`, `1 - beta1`
    first: [f32; 2],
    /// `beta2`, `1 - beta2`
    second: [f32; 2],
    /// `1 / sqrt(1 - beta2^step)`
    root: f32,
    eps: f32,
    /// `1 - lr weight_decay`
    decay: f32,
    /// `-lr / (1 - beta1^step)`
    rate: f32,
}

impl Factors {
    /// In f64, because `1 - beta^step` cancels.
    pub(super) fn new(args: &Args<'_>) -> Self {
        let (beta1, beta2, lr) = (f64::from(args.beta1), f64::from(args.beta2), f64::from(args.lr));
        let correction = |beta: f64| 1.0 - beta.powf(args.step as f64);
        Factors {
            grad_scale: args.grad_scale,
            first: [args.beta1, (1.0 - beta1) as f32],
            second: [args.beta2, (1.0 - beta2) as f32],
            root: correction(beta2).sqrt().recip() as f32,
            eps: args.eps,
            decay: (1.0 - lr * f64::from(args.weight_decay)) as f32,
            rate: (-lr / correction(beta1)) as f32,
        }
    }
}

pub(super) fn step(isa: Isa, state: State<'_>, grad: &[f32], factors: Factors) {
    let State { param, m, v, shadow, average } = state;
    let (average, decay) = average.unzip();
    let count = grad.len().div_ceil(PIECE);
    let optional = pieces(shadow, count).into_par_iter().zip(pieces(average, count));
    let moments = m.par_chunks_mut(PIECE).zip(v.par_chunks_mut(PIECE));
    param.par_chunks_mut(PIECE).zip(grad.par_chunks(PIECE)).zip(moments).zip(optional).for_each(
        |(((param, grad), (m, v)), (shadow, average))| {
            match (average, decay) {
                (Some(average), Some(decay)) => {
                    dispatch(isa, StepLoop::<true> { param, grad, m, v, factors, average, decay });
                }
                _ => dispatch(isa, StepLoop::<false> { param, grad, m, v, factors, average: &mut [], decay: 0.0 }),
            }
            if let Some(shadow) = shadow {
                shadow.convert_from_f32_slice(param);
            }
        },
    );
}

/// The pieces of an operand that may be absent.
fn pieces<T>(operand: Option<&mut [T]>, count: usize) -> Vec<Option<&mut [T]>> {
    match operand {
        Some(operand) => operand.chunks_mut(PIECE).map(Some).collect(),
        None => (0..count).map(|_| None).collect(),
    }
}

struct StepLoop<'a, const AVERAGED: bool> {
    param: &'a mut [f32],
    grad: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    factors: Factors,
    /// Empty where there is none.
    average: &'a mut [f32],
    decay: f32,
}

impl<const AVERAGED: bool> Body for StepLoop<'_, AVERAGED> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let StepLoop { param, grad, m, v, factors, average, decay } = self;
        let (decay, rest) = (s.splat(decay), s.splat(1.0 - decay));
        let (grads, grad) = grad.as_chunks::<BLOCK>();
        let ((params, param), (ms, m), (vs, v)) = (blocks(param), blocks(m), blocks(v));
        let (averages, average) = blocks(average);
        for i in 0..grads.len() {
            for stream in [grads, params, ms, vs] {
                if let Some(block) = stream.get(i + AHEAD) {
                    s.prefetch(block);
                }
            }
            if AVERAGED && let Some(block) = averages.get(i + AHEAD) {
                s.prefetch(block);
            }
            for half in 0..2 {
                let lanes = half * LANES..(half + 1) * LANES;
                let (param, m, v) =
                    (&mut params[i][lanes.clone()], &mut ms[i][lanes.clone()], &mut vs[i][lanes.clone()]);
                let state = [s.load(param), s.load(m), s.load(v)];
                let [new_param, new_m, new_v] = update(s, state, s.load(&grads[i][lanes]), factors);
                s.store(new_param, param);
                s.store(new_m, m);
                s.store(new_v, v);
                if AVERAGED {
                    let average = &mut averages[i][half * LANES..(half + 1) * LANES];
                    s.store(s.mul_add(decay, s.load(average), s.mul(rest, new_param)), average);
                }
            }
        }
        let moved = param.chunks_mut(LANES).zip(grad.chunks(LANES));
        for ((param, grad), (m, v)) in moved.zip(m.chunks_mut(LANES).zip(v.chunks_mut(LANES))) {
            let state = [s.load_partial(param, 0.0), s.load_partial(m, 0.0), s.load_partial(v, 0.0)];
            let [new_param, new_m, new_v] = update(s, state, s.load_partial(grad, 0.0), factors);
            s.store_partial(new_param, param);
            s.store_partial(new_m, m);
            s.store_partial(new_v, v);
        }
        if AVERAGED {
            // Less than a block of parameters, which are new by now.
            lanes::update(s, [param], average, |average, [x]| s.mul_add(decay, average, s.mul(rest, x)));
        }
    }
}

#[inline(always)]
fn blocks(x: &mut [f32]) -> (&mut [[f32; BLOCK]], &mut [f32]) {
    x.as_chunks_mut()
}

/// `[param, m, v]` after the step.
#[inline(always)]
fn update<S: Simd>(s: S, [param, m, v]: [S::V; 3], grad: S::V, f: Factors) -> [S::V; 3] {
    let g = s.mul(s.splat(f.grad_scale), grad);
    let m = s.mul_add(s.splat(f.first[0]), m, s.mul(s.splat(f.first[1]), g));
    let v = s.mul_add(s.splat(f.second[0]), v, s.mul(s.splat(f.second[1]), s.mul(g, g)));
    let denominator = s.mul_add(s.sqrt(v), s.splat(f.root), s.splat(f.eps));
    let param = s.mul_add(s.splat(f.decay), param, s.div(s.mul(s.splat(f.rate), m), denominator));
    [param, m, v]
}
