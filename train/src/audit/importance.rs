//! From errors to scores: weights of the time, two estimators, intervals over clips.

use serde::{Deserialize, Serialize};

use super::measure::{Cell, Measured};
use super::statistics::{Interval, bootstrap_over, mean, spearman};
use crate::config::{AuditConfig, Estimator, LossWeight};

/// A number with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Scores of every block.
#[derive(Clone, Debug)]
pub struct Importance {
    /// By the configured weight and estimator: what ranks.
    pub ranking: Vec<Score>,
    /// By flow-matching weight, the rise of the loss.
    pub flow_matching: Vec<Score>,
    /// By the weight of the evidence lower bound, the rise of the loss.
    pub elbo: Vec<Score>,
    /// The ranking's estimate in each stratum of time: `[block][stratum]`.
    pub by_stratum: Vec<Vec<f64>>,
    /// Loss of the whole network with the ranking's weight.
    pub loss: f64,
    /// Spearman correlation of the ranking with the distance from the middle: 1 is a perfect U.
    pub u_shape: Score,
    /// Blocks, the least important first; ties are broken towards the middle, then towards the end.
    pub ranked: Vec<usize>,
}

/// The weight of a squared velocity error, and of the measure that times are drawn from (`dt/du` turns shifted times
/// into uniform ones).
pub(super) fn weight(kind: LossWeight, cell: &Cell, elbo_floor: f64) -> f64 {
    match kind {
        LossWeight::Fm => 1.0,
        LossWeight::Elbo => {
            let t = cell.t.max(elbo_floor);
            (1.0 - t) / t * cell.slope
        }
        LossWeight::X0 => cell.t * cell.t,
    }
}

impl Importance {
    /// Scores a table of single skips.
    pub fn new(measured: &Measured, config: &AuditConfig, seed: u64) -> Self {
        let score = |kind, estimator| scores(measured, config, seed, kind, estimator);
        let ranking = score(config.weight, config.estimator);
        let values: Vec<f64> = ranking.iter().map(|score| score.value).collect();
        let weigh = |cell: &Cell| weight(config.weight, cell, config.elbo_floor);
        let stratum = |block, k| {
            let cells = (0..measured.clips()).map(|clip| measured.cell(block, clip, k));
            mean(cells.map(|cell| weigh(cell) * estimate(config.estimator, cell)))
        };
        let by_stratum =
            (0..measured.blocks()).map(|block| (0..measured.strata()).map(|k| stratum(block, k)).collect()).collect();
        let cells = (0..measured.clips()).flat_map(|c| (0..measured.strata()).map(move |k| (c, k)));
        let loss = mean(cells.map(|(c, k)| measured.cell(0, c, k)).map(|cell| weigh(cell) * cell.error));
        Importance {
            u_shape: u_shape(measured, config, seed),
            ranked: rank(&values),
            flow_matching: score(LossWeight::Fm, Estimator::Paired),
            elbo: score(LossWeight::Elbo, Estimator::Paired),
            ranking,
            by_stratum,
            loss,
        }
    }
}

/// What skipping costs, before weighting.
pub(super) fn estimate(estimator: Estimator, cell: &Cell) -> f64 {
    match estimator {
        Estimator::Surrogate => cell.difference,
        Estimator::Paired => cell.rise,
    }
}

/// Each clip's weighted mean over the strata, by block: `[block][clip]`.
pub(super) fn per_clip(
    measured: &Measured,
    config: &AuditConfig,
    kind: LossWeight,
    estimator: Estimator,
) -> Vec<Vec<f64>> {
    let clip = |block, clip| {
        let cells = (0..measured.strata()).map(|k| measured.cell(block, clip, k));
        mean(cells.map(|cell| weight(kind, cell, config.elbo_floor) * estimate(estimator, cell)))
    };
    (0..measured.blocks()).map(|block| (0..measured.clips()).map(|c| clip(block, c)).collect()).collect()
}

fn scores(m: &Measured, config: &AuditConfig, seed: u64, kind: LossWeight, estimator: Estimator) -> Vec<Score> {
    let interval = Interval { resamples: config.bootstrap, confidence: config.confidence, seed };
    let score = |clips: &Vec<f64>| {
        let [low, high] = bootstrap_over(clips.len(), interval, |picks| mean(picks.iter().map(|&i| clips[i])));
        Score { value: mean(clips.iter().copied()), low, high }
    };
    per_clip(m, config, kind, estimator).iter().map(score).collect()
}

fn u_shape(m: &Measured, config: &AuditConfig, seed: u64) -> Score {
    let table = per_clip(m, config, config.weight, config.estimator);
    let middle = (m.blocks() as f64 - 1.0) / 2.0;
    let distance: Vec<f64> = (0..m.blocks()).map(|l| (l as f64 - middle).abs()).collect();
    let correlation = |picks: &[usize]| {
        let scores: Vec<f64> = table.iter().map(|clips| mean(picks.iter().map(|&i| clips[i]))).collect();
        spearman(&scores, &distance)
    };
    let interval = Interval { resamples: config.bootstrap, confidence: config.confidence, seed };
    let [low, high] = bootstrap_over(m.clips(), interval, correlation);
    Score { value: correlation(&(0..m.clips()).collect::<Vec<_>>()), low, high }
}

/// Blocks by ascending score; equal scores: nearer the middle first, then the later one.
pub(super) fn rank(scores: &[f64]) -> Vec<usize> {
    let middle = (scores.len() as f64 - 1.0) / 2.0;
    let distance = |l: usize| (l as f64 - middle).abs();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(distance(a).total_cmp(&distance(b))).then(b.cmp(&a)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_middle_then_to_the_end() {
        assert_eq!(rank(&[5.0, 1.0, 1.0, 1.0, 1.0, 9.0]), [3, 2, 4, 1, 0, 5]);
    }

    #[test]
    fn the_three_weights_are_one_error_in_three_units() {
        // With D = x_t - t v the error of D is t^2 that of v; the bound's weight is (1 - t) / t^3 of the error of D.
        let cell = Cell { t: 0.4, slope: 1.0, ..Cell::default() };
        let x0 = weight(LossWeight::X0, &cell, 0.02);
        assert!((weight(LossWeight::Elbo, &cell, 0.02) - (1.0 - 0.4) / 0.4f64.powi(3) * x0).abs() < 1e-12);
        // And -1/2 d/dt ((1 - t) / t)^2 = (1 - t) / t^3, by finite difference.
        let snr = |t: f64| ((1.0 - t) / t).powi(2);
        let slope = (snr(0.4 + 1e-6) - snr(0.4 - 1e-6)) / 2e-6;
        assert!((-0.5 * slope - (1.0 - 0.4) / 0.4f64.powi(3)).abs() < 1e-4);
        // Below the floor the weight is that of the floor.
        let low = Cell { t: 0.001, slope: 1.0, ..Cell::default() };
        assert_eq!(weight(LossWeight::Elbo, &low, 0.02), 49.0);
    }
}
