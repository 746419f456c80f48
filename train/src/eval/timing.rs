//! Wall time of sampling.

use std::time::Instant;

use crate::Result;

/// Times of batches of one size. The first batch, which fills caches and the memory pool, does not count.
#[derive(Clone, Debug, Default)]
pub(super) struct Timing {
    seconds: Vec<f64>,
}

impl Timing {
    /// Runs and times a batch.
    ///
    /// # Errors
    /// Those of the batch.
    pub(super) fn run<T>(&mut self, batch: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let made = batch()?;
        self.seconds.push(began.elapsed().as_secs_f64());
        Ok(made)
    }

    /// Batches that count.
    pub(super) fn counted(&self) -> usize {
        self.seconds.len().saturating_sub(1)
    }

    /// Median seconds of the batches that count, a clip.
    pub(super) fn seconds_per_clip(&self, clips_per_batch: usize) -> f64 {
        let mut seconds: Vec<f64> = self.seconds.iter().skip(1).copied().collect();
        seconds.sort_by(f64::total_cmp);
        crate::audit::statistics::quantile(&seconds, 0.5) / clips_per_batch as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_leaves_the_first_batch_aside() {
        let timing = Timing { seconds: vec![100.0, 2.0, 8.0, 4.0] };
        assert_eq!((timing.counted(), timing.seconds_per_clip(2)), (3, 2.0));
        let mut timing = Timing::default();
        assert_eq!(timing.run(|| Ok(5)).unwrap(), 5);
        assert_eq!(timing.counted(), 0);
    }
}
