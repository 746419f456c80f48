//! Rounding by the definition of the format: 8 significant bits, fewer below the smallest normal number, to nearest even.

/// Each finite value as the nearest bf16.
pub(super) fn round_to_bf16(x: &[f64]) -> Vec<f64> {
    x.iter()
        .map(|&x| {
            if x == 0.0 {
                return x;
            }
            let exponent = x.abs().log2().floor().max(-126.0);
            let quantum = (exponent - 7.0).exp2();
            (x / quantum).round_ties_even() * quantum
        })
        .collect()
}
