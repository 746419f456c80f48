//! Latents to video, one latent frame after the other.
//!
//! The first latent frame gives one frame of video, each of the others four. Behind a layer that doubles frames one goes
//! all the way to its pixels before the other follows, so that at the highest resolution one frame is on its way at a
//! time, beside the two that each causal convolution looks back at.

use flg_engine::Tensor;
use flg_kernels::conv::Sampling;
use flg_kernels::regroup::{self, Duplicate};
use flg_kernels::unit_norm::Activation;

use super::config::{Level, VaeConfig};
use super::conv::{Causal, Conv, History};
use super::frames::{self, Clip};
use super::probe::Probe;
use super::resnet::{Histories, Middle, Norm, Resnet};
use super::source::Source;
use crate::{Error, Result};

/// The weights of a decoder, laid out for its convolutions; a stream is [`Decoder::start`].
#[derive(Clone, Debug)]
pub struct Decoder {
    config: VaeConfig,
    post_quant: Conv,
    conv_in: Causal,
    middle: Middle,
    blocks: Vec<UpBlock>,
    norm_out: Norm,
    conv_out: Causal,
}

/// Residual blocks at one resolution, then a larger one.
#[derive(Clone, Debug)]
struct UpBlock {
    resnets: Vec<Resnet>,
    upsample: Option<Upsample>,
    /// Dimensions of the shortcut around the block but for height and width, where there is one.
    shortcut: Option<regroup::Dims>,
}

#[derive(Clone, Debug)]
struct Upsample {
    /// For the even and the odd frame, where there are twice as many.
    time: Option<[Conv; 2]>,
    space: Conv,
}

impl UpBlock {
    fn new(source: &Source<'_>, level: &Level, is_residual: bool) -> Result<Self> {
        let resnet = |(j, name): (usize, &String)| {
            Resnet::new(source, name, [if j == 0 { level.input } else { level.output }, level.output])
        };
        let upsample = |resample: &super::config::Resample| {
            let time = || Conv::split(source, &format!("{}.time_conv", resample.name));
            Ok::<_, Error>(Upsample {
                time: resample.in_time.then(time).transpose()?,
                space: Conv::resampling(source, &format!("{}.resample.1", resample.name), Sampling::Upsample)?,
            })
        };
        let [frames, side] = level.factors();
        let (channels, out_channels) = (level.input, level.output);
        let shortcut = regroup::Dims { height: 0, width: 0, channels, out_channels, frames, side };
        Ok(UpBlock {
            resnets: level.resnets.iter().enumerate().map(resnet).collect::<Result<_>>()?,
            upsample: level.resample.as_ref().map(upsample).transpose()?,
            shortcut: (is_residual && level.resample.is_some()).then_some(shortcut),
        })
    }
}

/// What a block looks back at.
#[derive(Clone, Debug, Default)]
struct BlockState {
    resnets: Vec<Histories>,
    time: History,
    /// Whether a frame has gone through.
    started: bool,
}

/// What a decoder looks back at in one sample.
#[derive(Clone, Debug)]
struct State {
    conv_in: History,
    middle: [Histories; 2],
    blocks: Vec<BlockState>,
    conv_out: History,
}

/// Gets frames of patches `[h, w, c]`.
type Sink<'a> = dyn FnMut(&Tensor) -> Result<()> + 'a;

/// A clip that is being decoded.
#[derive(Clone, Debug)]
pub struct DecoderStream<'a> {
    decoder: &'a Decoder,
    samples: Vec<State>,
    /// Height and width of the latents.
    size: [usize; 2],
}

impl Decoder {
    pub(super) fn new(config: &VaeConfig, source: &Source<'_>) -> Result<Self> {
        let levels = config.decoder_levels();
        let block = |level: &Level| UpBlock::new(source, level, config.is_residual);
        Ok(Decoder {
            post_quant: Conv::new(source, "post_quant_conv")?,
            conv_in: Causal::new(source, "decoder.conv_in")?,
            middle: Middle::new(source, "decoder.mid_block", levels[0].input)?,
            blocks: levels.iter().map(block).collect::<Result<_>>()?,
            norm_out: Norm::new(source, "decoder.norm_out", Activation::Silu)?,
            conv_out: Causal(Conv::to_patches(source, "decoder.conv_out", config.patch())?),
            config: config.clone(),
        })
    }

