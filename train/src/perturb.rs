//! From clean latents to what a network is trained on: noise, times, conditions, and the weights of the loss.
//!
//! `x_t = (1 - t) x0 + t eps`, `v = eps - x0`. A sample may keep its first frame clean: its tokens are then at time 0
//! (text-and-image-to-video in the manner of Wan 2.2), it is not scored, and no normaliser counts it.

use flg_engine::{Key, Tensor};
use flg_model::Time;

use crate::config::TimeDensity;
use crate::error::Result;
use crate::levels::Levels;

/// Whether a sample is conditioned on its first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstFrame {
    /// All frames are generated.
    Generated,
    /// The first frame is given.
    Given,
}

impl FirstFrame {
    /// One choice a sample: given with probability `share`.
    pub fn draw(key: Key, share: f64, samples: usize) -> Vec<FirstFrame> {
        let mut stream = key.stream();
        let choose = |given| if given { FirstFrame::Given } else { FirstFrame::Generated };
        (0..samples).map(|_| choose(stream.bernoulli(share))).collect()
    }
}

/// Extents that the masks of a batch are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents {
    batch: usize,
    channels: usize,
    frames: usize,
    /// Elements of one frame of one channel.
    plane: usize,
}

impl Extents {
    /// Those of latents `[b, c, f, h, w]`.
    ///
    /// # Errors
    /// A tensor of another rank.
    pub fn of(latents: &Tensor) -> Result<Self> {
        let [batch, channels, frames, h, w] = latents.shape().expect_rank("latents")?;
        Ok(Extents { batch, channels, frames, plane: h * w })
    }

    /// One value for each plane `(b, c, f)`: `value(b)`, or `given` for first frames that are given.
    pub fn planes(&self, first: &[FirstFrame], value: impl Fn(usize) -> f32, given: f32) -> Vec<f32> {
        let mut planes = Vec::with_capacity(self.batch * self.channels * self.frames);
        for b in 0..self.batch {
            for _ in 0..self.channels {
                planes.extend(
                    (0..self.frames).map(|f| if f == 0 && first[b] == FirstFrame::Given { given } else { value(b) }),
                );
            }
        }
        planes
    }

    /// Generated elements of sample `b`.
    pub fn generated(&self, first: FirstFrame) -> usize {
        let frames = self.frames - usize::from(first == FirstFrame::Given && self.frames > 0);
        self.channels * frames * self.plane
    }

    /// Weights a plane such that the weighted sum of a batch is the mean over samples of the mean over generated
    /// elements.
    pub fn mean_weights(&self, first: &[FirstFrame]) -> Vec<f32> {
        let share = |b: usize| 1.0 / (self.generated(first[b]).max(1) * self.batch) as f32;
        self.planes(first, share, 0.0)
    }

    /// The network's time for noise levels `t` in 0..=1, one a sample.
    ///
    /// # Errors
    /// Levels for another number of samples.
    pub fn time(&self, first: &[FirstFrame], t: &[f32]) -> Result<Time> {
        if first.iter().all(|f| *f == FirstFrame::Generated) {
            return Ok(Time::per_sample(&t.iter().map(|t| 1000.0 * t).collect::<Vec<_>>()));
        }
        let frame_time = |b: usize, f: usize| {
            if f == 0 && first[b] == FirstFrame::Given { 0.0 } else { 1000.0 * t[b] }
        };
        let times = (0..self.batch).flat_map(|b| (0..self.frames).map(move |f| (b, f)));
        let times: Vec<f32> = times.map(|(b, f)| frame_time(b, f)).collect();
        Ok(Time::per_token(&times, self.batch, self.frames)?)
    }
}

/// A noised batch.
#[derive(Clone, Debug)]
pub struct Perturbed {
    /// `x_t`, with given frames clean.
    pub x: Tensor,
    /// `eps - x0`; meaningless on given frames.
    pub velocity: Tensor,
    /// Noise level of each sample, 0..=1.
    pub t: Vec<f32>,
    /// Which first frames are given.
    pub first: Vec<FirstFrame>,
    /// What the network is told.
    pub time: Time,
    /// Weights of the mean over generated elements, one a plane: see [`Extents::mean_weights`].
    pub weights: Tensor,
}

