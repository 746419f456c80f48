//! The figures of a row, and their intervals.

use std::collections::BTreeMap;

use flg_engine::Key;
use rayon::prelude::*;

use crate::audit::statistics::{mean, quantile};
use crate::config::EvalConfig;

/// What is measured of a set of clips: `T` is a value, or its interval `[low, high]`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Figures<T> {
    /// Share of clips on which everything that the caption says is read rightly.
    pub caption_accuracy: T,
    /// The same for each kind of label alone. `frame`, where frames are read: share of frames that show their digit.
    pub labels: BTreeMap<String, T>,
    /// Frechet distance to real clips.
    pub frechet: T,
    /// Unbiased kernel distance to real clips.
    pub kernel_distance: T,
    /// Mean energy of frame differences over the real clips'.
    pub motion: T,
    /// Mean distance between clips of one caption over the real clips'.
    pub diversity: T,
    /// Standard deviation of pixels over the real clips'.
    pub contrast: T,
    /// Share of clips with less than a tenth of the real clips' mean motion.
    pub still: T,
    /// Where frames are read: variance of pixels within a digit over the real clips'; 0 is one picture a digit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<T>,
    /// Where frames are read: share of frames whose digit is more than 90 % probable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recognised: Option<T>,
}

impl Figures<f64> {
    /// `of(value, its resampled values)` for each figure.
    fn against(&self, many: &[Figures<f64>], of: impl Fn(f64, Vec<f64>) -> [f64; 2]) -> Figures<[f64; 2]> {
        let each = |get: &dyn Fn(&Figures<f64>) -> f64| of(get(self), many.iter().map(get).collect());
        let label = |name: &String| each(&|f| f.labels.get(name).copied().unwrap_or(f64::NAN));
        Figures {
            caption_accuracy: each(&|f| f.caption_accuracy),
            labels: self.labels.keys().map(|name| (name.clone(), label(name))).collect(),
            frechet: each(&|f| f.frechet),
            kernel_distance: each(&|f| f.kernel_distance),
            motion: each(&|f| f.motion),
            diversity: each(&|f| f.diversity),
            contrast: each(&|f| f.contrast),
            still: each(&|f| f.still),
            style: self.style.map(|_| each(&|f| f.style.unwrap_or(f64::NAN))),
            recognised: self.recognised.map(|_| each(&|f| f.recognised.unwrap_or(f64::NAN))),
        }
    }
}

/// Resampled groups of clips, the same for every row, so that rows are compared on the same captions.
#[derive(Clone, Debug)]
pub(super) struct Resamples {
    picks: Vec<Vec<usize>>,
    confidence: f64,
}

impl Resamples {
    /// `config.bootstrap` times `groups` groups, drawn with replacement.
    pub(super) fn new(groups: usize, config: &EvalConfig, seed: u64) -> Self {
        let key = Key::new(seed).name("evaluation bootstrap");
        let draw = |i: u64| {
            let mut stream = key.at(i).stream();
            (0..groups).map(|_| stream.below(groups)).collect()
        };
        Resamples { picks: (0..config.bootstrap as u64).map(draw).collect(), confidence: config.confidence }
    }

    /// Percentile intervals of figures, moved so that the resamples' mean falls on the value itself: a resample repeats
    /// clips, which moves distances (not their spread) upward, as a smaller sample would.
    pub(super) fn intervals(
        &self,
        value: &Figures<f64>,
        figures: impl Fn(&[usize]) -> Figures<f64> + Sync,
    ) -> Figures<[f64; 2]> {
        let many: Vec<Figures<f64>> = self.picks.par_iter().map(|picks| figures(picks)).collect();
        let tail = (1.0 - self.confidence) / 2.0;
        value.against(&many, |value, mut resampled| {
            resampled.sort_by(f64::total_cmp);
            let shift = value - mean(resampled.iter().copied());
            [tail, 1.0 - tail].map(|q| quantile(&resampled, q) + shift)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(x: f64) -> Figures<f64> {
        Figures {
            caption_accuracy: x,
            labels: BTreeMap::from([("digit".to_owned(), x)]),
            frechet: x,
            kernel_distance: x,
            motion: x,
            diversity: x,
            contrast: x,
            still: x,
            style: Some(x),
            recognised: None,
        }
    }

    #[test]
    fn intervals_have_the_width_of_the_standard_error_around_the_value() {
        let mut stream = Key::new(1).stream();
        let values: Vec<f64> = (0..400).map(|_| stream.normal()).collect();
        let config = EvalConfig { bootstrap: 1000, ..EvalConfig::default() };
        let resamples = Resamples::new(400, &config, 5);
        // A bias that only resamples have must not move the interval.
        let biased = |picks: &[usize]| all(7.0 + mean(picks.iter().map(|&i| values[i])));
        let value = mean(values.iter().copied());
        let intervals = resamples.intervals(&all(value), biased);
        for [low, high] in [intervals.frechet, intervals.labels["digit"], intervals.style.unwrap()] {
            // 2 * 1.96 / sqrt(400) = 0.196, itself uncertain by a few per cent.
            assert!((high - low - 0.196).abs() < 0.03, "{low} {high}");
            assert!((0.5 * (low + high) - value).abs() < 0.02, "{low} {high} {value}");
        }
        assert_eq!(intervals.recognised, None);
    }
}
