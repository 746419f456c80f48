//! Video to latents, one frame after the other.
//!
//! diffusers takes the first frame alone and then four at a time. Layers that halve time take pairs of frames, and the
//! first frame of a clip alone; so a frame can go as far as it comes, and the rest of the way with the next one.

use flg_engine::{DType, Tensor};
use flg_kernels::conv::Sampling;
use flg_kernels::regroup::{self, Average};
use flg_kernels::unit_norm::Activation;

use super::Posterior;
use super::config::{Level, Resample, VaeConfig};
use super::conv::{Causal, Conv, History};
use super::frames::{self, Clip};
use super::probe::Probe;
use super::resnet::{Histories, Middle, Norm, Resnet};
use super::source::Source;
use crate::{Error, Result};

/// The weights of an encoder, laid out for its convolutions; a stream is [`Encoder::start`].
#[derive(Clone, Debug)]
pub struct Encoder {
    config: VaeConfig,
    conv_in: Causal,
    blocks: Vec<DownBlock>,
    middle: Middle,
    norm_out: Norm,
    conv_out: Causal,
    quant: Conv,
}

/// Residual blocks at one resolution, then a smaller one.
#[derive(Clone, Debug)]
struct DownBlock {
    resnets: Vec<Resnet>,
    downsample: Option<Downsample>,
    /// Dimensions of the shortcut around the block but for height and width, where there is one.
    shortcut: Option<regroup::Dims>,
    /// Names of what diffusers has for this block: itself, or its blocks and what follows them.
    names: Vec<String>,
}

#[derive(Clone, Debug)]
struct Downsample {
    space: Conv,
    /// Of three frames, where there are half as many.
    time: Option<Conv>,
}

impl DownBlock {
    fn new(source: &Source<'_>, level: &Level, is_residual: bool) -> Result<Self> {
        let resnet = |(j, name): (usize, &String)| {
            Resnet::new(source, name, [if j == 0 { level.input } else { level.output }, level.output])
        };
        let downsample = |resample: &Resample| {
            let time = || Conv::new(source, &format!("{}.time_conv", resample.name));
            Ok::<_, Error>(Downsample {
                space: Conv::resampling(source, &format!("{}.resample.1", resample.name), Sampling::Downsample)?,
                time: resample.in_time.then(time).transpose()?,
            })
        };
        let [frames, side] = level.factors();
        let (channels, out_channels) = (level.input, level.output);
        let shortcut = regroup::Dims { height: 0, width: 0, channels, out_channels, frames, side };
        let mut names = level.resnets.clone();
        names.extend(level.resample.as_ref().map(|resample| resample.name.clone()));
        if is_residual {
            let block = level.resnets.first().and_then(|name| name.split_once(".resnets"));
            names = block.map(|(block, _)| block.to_owned()).into_iter().collect();
        }
        Ok(DownBlock {
            resnets: level.resnets.iter().enumerate().map(resnet).collect::<Result<_>>()?,
            downsample: level.resample.as_ref().map(downsample).transpose()?,
            shortcut: is_residual.then_some(shortcut),
            names,
        })
    }
}

/// What a block looks back at.
#[derive(Clone, Debug, Default)]
struct BlockState {
    resnets: Vec<Histories>,
    /// The last frame that time was halved up to, and the one that waits for its pair.
    pair: [Option<Tensor>; 2],
    /// What came in with the one that waits.
    entered: Option<Tensor>,
}

/// What an encoder looks back at in one sample.
#[derive(Clone, Debug)]
struct State {
    conv_in: History,
    blocks: Vec<BlockState>,
    middle: [Histories; 2],
    conv_out: History,
}

/// A clip that is being encoded.
#[derive(Clone, Debug)]
pub struct EncoderStream<'a> {
    encoder: &'a Encoder,
    samples: Vec<State>,
    /// Height and width of the video.
    size: [usize; 2],
}

impl Encoder {
    pub(super) fn new(config: &VaeConfig, source: &Source<'_>) -> Result<Self> {
        let levels = config.encoder_levels();
        let width = levels.last().map_or(0, |level| level.output);
        let block = |level: &Level| DownBlock::new(source, level, config.is_residual);
        Ok(Encoder {
            conv_in: Causal(Conv::of_patches(source, "encoder.conv_in", config.patch())?),
            blocks: levels.iter().map(block).collect::<Result<_>>()?,
            middle: Middle::new(source, "encoder.mid_block", width)?,
            norm_out: Norm::new(source, "encoder.norm_out", Activation::Silu)?,
            conv_out: Causal::new(source, "encoder.conv_out")?,
            quant: Conv::new(source, "quant_conv")?,
            config: config.clone(),
        })
    }

    /// Sizes.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Begins a clip.
    pub fn start(&self) -> EncoderStream<'_> {
        EncoderStream { encoder: self, samples: Vec::new(), size: [0; 2] }
    }

    /// Encodes a video `[b, c, f, H, W]` in -1 to 1 to the distribution of its latents `[b, z, (f + 3) / 4, h, w]`. Frames
    /// after the last of `1 + 4 i` have no latents.
    ///
    /// # Errors
    /// A video of another shape; a device that fails.
    pub fn encode(&self, video: &Tensor) -> Result<Posterior> {
        self.start().push(video)
    }

    fn state(&self) -> State {
        let block = |block: &DownBlock| BlockState {
            resnets: block.resnets.iter().map(|_| Histories::default()).collect(),
            ..BlockState::default()
        };
        State {
            conv_in: History::default(),
            blocks: self.blocks.iter().map(block).collect(),
            middle: Default::default(),
            conv_out: History::default(),
        }
    }

    /// Feeds one frame of patches; gives the parameters `[h, w, 2 z]` of a latent frame if it completes one.
    fn feed(&self, state: &mut State, frame: Tensor, probe: &mut Probe<'_>) -> Result<Option<Tensor>> {
        let mut x = self.conv_in.next(&mut state.conv_in, frame)?;
        probe.see(format_args!("encoder.conv_in"), &x);
        for (block, state) in self.blocks.iter().zip(&mut state.blocks) {
            match block.next(state, x, probe)? {
                Some(y) => x = y,
                None => return Ok(None),
            }
        }
        let x = self.middle.next(&mut state.middle, x)?;
        probe.see(format_args!("encoder.mid_block"), &x);
        let n = self.norm_out.run(&x)?;
        drop(x);
        let y = self.conv_out.next(&mut state.conv_out, n)?;
        probe.see(format_args!("encoder"), &y);
        Ok(Some(self.quant.frame(&y)?))
    }
}

