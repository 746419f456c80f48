//! Network times, and their sinusoidal embedding.

use flg_engine::{Device, Tensor};

use crate::{Error, Result};

/// Network times in 0 to 1000 (1000 is pure noise), one for each group of consecutive tokens.
///
/// A sample's tokens split into equal runs that share a time: one run where the whole sample has one time, one a frame
/// where frames have their own. What depends on time is computed once a group, not once a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Time {
    values: Vec<f32>,
    groups_per_sample: usize,
}

impl Time {
    /// One time a sample.
    pub fn per_sample(times: &[f32]) -> Self {
        Time { values: times.to_vec(), groups_per_sample: 1 }
    }

    /// One time a sample, but 0 for the tokens of its first frame, which is given and clean. `frames` counts frames of
    /// tokens, at least 1.
    pub fn first_frame_clean(times: &[f32], frames: usize) -> Self {
        let frames = frames.max(1);
        let frame = |i: usize| if i.is_multiple_of(frames) { 0.0 } else { times[i / frames] };
        Time { values: (0..times.len() * frames).map(frame).collect(), groups_per_sample: frames }
    }

    /// One time a token, `[batch, tokens]` row-major, compressed to the longest equal runs.
    ///
    /// # Errors
    /// [`Error::Times`] where the values are not `batch * tokens`.
    pub fn per_token(values: &[f32], batch: usize, tokens: usize) -> Result<Self> {
        if batch.checked_mul(tokens) != Some(values.len()) {
            return Err(Error::Times { got: values.len(), batch, tokens });
        }
        let constant = |run: usize| values.chunks(run).all(|group| group.iter().all(|t| t == &group[0]));
        let run = (1..=tokens).rev().find(|&run| tokens.is_multiple_of(run) && constant(run)).unwrap_or(1);
        let values = values.chunks(run).map(|group| group[0]).collect();
        Ok(Time { values, groups_per_sample: tokens / run })
    }

    /// The times, sample after sample, `groups_per_sample` each.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Runs of tokens of a sample that have a time each.
    pub fn groups_per_sample(&self) -> usize {
        self.groups_per_sample
    }

    /// Errors unless there are times for `batch` samples of `tokens` tokens each.
    ///
    /// # Errors
    /// [`Error::Times`].
    pub fn expect(&self, batch: usize, tokens: usize) -> Result<()> {
        let groups = self.groups_per_sample;
        let fits = groups > 0 && tokens.is_multiple_of(groups) && self.values.len() == batch * groups;
        if fits { Ok(()) } else { Err(Error::Times { got: self.values.len(), batch, tokens }) }
    }

    /// The sinusoidal embedding `[cos(t w) | sin(t w)]`, `w[i] = 10000^(-i / half)`, of every group: `[groups, width]`.
    /// An odd width ends in a zero.
    ///
    /// As diffusers computes it: the exponent, the product with `t` and the result are f32. Arguments reach 1000, so
    /// that one unit in the last place of `w` moves a cosine by 1e-5: `exp` is taken in f64 and rounded.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn sinusoid(&self, device: &Device, width: usize) -> Result<Tensor> {
        let half = width / 2;
        let log = -(10000f64.ln()) as f32;
        let frequency = |i: usize| f64::from(log * i as f32 / half as f32).exp() as f32;
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let mut values = vec![0.0; self.values.len() * width];
        for (row, &t) in values.chunks_mut(width.max(1)).zip(&self.values) {
            for (i, &frequency) in frequencies.iter().enumerate() {
                let angle = f64::from(t * frequency);
                row[i] = angle.cos() as f32;
                row[half + i] = angle.sin() as f32;
            }
        }
        Ok(Tensor::from_vec(device, values, [self.values.len(), width])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_is_at_time_zero() {
        let time = Time::first_frame_clean(&[900.0, 50.0], 3);
        assert_eq!(time.values(), [0.0, 900.0, 900.0, 0.0, 50.0, 50.0]);
        assert_eq!(time.groups_per_sample(), 3);
        assert!(time.expect(2, 12).is_ok() && time.expect(2, 10).is_err() && time.expect(3, 12).is_err());
    }

    #[test]
    fn equal_runs_are_found() {
        let per_token = |values: &[f32], tokens| Time::per_token(values, values.len() / tokens, tokens).unwrap();
        assert_eq!(per_token(&[7.0; 12], 6), Time::per_sample(&[7.0, 7.0]));
        assert_eq!(per_token(&[0.0, 0.0, 5.0, 5.0, 5.0, 5.0], 6), Time::first_frame_clean(&[5.0], 3));
        assert_eq!(per_token(&[0.0, 5.0, 5.0], 3).groups_per_sample(), 3);
        assert!(matches!(Time::per_token(&[1.0; 5], 2, 3), Err(Error::Times { .. })));
    }
}
