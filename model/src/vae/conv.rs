//! A convolution with its weights laid out for the kernel, and the frames that a causal one looks back at.

use std::collections::VecDeque;

use flg_engine::{DType, Result as EngineResult, Tensor};
use flg_kernels::conv::{self, Args, Dims, Sampling};
use flg_kernels::gemm::{Prepack, Write, panels_len, prepack};

use super::source::Source;
use crate::Result;

/// Weights of a convolution. Frames are `[height, width, channels]`.
#[derive(Clone, Debug)]
pub(super) struct Conv {
    panels: Tensor,
    bias: Tensor,
    taps: [usize; 3],
    channels: usize,
    out_channels: usize,
    sampling: Sampling,
}

impl Conv {
    /// The convolution `name`, without resampling.
    pub(super) fn new(source: &Source<'_>, name: &str) -> Result<Self> {
        let [weight, bias] = load(source, name)?;
        Ok(Conv::pack(&weight, bias, Sampling::Same)?)
    }

    /// The convolution `name` of a plane of pixels, which it resamples.
    pub(super) fn resampling(source: &Source<'_>, name: &str, sampling: Sampling) -> Result<Self> {
        let [weight, bias] = load(source, name)?;
        Ok(Conv::pack(&weight, bias, sampling)?)
    }

    /// The convolutions to which the output channels of `name` belong, `count` of them.
    pub(super) fn split<const COUNT: usize>(source: &Source<'_>, name: &str) -> Result<[Self; COUNT]> {
        let [weight, bias] = load(source, name)?;
        let out = bias.elements() / COUNT;
        let part = |i: usize| {
            Conv::pack(&weight.narrow(0, i * out, out)?, bias.narrow(0, i * out, out)?.copy()?, Sampling::Same)
        };
        let parts = (0..COUNT).map(part).collect::<EngineResult<Vec<_>>>()?;
        Ok(parts.try_into().unwrap_or_else(|_| unreachable!("as many parts as were made")))
    }

    /// The convolution `name` that reads patches of `side` by `side` pixels. Its channels are in the order `(c, x, y)` of
    /// diffusers, and become `(c, y, x)`, in which patches are cut here.
    pub(super) fn of_patches(source: &Source<'_>, name: &str, side: usize) -> Result<Self> {
        let [weight, bias] = load(source, name)?;
        let [out, channels, taps @ ..] = weight.shape().expect_rank::<5>("conv")?;
        let taps: usize = taps.iter().product();
        let patches = [out * (channels / (side * side)), side, side, taps];
        let turned = weight.reshape(patches)?.transpose(1, 2)?.contiguous()?.reshape(weight.shape())?;
        Ok(Conv::pack(&turned, bias, Sampling::Same)?)
    }

    /// The same for the one that writes patches.
    pub(super) fn to_patches(source: &Source<'_>, name: &str, side: usize) -> Result<Self> {
        let [weight, bias] = load(source, name)?;
        let turn = |x: &Tensor| {
            let row = x.elements() / bias.elements();
            let patches = [bias.elements() / (side * side), side, side, row];
            x.reshape(patches)?.transpose(1, 2)?.contiguous()?.reshape(x.shape())
        };
        Ok(Conv::pack(&turn(&weight)?, turn(&bias)?, Sampling::Same)?)
    }

    /// Of `weight [out, in, ..taps]`, lays `[out, taps, in]` out in panels.
    fn pack(weight: &Tensor, bias: Tensor, sampling: Sampling) -> EngineResult<Self> {
        let &[out_channels, channels, ref taps @ ..] = weight.dims() else { unreachable!("compared with the list") };
        let taps = match *taps {
            [kt, kh, kw] => [kt, kh, kw],
            [kh, kw] => [1, kh, kw],
            _ => unreachable!("compared with the list"),
        };
        let rows = weight.contiguous()?.reshape([out_channels, channels, taps.iter().product()])?;
        let rows = rows.transpose(1, 2)?.contiguous()?;
        let (rt, k) = (*weight.device().runtime(), rows.elements() / out_channels.max(1));
        let mut panels = Tensor::empty(weight.device(), [panels_len(&rt, out_channels, k)?], DType::F32)?;
        prepack(&rt, Prepack { b: rows.input()?, panels: panels.output()?, n: out_channels, k })?;
        Ok(Conv { panels, bias, taps, channels, out_channels, sampling })
    }

