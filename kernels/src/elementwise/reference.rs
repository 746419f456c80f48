//! The four formulas in f64.

pub(super) fn combine(x: &[f64], y: &[f64], alpha: f64, beta: f64) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| alpha * x + beta * y).collect()
}

pub(super) fn multiply(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}

pub(super) fn scale_rows(x: &[f64], factors: &[f64], y: &[f64]) -> Vec<f64> {
    let width = x.len() / factors.len().max(1);
    (0..x.len()).map(|i| factors[i / width] * x[i] + y[i]).collect()
}
