//! The average in f64.

pub(super) fn lerp(average: &[f64], x: &[f64], decay: f64) -> Vec<f64> {
    average.iter().zip(x).map(|(average, x)| decay * average + (1.0 - decay) * x).collect()
}
