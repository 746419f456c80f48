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
    /// `of(value, the same value of many others)` for each figure.
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

    /// Each figure less that of `other`.
    fn less(&self, other: &Figures<f64>) -> Figures<f64> {
        let both = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a - b);
        let labels = self.labels.iter().filter_map(|(name, a)| Some((name.clone(), a - other.labels.get(name)?)));
        Figures {
            caption_accuracy: self.caption_accuracy - other.caption_accuracy,
            labels: labels.collect(),
            frechet: self.frechet - other.frechet,
            kernel_distance: self.kernel_distance - other.kernel_distance,
            motion: self.motion - other.motion,
            diversity: self.diversity - other.diversity,
            contrast: self.contrast - other.contrast,
            still: self.still - other.still,
            style: both(self.style, other.style),
            recognised: both(self.recognised, other.recognised),
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

    /// The figures of each resample.
    pub(super) fn of(&self, figures: impl Fn(&[usize]) -> Figures<f64> + Sync) -> Resampled {
        Resampled { many: self.picks.par_iter().map(|picks| figures(picks)).collect(), confidence: self.confidence }
    }
}

/// The figures of a row on every resample.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resampled {
    many: Vec<Figures<f64>>,
    confidence: f64,
}

impl Resampled {
    /// Percentile intervals of figures, moved so that the resamples' mean falls on the value itself: a resample repeats
    /// clips, which moves distances (not their spread) upward, as a smaller sample would.
    pub(super) fn intervals(&self, value: &Figures<f64>) -> Figures<[f64; 2]> {
        value.against(&self.many, |value, resampled| self.interval(value, resampled))
    }

    /// Intervals of the differences to another row. Both rows saw the same captions in each resample, so what makes a
    /// caption hard for both cancels: these intervals are narrower than those of the rows suggest.
    pub(super) fn differences(
        &self,
        value: &Figures<f64>,
        (other, others): (&Figures<f64>, &Resampled),
    ) -> Figures<[f64; 2]> {
        let less = |a: &Figures<f64>, b: &Figures<f64>| a.less(b);
        let many: Vec<_> = self.many.iter().zip(&others.many).map(|(a, b)| less(a, b)).collect();
        less(value, other).against(&many, |value, resampled| self.interval(value, resampled))
    }

    fn interval(&self, value: f64, mut resampled: Vec<f64>) -> [f64; 2] {
        resampled.sort_by(f64::total_cmp);
        let tail = (1.0 - self.confidence) / 2.0;
        let shift = value - mean(resampled.iter().copied());
        [tail, 1.0 - tail].map(|q| quantile(&resampled, q) + shift)
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
        let resampled = resamples.of(biased);
        let intervals = resampled.intervals(&all(value));
        for [low, high] in [intervals.frechet, intervals.labels["digit"], intervals.style.unwrap()] {
            // 2 * 1.96 / sqrt(400) = 0.196, itself uncertain by a few per cent.
            assert!((high - low - 0.196).abs() < 0.03, "{low} {high}");
            assert!((0.5 * (low + high) - value).abs() < 0.02, "{low} {high} {value}");
        }
        assert_eq!(intervals.recognised, None);
        // Another row that is 0.1 better on every caption: beyond doubt, though the rows' own intervals overlap.
        let better = resamples.of(|picks| all(7.1 + mean(picks.iter().map(|&i| values[i]))));
        let [low, high] = better.differences(&all(value + 0.1), (&all(value), &resampled)).frechet;
        assert!((low - 0.1).abs() < 1e-9 && (high - 0.1).abs() < 1e-9, "{low} {high}");
    }
}
