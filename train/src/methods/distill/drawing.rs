//! What Stage III draws at random, as its configuration says.

use flg_engine::Key;
use flg_model::BlockMask;
use flg_model::schedule::flow::{shift, unshift};

use super::well_guided::Coefficients;
use crate::config::{DistillConfig, Exit, Strengths, TimeRange, WeakMask};
use crate::error::Result;
use crate::levels::Levels;

impl DistillConfig {
    /// Noise levels at which the scores are compared, one a sample.
    ///
    /// `Truncate` draws through the inverse distribution function, so that no level has a probability of its own;
    /// `Clamp` piles up what lies outside at the ends. Only `levels` are drawn, of which `t_range` leaves some.
    pub(super) fn score_levels(&self, levels: Levels, key: Key, samples: usize) -> Vec<f32> {
        let mut stream = key.stream();
        let Levels { low, high } = levels.and(self.t_range);
        let (from, to) = (unshift(low, self.shift), unshift(high, self.shift));
        let level = |u: f64| match self.t_rule {
            TimeRange::Truncate => shift(from + u * (to - from), self.shift),
            TimeRange::Clamp => levels.at(u, self.shift).clamp(low, high),
        };
        (0..samples).map(|_| level(stream.uniform()) as f32).collect()
    }

    /// Factors of the teacher's predictions, one set a sample.
    pub(super) fn coefficients(&self, key: Key, samples: usize) -> Vec<Coefficients> {
        let mut stream = key.stream();
        let mut strength = |mean: f64| {
            let u = stream.uniform();
            match self.strengths {
                Strengths::Around => mean * (1.0 + self.rho * (2.0 * u - 1.0)),
                Strengths::Double => mean * 2.0 * u,
                Strengths::Half => mean * u,
                Strengths::Fixed => mean,
            }
        };
        let mut draw = || {
            let (b1, b2) = (strength(self.beta1_extra()), strength(self.beta2));
            self.well_guided.coefficients(b1, b2)
        };
        if self.per_sample { (0..samples).map(|_| draw()).collect() } else { vec![draw(); samples] }
    }

    /// The blocks of the teacher's weak branch; `fixed` are those of the student.
    pub(super) fn weak_mask(&self, key: Key, fixed: &BlockMask) -> Result<BlockMask> {
        if self.weak_mask == WeakMask::Fixed {
            return Ok(fixed.clone());
        }
        let mut stream = key.stream();
        let skipped: Vec<usize> = fixed.removed().into_iter().filter(|_| stream.bernoulli(0.5)).collect();
        Ok(BlockMask::without(fixed.layers(), &skipped)?)
    }

    /// The step at which each sample leaves its path: spread evenly over the samples, from a random or a cycling start.
    pub(super) fn exits(&self, step: u64, key: Key, samples: usize, steps: usize) -> Vec<usize> {
        let offset = match self.exit {
            Exit::Uniform => key.stream().below(steps),
            Exit::Cycle => (step % steps as u64) as usize,
        };
        (0..samples).map(|b| (b + offset) % steps).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_at_the_ends(rule: TimeRange) -> f64 {
        let config = DistillConfig { t_rule: rule, ..DistillConfig::default() };
        let levels = config.score_levels(Levels::ALL, Key::new(1), 4000);
        assert!(levels.iter().all(|t| (0.0199..=0.9801).contains(t)));
        let at_an_end = |t: &&f32| **t == 0.02f32 || **t == 0.98f32;
        levels.iter().filter(at_an_end).count() as f64 / 4000.0
    }

    #[test]
    fn a_truncated_range_has_no_atoms_and_a_clamped_one_has() {
        assert_eq!(share_at_the_ends(TimeRange::Truncate), 0.0);
        // Shift 5: 9.3 % at .98 and 0.4 % at .02; five binomial standard errors are 2.3 %.
        assert!((share_at_the_ends(TimeRange::Clamp) - 0.097).abs() < 0.023);
    }

    #[test]
    fn an_expert_is_scored_at_its_own_levels() {
        let low = Levels::of_expert(0.875, false);
        let levels = DistillConfig::default().score_levels(low, Key::new(1), 1000);
        assert!(levels.iter().all(|t| (0.0199..=0.8751).contains(t)));
        assert!(levels.iter().any(|t| *t > 0.85));
    }

    #[test]
    fn strengths_keep_their_mean_unless_halved() {
        let mean_of = |strengths| {
            let config = DistillConfig { strengths, beta1: 2.0, ..DistillConfig::default() };
            let drawn = config.coefficients(Key::new(2), 4000);
            drawn.iter().map(|c| -c.unpruned_null).sum::<f64>() / 4000.0
        };
        // Standard errors are at most 2 / sqrt(3 * 4000) = 0.018.
        assert!((mean_of(Strengths::Around) - 2.0).abs() < 0.06);
        assert!((mean_of(Strengths::Double) - 2.0).abs() < 0.09);
        assert!((mean_of(Strengths::Half) - 1.0).abs() < 0.05);
        assert_eq!(mean_of(Strengths::Fixed), 2.0);
    }

    #[test]
    fn all_steps_are_left_equally_often() {
        let config = DistillConfig::default();
        for step in 0..5 {
            let exits = config.exits(step, Key::new(3).at(step), 16, 4);
            assert!((0..4).all(|j| exits.iter().filter(|&&e| e == j).count() == 4));
        }
    }
}
