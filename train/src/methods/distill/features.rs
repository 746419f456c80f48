//! What the guard sees of clips: features of a fixed random network, contrast and motion.

use flg_engine::{Key, Tensor};
use flg_kernels::reduce::Term;

use crate::error::Result;
use crate::task::Task;

/// Width of the features.
const WIDTH: usize = 96;
/// Elements of a clip that features are made of; larger clips are averaged over squares first.
const ELEMENTS: usize = 1 << 17;

/// A fixed random network of one layer.
#[derive(Debug)]
pub(super) struct Features {
    projection: Vec<f32>,
    /// Side of the squares of rows and columns that are averaged.
    square: usize,
    /// Black and full ink, where latents are pixels.
    range: Option<[f32; 2]>,
}

impl Features {
    /// For clips of a task.
    pub(super) fn new(task: &Task, key: Key) -> Result<Self> {
        let [_, c, f, h, w] = task.latent_shape(1);
        let pooled = |square: usize| c * f * h.div_ceil(square) * w.div_ceil(square);
        let square = (1..=h.max(w).max(1)).find(|&square| pooled(square) <= ELEMENTS).unwrap_or(h.max(w).max(1));
        let projection = key.normal(task.device(), [WIDTH, 2 * pooled(square)])?.values()?;
        Ok(Features { projection, square, range: task.pixel_range() })
    }

    /// Clips as they are shown: within the range of pixels, where they are pixels.
    pub(super) fn shown(&self, clips: &Tensor) -> Result<Tensor> {
        let Some([low, high]) = self.range else { return Ok(clips.clone()) };
        let values = clips.values()?.into_iter().map(|x| x.clamp(low, high)).collect();
        Ok(Tensor::from_vec(clips.device(), values, clips.shape())?)
    }

    /// The features of each clip: `relu(P [x, frame differences])`, of root mean square 1.
    pub(super) fn of(&self, clips: &Tensor) -> Result<Vec<Vec<f64>>> {
        let [batch, channels, frames, h, w] = clips.shape().expect_rank("features")?;
        let values = pooled(clips.values()?, [h, w], self.square);
        let plane = h.div_ceil(self.square) * w.div_ceil(self.square);
        let elements = channels * frames * plane;
        let features = |clip: &[f32]| -> Vec<f64> {
            let mut input = clip.to_vec();
            // The difference to the previous frame; the first frame's is zero.
            input.extend((0..elements).map(|i| if i / plane % frames == 0 { 0.0 } else { clip[i] - clip[i - plane] }));
            let dot = |row: &[f32]| row.iter().zip(&input).map(|(p, x)| f64::from(p * x)).sum::<f64>().max(0.0);
            let row: Vec<f64> = self.projection.chunks(2 * elements).map(dot).collect();
            let size = (row.iter().map(|x| x * x).sum::<f64>() / row.len().max(1) as f64).sqrt();
            row.iter().map(|x| x / size.max(f64::MIN_POSITIVE)).collect()
        };
        Ok((0..batch).map(|b| features(&values[b * elements..(b + 1) * elements])).collect())
    }
}

/// Means over squares of each plane of `h` rows and `w` columns; squares at the lower and right edges may be cut.
fn pooled(values: Vec<f32>, [h, w]: [usize; 2], square: usize) -> Vec<f32> {
    if square == 1 {
        return values;
    }
    let mean = |plane: &[f32], y: usize, x: usize| {
        let rows = y..(y + square).min(h);
        let sum: f32 = rows.clone().map(|y| plane[y * w..][x..(x + square).min(w)].iter().sum::<f32>()).sum();
        sum / (rows.len() * ((x + square).min(w) - x)) as f32
    };
    let corners = |extent: usize| (0..extent).step_by(square);
    let plane = |plane: &[f32]| -> Vec<f32> {
        corners(h).flat_map(|y| corners(w).map(move |x| (y, x))).map(|(y, x)| mean(plane, y, x)).collect()
    };
    values.chunks(h * w).flat_map(plane).collect()
}

/// Mean square over all values: 1 for normalised data.
pub(super) fn contrast(clips: &Tensor) -> Result<f64> {
    Ok(f64::from(clips.total(Term::Square, None)?) / clips.elements().max(1) as f64)
}

/// Mean square difference of successive frames; 0 where there is one.
pub(super) fn motion(clips: &Tensor) -> Result<f64> {
    let frames = clips.dims()[2];
    if frames < 2 {
        return Ok(0.0);
    }
    let (head, tail) = (clips.narrow(2, 0, frames - 1)?.contiguous()?, clips.narrow(2, 1, frames - 1)?.contiguous()?);
    contrast(&tail.sub(&head)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{Split, TextShape, preset};
    use flg_engine::Device;

    #[test]
    fn clips_are_judged_as_shown_and_whatever_their_brightness() {
        let device = Device::cpu();
        let world = Arc::from(preset("digits").unwrap());
        let task = Task::new(&device, world, 0, TextShape { words: 4, dim: 8 }).unwrap();
        let features = Features::new(&task, Key::new(1)).unwrap();
        let clips = task.batch(Split::HeldOut, 3, 0, 0, 4).unwrap().latents;

        let (as_is, brighter) = (features.of(&clips).unwrap(), features.of(&clips.scale(1.5).unwrap()).unwrap());
        for (a, b) in as_is.iter().flatten().zip(brighter.iter().flatten()) {
            // Products are rounded to f32, sums are f64.
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        assert_ne!(as_is[0], as_is[1]);
        assert_eq!(features.shown(&clips).unwrap().to_vec(), clips.to_vec());
        let beyond = features.shown(&clips.scale(3.0).unwrap()).unwrap().to_vec();
        let [low, high] = features.range.unwrap();
        assert!(beyond.iter().all(|x| (low..=high).contains(x)));
    }

    #[test]
    fn squares_are_averaged_and_cut_at_the_edges() {
        let plane: Vec<f32> = (0..6).map(|i| i as f32).collect();
        // 0 1 2
        // 3 4 5
        assert_eq!(pooled(plane.clone(), [2, 3], 2), [2.0, 3.5]);
        assert_eq!(pooled(plane.clone(), [2, 3], 1), plane);
        assert_eq!(pooled([plane.clone(), plane].concat(), [2, 3], 3), [2.5, 2.5]);
    }
}
