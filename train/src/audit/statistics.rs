//! Means, rank correlation and bootstrap intervals.

use flg_engine::Key;

/// How intervals are made.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    /// Bootstrap resamples.
    pub resamples: usize,
    /// Mass inside, 0..1.
    pub confidence: f64,
    /// Of the resampling.
    pub seed: u64,
}

/// The mean; 0 of nothing.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0usize);
    for value in values {
        sum += value;
        count += 1;
    }
    sum / count.max(1) as f64
}

/// The percentile interval of a statistic over `items` resampled with replacement (clusters: clips, captions).
///
/// The same seed resamples the same items, so that intervals of different scores are paired.
pub fn bootstrap_over(items: usize, interval: Interval, statistic: impl Fn(&[usize]) -> f64) -> [f64; 2] {
    let key = Key::new(interval.seed).name("bootstrap");
    let mut picks = vec![0; items];
    let mut values: Vec<f64> = (0..interval.resamples.max(1))
        .map(|i| {
            let mut stream = key.at(i as u64).stream();
            picks.iter_mut().for_each(|pick| *pick = stream.below(items));
            statistic(&picks)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - interval.confidence) / 2.0;
    [quantile(&values, tail), quantile(&values, 1.0 - tail)]
}

/// The quantile `q` of ascending values, linear between neighbours; NaN of nothing.
pub fn quantile(ascending: &[f64], q: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else { return f64::NAN };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (position.floor() as usize, position.ceil() as usize);
    ascending[low] + (ascending[high] - ascending[low]) * (position - low as f64)
}

/// Spearman's rank correlation, ties at their mean rank; 0 where one side does not vary.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let (ma, mb) = (mean(a.iter().copied()), mean(b.iter().copied()));
    let product =
        |x: &[f64], mx: f64, y: &[f64], my: f64| -> f64 { x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum() };
    let scale = (product(&a, ma, &a, ma) * product(&b, mb, &b, mb)).sqrt();
    if scale > 0.0 { product(&a, ma, &b, mb) / scale } else { 0.0 }
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |x: f64| {
        let below = values.iter().filter(|&&y| y < x).count();
        let equal = values.iter().filter(|&&y| y == x).count();
        below as f64 + (equal as f64 - 1.0) / 2.0
    };
    values.iter().map(|&x| rank(x)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spearman_sees_order_only() {
        assert!((spearman(&[1.0, 2.0, 30.0], &[-5.0, 0.0, 0.1]) - 1.0).abs() < 1e-12);
        assert!((spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        assert_eq!(spearman(&[1.0, 1.0, 1.0], &[3.0, 2.0, 1.0]), 0.0);
        // 1 - 6 * 2 / (4 * 15) = 0.8, no ties.
        assert!((spearman(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]) - 0.8).abs() < 1e-12);
    }

    #[test]
    fn intervals_have_the_width_of_the_standard_error() {
        let mut stream = Key::new(1).stream();
        let values: Vec<f64> = (0..400).map(|_| stream.normal()).collect();
        let interval = Interval { resamples: 2000, confidence: 0.95, seed: 2 };
        let [low, high] = bootstrap_over(400, interval, |picks| mean(picks.iter().map(|&i| values[i])));
        // 2 * 1.96 / sqrt(400) = 0.196, itself uncertain by a few per cent.
        assert!((high - low - 0.196).abs() < 0.03, "{low} {high}");
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
    }
}
