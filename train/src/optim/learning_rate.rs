//! How the step size changes over a run.

use crate::config::{Decay, OptimizerConfig};

/// What the peak learning rates are multiplied with in update `number` (from 1) out of `total`: a linear rise over the
/// warm-up, then the configured decay.
pub fn lr_factor(config: &OptimizerConfig, number: u64, total: u64) -> f64 {
    if number <= config.warmup {
        return number as f64 / config.warmup as f64;
    }
    match config.decay {
        Decay::Constant => 1.0,
        Decay::Cosine => {
            let rest = total.saturating_sub(config.warmup).max(1) as f64;
            let done = ((number - config.warmup) as f64 - 0.5) / rest;
            let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done.clamp(0.0, 1.0)).cos());
            config.floor + (1.0 - config.floor) * cosine
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_to_one_and_falls_to_the_floor() {
        let config = OptimizerConfig { warmup: 10, decay: Decay::Cosine, floor: 0.1, ..OptimizerConfig::default() };
        let factor = |number| lr_factor(&config, number, 100);
        assert_eq!((factor(1), factor(10)), (0.1, 1.0));
        assert!((factor(55) - 0.55).abs() < 0.02);
        assert!((0.1..0.101).contains(&factor(100)));
        assert!((11..100).all(|number| factor(number) >= factor(number + 1)));
        let constant = OptimizerConfig { decay: Decay::Constant, ..OptimizerConfig::default() };
        assert_eq!(lr_factor(&constant, 1, 1), 1.0);
    }
}
