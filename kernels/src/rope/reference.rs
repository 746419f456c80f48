//! The rotation of one pair in f64.

pub(crate) fn rotate([a, b]: [f64; 2], cos: f64, sin: f64) -> [f64; 2] {
    [a * cos - b * sin, a * sin + b * cos]
}