    /// Sizes.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Begins a clip.
    pub fn start(&self) -> DecoderStream<'_> {
        DecoderStream { decoder: self, samples: Vec::new(), size: [0; 2] }
    }

    /// Decodes latents `[b, z, f, h, w]` to a video `[b, c, 4 f - 3, H, W]` in -1 to 1.
    ///
    /// # Errors
    /// Latents of another shape; a device that fails.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        self.start().push(latents)
    }

    fn state(&self) -> State {
        let block = |block: &UpBlock| BlockState {
            resnets: block.resnets.iter().map(|_| Histories::default()).collect(),
            ..BlockState::default()
        };
        State {
            conv_in: History::default(),
            middle: Default::default(),
            blocks: self.blocks.iter().map(block).collect(),
            conv_out: History::default(),
        }
    }

    /// Feeds one latent frame `[h, w, z]`; `out` gets each frame of patches.
    fn feed(&self, state: &mut State, z: &Tensor, probe: &mut Probe<'_>, out: &mut Sink<'_>) -> Result<()> {
        let z = self.post_quant.frame(z)?;
        probe.see(format_args!("post_quant_conv"), &z);
        let x = self.conv_in.next(&mut state.conv_in, z)?;
        probe.see(format_args!("decoder.conv_in"), &x);
        let x = self.middle.next(&mut state.middle, x)?;
        probe.see(format_args!("decoder.mid_block"), &x);
        self.ascend(&mut state.blocks, &mut state.conv_out, x, probe, out)
    }

    /// From the block of the first of `states` on.
    fn ascend(
        &self,
        states: &mut [BlockState],
        conv_out: &mut History,
        x: Tensor,
        probe: &mut Probe<'_>,
        out: &mut Sink<'_>,
    ) -> Result<()> {
        let index = self.blocks.len() - states.len();
        let Some((state, states)) = states.split_first_mut() else {
            let n = self.norm_out.run(&x)?;
            drop(x);
            let y = self.conv_out.next(conv_out, n)?;
            probe.see(format_args!("decoder"), &y);
            return out(&y);
        };
        let block = &self.blocks[index];
        let entered = block.shortcut.map(|dims| (dims, x.clone()));
        let mut x = x;
        for (resnet, histories) in block.resnets.iter().zip(&mut state.resnets) {
            x = resnet.next(histories, x)?;
        }
        let mut climb = |y: Tensor| {
            probe.see(format_args!("decoder.up_blocks.{index}"), &y);
            self.ascend(states, conv_out, y, probe, out)
        };
        let Some(upsample) = &block.upsample else { return climb(x) };
        let first = !std::mem::replace(&mut state.started, true);
        let last = entered.as_ref().map_or(0, |(dims, _)| dims.frames - 1);
        match upsample.time.as_ref().filter(|_| !first) {
            // The first frame stays one: of the copies in the shortcut all but the last are dropped.
            None => climb(upsample.frame(x, entered.as_ref(), last)?),
            Some(time) => {
                // Nothing of the first frame is looked back at.
                let seen = state.time.see(x);
                for (at, conv) in time.iter().enumerate() {
                    let frame = conv.run(&seen.each_ref().map(Option::as_ref))?;
                    climb(upsample.frame(frame, entered.as_ref(), at)?)?;
                }
                Ok(())
            }
        }
    }
}

impl Upsample {
    /// A frame at twice the height and width; `at` is its place among those of the shortcut.
    fn frame(&self, x: Tensor, entered: Option<&(regroup::Dims, Tensor)>, at: usize) -> Result<Tensor> {
        let mut y = self.space.frame(&x)?;
        drop(x);
        let Some((dims, entered)) = entered else { return Ok(y) };
        let [height, width, _] = entered.shape().expect_rank("shortcut")?;
        let (rt, dims) = (*y.device().runtime(), regroup::Dims { height, width, ..*dims });
        let args = Duplicate { frame: entered.input()?, y_acc: y.output()?, at, dims };
        regroup::duplicate(&rt, args).map_err(flg_engine::Error::from)?;
        Ok(y)
    }
}

impl DecoderStream<'_> {
    /// Decodes the next latents `[b, z, f, h, w]` to the frames of video that they give, `[b, c, F, H, W]` in -1 to 1: one
    /// for the first latent frame of the clip, four for each of the others.
    ///
    /// # Errors
    /// Latents of another shape than those before; a device that fails.
    pub fn push(&mut self, latents: &Tensor) -> Result<Tensor> {
        self.push_and_see(latents, &mut Probe(None))
    }

    /// [`DecoderStream::push`], showing every frame `[h, w, c]` of what modules give by diffusers' names.
    ///
    /// # Errors
    /// As there.
    pub fn push_probed(&mut self, latents: &Tensor, see: &mut dyn FnMut(&str, &Tensor)) -> Result<Tensor> {
        self.push_and_see(latents, &mut Probe(Some(see)))
    }

    fn push_and_see(&mut self, latents: &Tensor, probe: &mut Probe<'_>) -> Result<Tensor> {
        let config = &self.decoder.config;
        let refuse = |reason| Err(Error::Latents { shape: latents.shape(), reason });
        let &[batch, channels, count, height, width] = latents.dims() else { return refuse("must be [b, c, f, h, w]") };
        if channels != config.z_dim {
            return refuse("the autoencoder has another number of latent channels");
        }
        if self.samples.is_empty() {
            self.samples = (0..batch).map(|_| self.decoder.state()).collect();
            self.size = [height, width];
        }
        if self.samples.len() != batch || self.size != [height, width] {
            return refuse("the clip began with another shape");
        }
        let (factor, patch) = (config.spatial_factor(), config.patch());
        let shape = [config.video_out_channels(), height * factor, width * factor];
        let mut clip = Clip::new(latents.device(), batch, shape, patch).clamped([-1.0, 1.0]);
        for (sample, state) in self.samples.iter_mut().enumerate() {
            for at in 0..count {
                let z = frames::cut(latents, [sample, at], 1)?;
                self.decoder.feed(state, &z, probe, &mut |frame| clip.push(sample, frame))?;
            }
        }
        clip.finish()
    }
}
