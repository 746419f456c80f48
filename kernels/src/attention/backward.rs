//! Backward on the CPU.

use super::{Dims, Inputs};
use crate::simd::Isa;

/// What backward reads besides the inputs; shapes as in [`super::Backward`].
#[derive(Clone, Copy)]
pub(super) struct Saved<'a> {
    pub(super) out: &'a [f32],
    pub(super) lse: &'a [f32],
    pub(super) dout: &'a [f32],
}

pub(super) fn run(_isa: Isa, x: Inputs<'_>, saved: Saved<'_>, gradients: [&mut [f32]; 3]) {
    let Dims { batch, heads, queries, keys, width } = x.dims;
    let [dq, dk, dv] = gradients;
    for g in [&mut *dq, &mut *dk, &mut *dv] {
        g.fill(0.0);
    }
    for b in 0..batch {
        let attended = x.attended(b);
        for (h, i) in (0..heads).flat_map(|h| (0..queries).map(move |i| (h, i))) {
            let at = ((b * queries + i) * heads + h) * width;
            let (q, dout) = (&x.q[at..at + width], &saved.dout[at..at + width]);
            let d = dot(dout, &saved.out[at..]);
            for &j in &attended {
                let key = ((b * keys + j) * heads + h) * width;
                let p = (x.scale * dot(q, &x.k[key..]) - saved.lse[(b * heads + h) * queries + i]).exp();
                let ds = p * (dot(dout, &x.v[key..]) - d) * x.scale;
                for e in 0..width {
                    dv[key + e] += p * dout[e];
                    dk[key + e] += ds * q[e];
                    dq[at + e] += ds * x.k[key + e];
                }
            }
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
