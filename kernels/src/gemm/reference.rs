//! The product and its epilogue in f64.

use super::{Activation, Dims, Layout};

/// `ab` and the sums of its terms' magnitudes.
pub(super) fn product(layout: Layout, dims: Dims, a: &[f64], b: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let Dims { m, n, k } = dims;
    let a = |i: usize, p: usize| if layout == Layout::TN { a[p * m + i] } else { a[i * k + p] };
    let b = |p: usize, j: usize| if matches!(layout, Layout::NT | Layout::NP) { b[j * k + p] } else { b[p * n + j] };
    let element = |i: usize| {
        let terms = (0..k).map(|p| a(i / n, p) * b(p, i % n));
        terms.fold((0.0, 0.0), |(sum, scale), term| (sum + term, scale + f64::abs(term)))
    };
    (0..m * n).map(element).unzip()
}

pub(super) fn activation(activation: Activation, u: f64) -> f64 {
    match activation {
        Activation::None => u,
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (u + 0.044715 * u * u * u);
            0.5 * u * (1.0 + inner.tanh())
        }
        Activation::GeluErf => 0.5 * u * (1.0 + erf(u / std::f64::consts::SQRT_2)),
        Activation::Silu => u / (1.0 + (-u).exp()),
    }
}

/// Abramowitz and Stegun 7.1.6: `2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (1 3 .. 2n+1)`, whose terms share one sign.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / (2 * n + 1) as f64;
        sum += term;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    #[test]
    fn erf_has_its_known_values() {
        for (x, want) in [(0.0, 0.0), (0.5, 0.5204998778130465), (2.0, 0.9953222650189527), (-1.0, -0.8427007929497149)]
        {
            assert!((super::erf(x) - want).abs() < 1e-14, "erf({x})");
        }
    }
}