    /// Of one frame, for taps in one frame only.
    pub(super) fn frame(&self, x: &Tensor) -> Result<Tensor> {
        self.run(&[Some(x)])
    }

    /// Of as many frames as there are taps in time, the oldest first; what is absent is zero.
    pub(super) fn run(&self, frames: &[Option<&Tensor>]) -> Result<Tensor> {
        let dims = self.dims(frames)?;
        let [rows, columns] = dims.output();
        let mut y = Tensor::empty(self.bias.device(), [rows, columns, self.out_channels], DType::F32)?;
        self.write(frames, &mut y, Write::Overwrite)?;
        Ok(y)
    }

    /// Adds the result to `y`, in place.
    pub(super) fn add_to(&self, frames: &[Option<&Tensor>], y: &mut Tensor) -> Result<()> {
        self.write(frames, y, Write::Accumulate)
    }

    fn dims(&self, frames: &[Option<&Tensor>]) -> Result<Dims> {
        let Conv { taps, channels, out_channels, sampling, .. } = *self;
        let last = frames.iter().flatten().next_back().map_or(Ok([0, 0, channels]), |x| x.shape().expect_rank("conv"));
        let [height, width, _] = last?;
        Ok(Dims { height, width, channels, out_channels, taps, sampling })
    }

    fn write(&self, frames: &[Option<&Tensor>], y: &mut Tensor, write: Write) -> Result<()> {
        let dims = self.dims(frames)?;
        let mut inputs = [None; conv::MAX_TAPS];
        for (input, frame) in inputs.iter_mut().zip(frames) {
            *input = frame.map(|x| x.input()).transpose()?;
        }
        let rt = *self.bias.device().runtime();
        let args = Args {
            frames: &inputs[..frames.len()],
            weight: self.panels.input()?,
            bias: Some(self.bias.input()?),
            y: y.output()?,
            write,
            dims,
        };
        Ok(conv::conv(&rt, args).map_err(flg_engine::Error::from)?)
    }
}

/// Weight and bias.
fn load(source: &Source<'_>, name: &str) -> Result<[Tensor; 2]> {
    Ok([source.get(&format!("{name}.weight"))?, source.get(&format!("{name}.bias"))?])
}

/// The last two frames that a causal convolution with three taps in time was given; before the start there is nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<Tensor>);

impl History {
    /// Remembers `x`, and gives the three frames that end with it.
    pub(super) fn see(&mut self, x: Tensor) -> [Option<Tensor>; 3] {
        let mut frames = [None, None, Some(x.clone())];
        for (frame, old) in frames[..2].iter_mut().rev().zip(self.0.iter().rev()) {
            *frame = Some(old.clone());
        }
        self.0.push_back(x);
        if self.0.len() > 2 {
            self.0.pop_front();
        }
        frames
    }
}

/// A causal convolution over a stream.
#[derive(Clone, Debug)]
pub(super) struct Causal(pub Conv);

impl Causal {
    pub(super) fn new(source: &Source<'_>, name: &str) -> Result<Self> {
        Conv::new(source, name).map(Causal)
    }

    /// Of the next frame.
    pub(super) fn next(&self, history: &mut History, x: Tensor) -> Result<Tensor> {
        let frames = history.see(x);
        self.0.run(&frames.each_ref().map(Option::as_ref))
    }

    /// Adds the result of the next frame to `y`.
    pub(super) fn next_add_to(&self, history: &mut History, x: Tensor, y: &mut Tensor) -> Result<()> {
        let frames = history.see(x);
        self.0.add_to(&frames.each_ref().map(Option::as_ref), y)
    }
}
