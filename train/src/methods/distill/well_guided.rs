//! The well-guided teacher: a mixture of the unpruned and the pruned network, with and without text.
//!
//! Every reading of the mixture is affine in four predictions: unpruned and pruned network, each with the caption and
//! with the null caption. Coefficients sum to 1, so mixing velocities, denoised clips or scores is the same.

use crate::config::WellGuided;

/// Factors of the four predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Coefficients {
    /// Unpruned, with the caption.
    pub unpruned: f64,
    /// Unpruned, null caption.
    pub unpruned_null: f64,
    /// Pruned, with the caption.
    pub pruned: f64,
    /// Pruned, null caption.
    pub pruned_null: f64,
}

impl WellGuided {
    /// The factors for strengths `b1` (extra classifier-free guidance: 0 is conditional only) and `b2` (unpruned
    /// against pruned).
    pub fn coefficients(self, b1: f64, b2: f64) -> Coefficients {
        let [unpruned, unpruned_null, pruned, pruned_null] = match self {
            WellGuided::A => [1.0 + b1 + b2, -b1, -b2, 0.0],
            WellGuided::ANested => [(1.0 + b2) * (1.0 + b1), -(1.0 + b2) * b1, -b2 * (1.0 + b1), b2 * b1],
            WellGuided::BInterpolation => [b2 * (1.0 + b1), -b2 * b1, (1.0 - b2) * (1.0 + b1), -(1.0 - b2) * b1],
            WellGuided::CPrunedBase => [b2, 0.0, 1.0 + b1 - b2, -b1],
            WellGuided::ESingleNegative => [1.0 + b1, 0.0, 0.0, -b1],
        };
        Coefficients { unpruned, unpruned_null, pruned, pruned_null }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [WellGuided; 5] = [
        WellGuided::A,
        WellGuided::ANested,
        WellGuided::BInterpolation,
        WellGuided::CPrunedBase,
        WellGuided::ESingleNegative,
    ];

    fn mix(c: Coefficients, [u, u0, p, p0]: [f64; 4]) -> f64 {
        c.unpruned * u + c.unpruned_null * u0 + c.pruned * p + c.pruned_null * p0
    }

    #[test]
    fn coefficients_sum_to_one() {
        for reading in ALL {
            for (b1, b2) in [(0.0, 0.0), (2.5, 0.25), (3.5, 0.75), (1.0, -0.5)] {
                assert!((mix(reading.coefficients(b1, b2), [1.0; 4]) - 1.0).abs() < 1e-12, "{reading:?}");
            }
        }
    }

    #[test]
    fn without_the_second_strength_the_sum_is_classifier_free_guidance() {
        let (u, u0) = (0.7, -0.3);
        for reading in [WellGuided::A, WellGuided::ANested] {
            let got = mix(reading.coefficients(2.5, 0.0), [u, u0, 9.0, 9.0]);
            assert!((got - (u + 2.5 * (u - u0))).abs() < 1e-12);
        }
    }

    #[test]
    fn equal_networks_make_the_second_strength_irrelevant() {
        let (c, null) = (0.7, -0.3);
        for reading in ALL {
            let at = |b2| mix(reading.coefficients(1.5, b2), [c, null, c, null]);
            assert!((at(0.0) - at(0.8)).abs() < 1e-12, "{reading:?}");
        }
    }
}
