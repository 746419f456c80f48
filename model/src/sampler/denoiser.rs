//! A Wan transformer with its conditions, as a field of velocities.

use flg_engine::{Cx, ParamStore, Precision, Tensor, concat};

use super::{Denoiser, Level};
use crate::wan::Text;
use crate::{BlockMask, Guidance, Result, Time, Wan};

/// A network to sample from.
#[derive(Clone, Copy, Debug)]
pub struct Network<'a> {
    /// The architecture.
    pub wan: &'a Wan,
    /// Its weights.
    pub weights: &'a ParamStore,
    /// The blocks that run.
    pub mask: &'a BlockMask,
    /// What activations are stored in.
    pub precision: Precision,
}

/// Guidance away from a text.
#[derive(Clone, Copy, Debug)]
pub struct Guided<'a> {
    /// How much.
    pub strength: Guidance,
    /// The text to go away from, `[b or 1, rows, text_dim]`: the null or a negative prompt.
    pub null_text: &'a Tensor,
}

/// A network under conditions that stay the same for a whole run: what depends on text only is computed once.
#[derive(Debug)]
pub struct WanDenoiser<'a> {
    network: Network<'a>,
    text: Text,
    batch: usize,
    guidance: Guidance,
    first_frame: FirstFrame,
}

/// Whether the first frame is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstFrame {
    /// It is made like the others.
    Made,
    /// It is given and clean: its tokens are told time 0.
    Given,
}

impl<'a> WanDenoiser<'a> {
    /// The network under a text `[b, rows, text_dim]`. With active guidance both branches run as one batch of `2 b`.
    ///
    /// # Errors
    /// Text of another width; a null text of other rows; a mask for another number of blocks.
    pub fn new(
        network: Network<'a>,
        text: &Tensor,
        guided: Option<Guided<'_>>,
        first_frame: FirstFrame,
    ) -> Result<Self> {
        let cx = Cx::inference(network.weights).with_precision(network.precision);
        let [batch, _, _] = text.shape().expect_rank("text")?;
        let guided = guided.filter(|guided| guided.strength.is_active());
        let rows = match guided {
            None => text.clone(),
            Some(Guided { null_text, .. }) => {
                let repeats = if null_text.dims().first() == Some(&1) { batch } else { 1 };
                let nulls = std::iter::repeat_n(null_text, repeats);
                concat(&std::iter::once(text).chain(nulls).collect::<Vec<_>>())?
            }
        };
        let text = network.wan.embed_text_for(&cx, &cx.input(rows), network.mask)?;
        let guidance = guided.map_or(Guidance::none(), |guided| guided.strength);
        Ok(WanDenoiser { network, text, batch, guidance, first_frame })
    }

    fn time(&self, samples: usize, level: Level, frames: usize) -> Time {
        let times = vec![level.time; samples];
        match self.first_frame {
            FirstFrame::Made => Time::per_sample(&times),
            FirstFrame::Given => Time::first_frame_clean(&times, frames),
        }
    }
}

impl Denoiser for WanDenoiser<'_> {
    fn velocity(&mut self, x: &Tensor, level: Level) -> Result<Tensor> {
        let Network { wan, weights, mask, precision } = self.network;
        let cx = Cx::inference(weights).with_precision(precision);
        let [frames, _, _] = wan.config().token_grid(x.shape())?;
        let guided = self.guidance.is_active();
        let latents = if guided { concat(&[x, x])? } else { x.clone() };
        let time = self.time(if guided { 2 * self.batch } else { self.batch }, level, frames);
        let embedded = wan.embed_latents(&cx, &cx.input(latents), &time, self.text.clone())?;
        let stream = wan.blocks(&cx, &embedded, embedded.tokens.clone(), 0..wan.config().num_layers, mask)?;
        let v = wan.head(&cx, &embedded, &stream)?;
        let v = v.value();
        if !guided {
            return Ok(v.clone());
        }
        let (conditional, null) = (v.narrow(0, 0, self.batch)?, v.narrow(0, self.batch, self.batch)?);
        Ok(self.guidance.combine(&conditional, &null)?)
    }
}
