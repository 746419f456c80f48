//! Forward on the CPU.

use super::{Dims, Inputs};
use crate::simd::Isa;

pub(super) fn run(_isa: Isa, x: Inputs<'_>, out: &mut [f32], lse: &mut [f32]) {
    let Dims { batch, heads, queries, keys, width } = x.dims;
    out.fill(0.0);
    for b in 0..batch {
        let attended = x.attended(b);
        for h in 0..heads {
            for i in 0..queries {
                let at = ((b * queries + i) * heads + h) * width;
                let key = |j: usize| ((b * keys + j) * heads + h) * width;
                let q = &x.q[at..at + width];
                let score = |&j: &usize| x.scale * q.iter().zip(&x.k[key(j)..]).map(|(q, k)| q * k).sum::<f32>();
                let scores: Vec<f32> = attended.iter().map(score).collect();
                let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f32 = scores.iter().map(|s| (s - max).exp()).sum();
                lse[(b * heads + h) * queries + i] = if scores.is_empty() { max } else { max + sum.ln() };
                for (&j, s) in attended.iter().zip(&scores) {
                    let p = (s - max).exp() / sum;
                    out[at..at + width].iter_mut().zip(&x.v[key(j)..]).for_each(|(o, v)| *o += p * v);
                }
            }
        }
    }
}
