//! Layer normalisation of one row in f64.

/// What one row gives.
pub(super) struct Normalised {
    pub y: Vec<f64>,
    pub mean: f64,
    pub rstd: f64,
}

/// `factor` and `shift` are the row's own: `weight_offset + weight[g]` and `bias[g]`.
pub(super) fn forward(x: &[f64], factor: &[f64], shift: &[f64], eps: f64) -> Normalised {
    // An empty row has mean and variance 0.
    let n = x.len().max(1) as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    let rstd = 1.0 / (variance + eps).sqrt();
    let y = x.iter().zip(factor).zip(shift).map(|((x, f), s)| (x - mean) * rstd * f + s).collect();
    Normalised { y, mean, rstd }
}