impl DownBlock {
    /// Of the next frame, which may have to wait for another.
    fn next(&self, state: &mut BlockState, x: Tensor, probe: &mut Probe<'_>) -> Result<Option<Tensor>> {
        let entered = self.shortcut.map(|_| x.clone());
        let mut x = x;
        for (j, (resnet, histories)) in self.resnets.iter().zip(&mut state.resnets).enumerate() {
            x = resnet.next(histories, x)?;
            if self.shortcut.is_none() {
                probe.see(format_args!("{}", self.names[j]), &x);
            }
        }
        let mut before = None;
        if let Some(downsample) = &self.downsample {
            let small = downsample.space.frame(&x)?;
            drop(x);
            match downsample.halve(&mut state.pair, small)? {
                Some(y) => x = y,
                None => {
                    state.entered = entered;
                    return Ok(None);
                }
            }
            before = state.entered.take();
        }
        if let (Some(dims), Some(entered)) = (self.shortcut, &entered) {
            average(dims, [before.as_ref(), Some(entered)], &mut x)?;
        }
        if let Some(name) = self.names.last().filter(|_| self.shortcut.is_some() || self.downsample.is_some()) {
            probe.see(format_args!("{name}"), &x);
        }
        Ok(Some(x))
    }
}

impl Downsample {
    /// The first frame as it is; then one for every two, which also looks at the one before them.
    fn halve(&self, [last, waiting]: &mut [Option<Tensor>; 2], x: Tensor) -> Result<Option<Tensor>> {
        let Some(time) = &self.time else { return Ok(Some(x)) };
        let Some(before) = last.as_ref() else {
            *last = Some(x.clone());
            return Ok(Some(x));
        };
        let Some(middle) = waiting.take() else {
            *waiting = Some(x);
            return Ok(None);
        };
        let y = time.run(&[Some(before), Some(&middle), Some(&x)])?;
        *last = Some(x);
        Ok(Some(y))
    }
}

/// Adds the mean over the frames that became one; what is absent is zero.
fn average(dims: regroup::Dims, frames: [Option<&Tensor>; 2], y: &mut Tensor) -> Result<()> {
    let [height, width, _] = y.shape().expect_rank("shortcut")?;
    let mut inputs = [None; 2];
    for (input, frame) in inputs.iter_mut().zip(frames) {
        *input = frame.map(Tensor::input).transpose()?;
    }
    let rt = *y.device().runtime();
    let dims = regroup::Dims { height, width, ..dims };
    let args = Average { frames: &inputs[2 - dims.frames..], y_acc: y.output()?, dims };
    Ok(regroup::average(&rt, args).map_err(flg_engine::Error::from)?)
}

impl EncoderStream<'_> {
    /// Encodes the next frames of a video, `[b, c, f, H, W]` in -1 to 1: gives the distribution of the latent frames that
    /// they complete, which may be none.
    ///
    /// # Errors
    /// A video of another shape than before; a device that fails.
    pub fn push(&mut self, video: &Tensor) -> Result<Posterior> {
        self.push_and_see(video, &mut Probe(None))
    }

    /// [`EncoderStream::push`], showing every frame `[h, w, c]` of what modules give by diffusers' names.
    ///
    /// # Errors
    /// As there.
    pub fn push_probed(&mut self, video: &Tensor, see: &mut dyn FnMut(&str, &Tensor)) -> Result<Posterior> {
        self.push_and_see(video, &mut Probe(Some(see)))
    }

    fn push_and_see(&mut self, video: &Tensor, probe: &mut Probe<'_>) -> Result<Posterior> {
        let config = &self.encoder.config;
        let refuse = |reason| Err(Error::Video { shape: video.shape(), reason });
        let &[batch, channels, count, height, width] = video.dims() else { return refuse("must be [b, c, f, h, w]") };
        let factor = config.spatial_factor();
        if channels != config.video_in_channels() {
            return refuse("the autoencoder has another number of channels");
        }
        if !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
            return refuse("height and width must be multiples of the latents' pixels");
        }
        if self.samples.is_empty() {
            self.samples = (0..batch).map(|_| self.encoder.state()).collect();
            self.size = [height, width];
        }
        if self.samples.len() != batch || self.size != [height, width] {
            return refuse("the clip began with another shape");
        }
        let shape = [2 * config.z_dim, height / factor, width / factor];
        let mut clip = Clip::new(video.device(), batch, shape, 1);
        for (sample, state) in self.samples.iter_mut().enumerate() {
            for at in 0..count {
                let frame = frames::cut(video, [sample, at], config.patch())?;
                if let Some(parameters) = self.encoder.feed(state, frame, probe)? {
                    clip.push(sample, &parameters)?;
                }
            }
        }
        let parameters = clip.finish()?;
        debug_assert_eq!(parameters.dtype(), DType::F32);
        Ok(Posterior::new(parameters))
    }
}
