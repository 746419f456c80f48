//! How much clips move, and how strong their contrast is.

use crate::data::Clip;

/// A clip whose motion is below this part of the real clips' mean counts as still.
pub const STILL: f64 = 0.1;

/// Mean squared difference of successive frames, from frame `first` on (so that a pair needs both frames generated).
/// 0 for fewer than two frames.
pub fn motion_energy(clip: &Clip, first: usize) -> f64 {
    let g = clip.geometry();
    let plane = g.height * g.width;
    let (mut sum, mut count) = (0.0, 0usize);
    for channel in clip.pixels().chunks(g.frames * plane) {
        for (now, next) in channel.chunks(plane).zip(channel.chunks(plane).skip(1)).skip(first) {
            sum += now.iter().zip(next).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            count += plane;
        }
    }
    sum / count.max(1) as f64
}

/// Sums of pixels, from which a deviation follows.
#[derive(Clone, Copy, Debug, Default)]
pub struct PixelSums {
    count: f64,
    sum: f64,
    squares: f64,
}

impl PixelSums {
    /// Of frames `first..` of clips.
    pub fn of(clips: &[Clip], first: usize) -> Self {
        let mut sums = PixelSums::default();
        for clip in clips {
            let g = clip.geometry();
            let plane = g.height * g.width;
            for channel in clip.pixels().chunks(g.frames * plane) {
                for &pixel in &channel[(first * plane).min(channel.len())..] {
                    sums.count += 1.0;
                    sums.sum += f64::from(pixel);
                    sums.squares += f64::from(pixel).powi(2);
                }
            }
        }
        sums
    }

    /// Adds other pixels.
    pub fn add(&mut self, other: &PixelSums) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// Their standard deviation.
    pub fn std(&self) -> f64 {
        (self.squares / self.count - (self.sum / self.count).powi(2)).max(0.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Geometry;

    #[test]
    fn energy_and_deviation_of_a_flicker() {
        let geometry = Geometry { channels: 1, frames: 3, height: 1, width: 2 };
        let clip = Clip::from_pixels(geometry, vec![0.0, 0.0, 1.0, 1.0, 1.0, 0.5]).unwrap();
        // Pairs: (1 + 1) / 2 and (0 + 0.25) / 2.
        assert!((motion_energy(&clip, 0) - 0.5625).abs() < 1e-12);
        assert!((motion_energy(&clip, 1) - 0.125).abs() < 1e-12);
        assert_eq!(motion_energy(&clip, 2), 0.0);
        // Without the first frame: 1, 1, 1, 0.5 with mean 0.875 and mean square 0.8125.
        let std = PixelSums::of(&[clip], 1).std();
        assert!((std - (0.8125f64 - 0.765625).sqrt()).abs() < 1e-12);
    }
}
