//! Rounding by the definition of the format: 8 significant bits, to nearest even.

/// Each finite, normal value as the nearest bf16.
pub(super) fn round_to_bf16(x: &[f64]) -> Vec<f64> {
    x.iter()
        .map(|&x| {
            if x == 0.0 {
                return x;
            }
            let quantum = (x.abs().log2().floor() - 7.0).exp2();
            (x / quantum).round_ties_even() * quantum
        })
        .collect()
}
