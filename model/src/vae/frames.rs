//! Between clips `[b, c, f, h, w]` and the frames `[h, w, c]` that layers work on.

use flg_engine::{DType, Device, Shape, Tensor};
use flg_kernels::patchify::{self, Grid, Order};

use crate::Result;

/// Frame `at` of sample `sample` of a clip, patches of `side` by `side` pixels as channels `(c, y, x)`.
pub(super) fn cut(clip: &Tensor, [sample, at]: [usize; 2], side: usize) -> Result<Tensor> {
    let frame = clip.narrow(0, sample, 1)?.narrow(2, at, 1)?.contiguous()?.cast(DType::F32)?;
    let [_, channels, _, height, width] = frame.shape().expect_rank("frame")?;
    let shape = [height / side, width / side, channels * side * side];
    let mut tokens = Tensor::empty(clip.device(), shape, DType::F32)?;
    let grid = Grid { batch: 1, channels, frames: 1, height, width, patch: [1, side, side] };
    let args = patchify::Args { from: frame.input()?, to: tokens.output()?, grid, order: Order::ChannelFirst };
    patchify::patchify(clip.device().runtime(), args).map_err(flg_engine::Error::from)?;
    Ok(tokens)
}

/// The inverse: `[c, h, w]` of a frame of patches.
fn unpatch(frame: &Tensor, side: usize) -> Result<Tensor> {
    let [rows, columns, channels] = frame.shape().expect_rank("frame")?;
    let (channels, height, width) = (channels / (side * side), rows * side, columns * side);
    let mut image = Tensor::empty(frame.device(), [channels, height, width], DType::F32)?;
    let grid = Grid { batch: 1, channels, frames: 1, height, width, patch: [1, side, side] };
    let args = patchify::Args { from: frame.input()?, to: image.output()?, grid, order: Order::ChannelFirst };
    patchify::unpatchify(frame.device().runtime(), args).map_err(flg_engine::Error::from)?;
    Ok(image)
}

/// A clip that is put together frame by frame, every sample with as many of them.
pub(super) struct Clip {
    device: Device,
    side: usize,
    /// Lowest and highest value.
    range: [f32; 2],
    /// Frames of each sample, `[c, h, w]` on the host.
    samples: Vec<Vec<Vec<f32>>>,
    /// `[c, h, w]`
    shape: [usize; 3],
}

impl Clip {
    /// Of `batch` samples without frames, in patches of `side` pixels. `shape` is `[c, h, w]` of a frame.
    pub(super) fn new(device: &Device, batch: usize, shape: [usize; 3], side: usize) -> Self {
        let everything = [f32::NEG_INFINITY, f32::INFINITY];
        Clip { device: device.clone(), side, range: everything, samples: vec![Vec::new(); batch], shape }
    }

    /// With values outside of the range replaced by its ends; a NaN stays.
    pub(super) fn clamped(self, range: [f32; 2]) -> Self {
        Clip { range, ..self }
    }

    /// Adds a frame to a sample.
    pub(super) fn push(&mut self, sample: usize, frame: &Tensor) -> Result<()> {
        let image = unpatch(frame, self.side)?;
        // A rehearsal has no values.
        let mut values = if self.device.is_dry() { Vec::new() } else { image.values()? };
        let [low, high] = self.range;
        values.iter_mut().for_each(|value| *value = value.clamp(low, high));
        self.samples[sample].push(values);
        Ok(())
    }

    /// `[b, c, f, h, w]`
    pub(super) fn finish(self) -> Result<Tensor> {
        let [channels, height, width] = self.shape;
        let frames = self.samples.first().map_or(0, Vec::len);
        let shape = Shape::from([self.samples.len(), channels, frames, height, width]);
        if self.device.is_dry() {
            return Ok(Tensor::empty(&self.device, shape, DType::F32)?);
        }
        let mut values = Vec::with_capacity(shape.elements());
        for sample in &self.samples {
            for channel in 0..channels {
                for frame in sample {
                    values.extend_from_slice(&frame[channel * height * width..][..height * width]);
                }
            }
        }
        Ok(Tensor::from_vec(&self.device, values, shape)?)
    }
}
