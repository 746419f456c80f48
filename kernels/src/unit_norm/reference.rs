//! The norm and SiLU in f64.

/// A row without activation.
pub(super) fn norm(x: &[f64], weight: &[f64]) -> Vec<f64> {
    let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    // A NaN is not replaced.
    let length = if length < 1e-12 { 1e-12 } else { length };
    let root = (x.len() as f64).sqrt();
    x.iter().zip(weight).map(|(x, weight)| root * x / length * weight).collect()
}

pub(super) fn silu(u: f64) -> f64 {
    u / (1.0 + (-u).exp())
}
