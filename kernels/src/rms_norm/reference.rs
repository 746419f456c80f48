//! Root-mean-square normalisation of one row in f64.

/// `y` and `rstd` of one row.
pub(super) fn forward(x: &[f64], weight: &[f64], eps: f64) -> (Vec<f64>, f64) {
    // An empty row has mean square 0.
    let mean_square = x.iter().map(|x| x * x).sum::<f64>() / x.len().max(1) as f64;
    let rstd = 1.0 / (mean_square + eps).sqrt();
    (x.iter().zip(weight).map(|(x, w)| x * rstd * w).collect(), rstd)
}
