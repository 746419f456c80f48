//! Softmax in f64.

pub(super) fn forward(x: &[f64], width: usize) -> Vec<f64> {
    x.chunks(width.max(1))
        .flat_map(|row| {
            let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
            row.iter().map(move |x| (x - max).exp() / sum)
        })
        .collect()
}
