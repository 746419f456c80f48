//! Attention in f64 scalar loops: the score matrix row by row, nothing recomputed cleverly.
//!
//! Backward is here too, because central differences of the whole operation cost too much at lengths that reach every
//! tile of the fast path; its own test holds it to central differences of [`forward`].

use super::Dims;

/// Operands in f64; shapes as in [`super::Forward`].
#[derive(Clone)]
pub(super) struct Operands {
    pub(super) q: Vec<f64>,
    pub(super) k: Vec<f64>,
    pub(super) v: Vec<f64>,
    pub(super) mask: Option<Vec<f64>>,
    pub(super) dims: Dims,
    pub(super) scale: f64,
}

impl Operands {
    /// Where element `d` of head `h` of a token starts, with `tokens` tokens in a sequence.
    fn at(&self, tokens: usize, b: usize, h: usize, token: usize) -> usize {
        ((b * tokens + token) * self.dims.heads + h) * self.dims.width
    }

    fn query(&self, b: usize, h: usize, i: usize) -> std::ops::Range<usize> {
        let first = self.at(self.dims.queries, b, h, i);
        first..first + self.dims.width
    }

    fn key(&self, b: usize, h: usize, j: usize) -> std::ops::Range<usize> {
        let first = self.at(self.dims.keys, b, h, j);
        first..first + self.dims.width
    }

    /// The keys that sequence `b` attends to: all, or those that the mask does not exclude.
    fn attended(&self, b: usize) -> Vec<usize> {
        let excluded = |j: usize| self.mask.as_ref().is_some_and(|mask| mask[b * self.dims.keys + j] == 0.0);
        (0..self.dims.keys).filter(|&j| !excluded(j)).collect()
    }

    /// The probabilities of query `i` over the attended keys, and the logarithm of the sum of exponentials.
    fn probabilities(&self, b: usize, h: usize, i: usize) -> (Vec<f64>, f64) {
        let score = |&j: &usize| self.scale * dot(&self.q[self.query(b, h, i)], &self.k[self.key(b, h, j)]);
        let scores: Vec<f64> = self.attended(b).iter().map(score).collect();
        if scores.is_empty() {
            return (scores, f64::NEG_INFINITY);
        }
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
        (scores.iter().map(|s| (s - max).exp() / sum).collect(), max + sum.ln())
    }

    /// The largest `|scale| * sum_d |q_id| |k_jd|`: what the rounding error of a score is relative to.
    pub(super) fn score_magnitude(&self) -> f64 {
        let Dims { batch, heads, queries, keys, .. } = self.dims;
        let mut largest = 0.0f64;
        for (b, h) in pairs(batch, heads) {
            for (i, j) in pairs(queries, keys) {
                let (q, k) = (&self.q[self.query(b, h, i)], &self.k[self.key(b, h, j)]);
                largest = largest.max(q.iter().zip(k).map(|(q, k)| (q * k).abs()).sum());
            }
        }
        largest * self.scale.abs()
    }
}

/// `out` and `lse`.
pub(super) fn forward(x: &Operands) -> (Vec<f64>, Vec<f64>) {
    let Dims { batch, heads, queries, .. } = x.dims;
    let mut out = vec![0.0; x.q.len()];
    let mut lse = Vec::new();
    for (b, h) in pairs(batch, heads) {
        for i in 0..queries {
            let (p, sum) = x.probabilities(b, h, i);
            lse.push(sum);
            for (p, j) in p.into_iter().zip(x.attended(b)) {
                axpy(p, &x.v[x.key(b, h, j)], &mut out[x.query(b, h, i)]);
            }
        }
    }
    (out, lse)
}

/// `[dq, dk, dv]` for the gradient `dout` of `out`.
pub(super) fn backward(x: &Operands, dout: &[f64]) -> [Vec<f64>; 3] {
    gradients(x, &Terms { q: &x.q, k: &x.k, v: &x.v, dout, out: &forward(x).0, sign: -1.0 })
}

/// The sums of the magnitudes of the terms of `[dq, dk, dv]`: what honest cancellation is measured against.
pub(super) fn backward_magnitudes(x: &Operands, dout: &[f64]) -> [Vec<f64>; 3] {
    let abs = |x: &[f64]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
    let (q, k, v, dout) = (abs(&x.q), abs(&x.k), abs(&x.v), abs(dout));
    let (out, _) = forward(&Operands { v: v.clone(), ..x.clone() });
    gradients(x, &Terms { q: &q, k: &k, v: &v, dout: &dout, out: &out, sign: 1.0 })
}

/// What the sums run over, given the probabilities: the operands, or their magnitudes.
struct Terms<'a> {
    q: &'a [f64],
    k: &'a [f64],
    v: &'a [f64],
    dout: &'a [f64],
    out: &'a [f64],
    /// -1 in `dp - d`; 1 adds the magnitudes up instead.
    sign: f64,
}

fn gradients(x: &Operands, t: &Terms<'_>) -> [Vec<f64>; 3] {
    let Dims { batch, heads, queries, .. } = x.dims;
    let [mut dq, mut dk, mut dv] = [x.q.len(), x.k.len(), x.v.len()].map(|n| vec![0.0; n]);
    for (b, h) in pairs(batch, heads) {
        for i in 0..queries {
            let (p, _) = x.probabilities(b, h, i);
            let at = x.query(b, h, i);
            let d = dot(&t.dout[at.clone()], &t.out[at.clone()]);
            for (p, j) in p.into_iter().zip(x.attended(b)) {
                let key = x.key(b, h, j);
                let dp = dot(&t.dout[at.clone()], &t.v[key.clone()]);
                let ds = p * (dp + t.sign * d) * x.scale;
                axpy(p, &t.dout[at.clone()], &mut dv[key.clone()]);
                axpy(ds, &t.q[at.clone()], &mut dk[key.clone()]);
                axpy(ds, &t.k[key], &mut dq[at.clone()]);
            }
        }
    }
    [dq, dk, dv]
}

fn pairs(a: usize, b: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..a).flat_map(move |a| (0..b).map(move |b| (a, b)))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn axpy(alpha: f64, x: &[f64], y: &mut [f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += alpha * x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{central_differences, operands};

    #[test]
    fn backward_agrees_with_central_differences() {
        let dims = Dims { batch: 2, heads: 2, queries: 3, keys: 5, width: 3 };
        let random = |stream, len| operands(11, stream, len).into_iter().map(f64::from).collect::<Vec<_>>();
        let mask = vec![1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0];
        for mask in [None, Some(mask)] {
            let (q, k, v, dout) = (random(0, 36), random(1, 60), random(2, 60), random(3, 36));
            let x = Operands { q, k, v, mask, dims, scale: 0.6 };
            let loss = |x: &Operands| dot(&forward(x).0, &dout);
            let numeric = [
                central_differences(&x.q, |q| loss(&Operands { q: q.to_vec(), ..x.clone() })),
                central_differences(&x.k, |k| loss(&Operands { k: k.to_vec(), ..x.clone() })),
                central_differences(&x.v, |v| loss(&Operands { v: v.to_vec(), ..x.clone() })),
            ];
            for (analytic, numeric) in backward(&x, &dout).iter().zip(&numeric) {
                for (a, n) in analytic.iter().zip(numeric) {
                    assert!((a - n).abs() < 1e-8, "{a} against {n}");
                }
            }
        }
    }
}
