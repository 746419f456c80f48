//! The gated residual connection of one element in f64.

pub(super) fn forward(x: f64, h: f64, gate: f64) -> f64 {
    x + gate * h
}