/// Noises `latents [b, c, f, h, w]` to levels `t`, one a sample.
///
/// # Errors
/// Tensors of different shapes.
pub fn perturb(latents: &Tensor, noise: &Tensor, t: Vec<f32>, first: &[FirstFrame]) -> Result<Perturbed> {
    let extents = Extents::of(latents)?;
    let levels = extents.planes(first, |b| t[b], 0.0);
    let rest: Vec<f32> = levels.iter().map(|t| 1.0 - t).collect();
    let x = noise.scale_rows(&levels, Some(&latents.scale_rows(&rest, None)?))?;
    let weights = extents.mean_weights(first);
    let planes = weights.len();
    Ok(Perturbed {
        x,
        velocity: noise.sub(latents)?,
        time: extents.time(first, &t)?,
        t,
        first: first.to_vec(),
        weights: Tensor::from_vec(latents.device(), weights, [planes])?,
    })
}

/// Noise levels of a batch, one a sample, drawn as `density` says and shifted towards noise.
pub fn noise_levels(key: Key, samples: usize, density: Density) -> Vec<f32> {
    let mut stream = key.stream();
    let mut levels: Vec<f32> = (0..samples)
        .map(|b| {
            let u = match density.kind {
                TimeDensity::Stratified => (b as f64 + stream.uniform()) / samples as f64,
                TimeDensity::Uniform => stream.uniform(),
                TimeDensity::LogitNormal => 1.0 / (1.0 + (-(density.mean + density.std * stream.normal())).exp()),
            };
            density.levels.at(u, density.shift) as f32
        })
        .collect();
    // Strata must not follow the order of the samples.
    stream.shuffle(&mut levels);
    levels
}

/// How noise levels are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Density {
    /// The distribution before the shift.
    pub kind: TimeDensity,
    /// Of the normal under the logistic function.
    pub mean: f64,
    /// Of the normal under the logistic function.
    pub std: f64,
    /// Timestep shift.
    pub shift: f64,
    /// The part of the levels that is drawn from.
    pub levels: Levels,
}

impl Density {
    /// Uniform over `levels` and spread evenly over the batch, shifted by `shift`.
    pub fn stratified(shift: f64, levels: Levels) -> Self {
        Density { kind: TimeDensity::Stratified, mean: 0.0, std: 1.0, shift, levels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flg_engine::Device;

    const SHAPE: [usize; 5] = [2, 1, 3, 2, 2];

    #[test]
    fn a_given_first_frame_stays_clean_at_time_zero_and_unscored() {
        let device = Device::cpu();
        let latents = Key::new(1).normal(&device, SHAPE).unwrap();
        let noise = Key::new(2).normal(&device, SHAPE).unwrap();
        let first = [FirstFrame::Generated, FirstFrame::Given];
        let p = perturb(&latents, &noise, vec![0.25, 0.5], &first).unwrap();
        let (x, x0, eps) = (p.x.to_vec(), latents.to_vec(), noise.to_vec());
        for i in 0..24 {
            let given = i / 12 == 1 && i % 12 < 4;
            let t = if given { 0.0 } else { [0.25, 0.5][i / 12] };
            assert_eq!(x[i], (1.0 - t) * x0[i] + t * eps[i], "element {i}");
        }
        assert_eq!(p.time.values(), [250.0, 250.0, 250.0, 0.0, 500.0, 500.0]);
        assert_eq!(p.weights.to_vec(), [1.0 / 24.0, 1.0 / 24.0, 1.0 / 24.0, 0.0, 1.0 / 16.0, 1.0 / 16.0]);
    }

    #[test]
    fn stratified_levels_have_one_sample_in_each_stratum() {
        let mut levels = noise_levels(Key::new(3), 8, Density::stratified(1.0, Levels::ALL));
        levels.sort_by(f32::total_cmp);
        assert!(levels.iter().enumerate().all(|(i, &t)| (i as f32 / 8.0..=(i + 1) as f32 / 8.0).contains(&t)));
        let high = Levels::of_expert(0.875, true);
        let levels = noise_levels(Key::new(3), 64, Density::stratified(5.0, high));
        assert!(levels.iter().all(|t| (0.8749..=1.0).contains(t)), "{levels:?}");
    }
}
