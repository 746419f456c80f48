//! A Wan transformer with its conditions, as a field of velocities.

use std::ops::Range;

use flg_engine::{Cx, ParamStore, Precision, Shape, Tensor, concat};

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

/// Tokens of a part: enough to fill the kernels of one core.
const PART_TOKENS: usize = 512;

/// A network under conditions that stay the same for a whole run: what depends on text only is computed once.
///
/// A batch is computed in parts of whole clips, side by side on as many threads as there are: small networks do not fill
/// two cores with one operation at a time. The parts depend on the batch only, so the threads do not change a bit.
#[derive(Debug)]
pub struct WanDenoiser<'a> {
    network: Network<'a>,
    latents: [usize; 5],
    parts: Vec<Part>,
    guidance: Guidance,
    first_frame: FirstFrame,
}

/// Clips that go through the network together, and their text: of both branches under guidance.
#[derive(Debug)]
struct Part {
    clips: Range<usize>,
    text: Text,
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
    /// The network under a text `[b, rows, text_dim]`, for latents `[b, c, f, h, w]` of these four extents. With active
    /// guidance the two branches of a clip run in one batch.
    ///
    /// # Errors
    /// Latents that the network does not take; text of another width; a null text of other rows or of another batch; a
    /// mask for another number of blocks.
    pub fn new(
        network: Network<'a>,
        text: &Tensor,
        guided: Option<Guided<'_>>,
        first_frame: FirstFrame,
        [c, f, h, w]: [usize; 4],
    ) -> Result<Self> {
        let [batch, rows, width] = text.shape().expect_rank("text")?;
        let guided = guided.filter(|guided| guided.strength.is_active());
        if let Some(Guided { null_text, .. }) = guided
            && null_text.dims().first() != Some(&1)
        {
            null_text.shape().expect("null text", [batch, rows, width])?;
        }
        let latents = [batch, c, f, h, w];
        let tokens: usize = network.wan.config().token_grid(Shape::from(latents))?.iter().product();
        let clips = (PART_TOKENS / tokens.max(1)).max(1);
        let part = |i: usize| -> Result<Part> {
            let clips = i * clips..((i + 1) * clips).min(batch);
            Ok(Part { text: embed(network, text, guided, clips.clone())?, clips })
        };
        let pool = text.device().pool();
        let parts = pool.side_by_side(batch.div_ceil(clips), part).into_iter().collect::<Result<_>>()?;
        let guidance = guided.map_or(Guidance::none(), |guided| guided.strength);
        Ok(WanDenoiser { network, latents, parts, guidance, first_frame })
    }

    fn part(&self, part: &Part, x: &Tensor, level: Level) -> Result<Tensor> {
        let Network { wan, weights, mask, precision } = self.network;
        let cx = Cx::inference(weights).with_precision(precision);
        let [frames, _, _] = wan.config().token_grid(x.shape())?;
        let (first, clips) = (part.clips.start, part.clips.len());
        let x = x.narrow(0, first, clips)?;
        let guided = self.guidance.is_active();
        let latents = if guided { concat(&[&x, &x])? } else { x };
        let times = vec![level.time; if guided { 2 * clips } else { clips }];
        let time = match self.first_frame {
            FirstFrame::Made => Time::per_sample(&times),
            FirstFrame::Given => Time::first_frame_clean(&times, frames),
        };
        let embedded = wan.embed_latents(&cx, &cx.input(latents), &time, part.text.clone())?;
        let stream = wan.blocks(&cx, &embedded, embedded.tokens.clone(), 0..wan.config().num_layers, mask)?;
        let v = wan.head(&cx, &embedded, &stream)?.value().clone();
        if !guided {
            return Ok(v);
        }
        let (conditional, null) = (v.narrow(0, 0, clips)?, v.narrow(0, clips, clips)?);
        Ok(self.guidance.combine(&conditional, &null)?)
    }
}

/// The text of these clips and, under guidance, the null text as often behind it, with the keys and values of each block.
fn embed(network: Network<'_>, text: &Tensor, guided: Option<Guided<'_>>, clips: Range<usize>) -> Result<Text> {
    let cx = Cx::inference(network.weights).with_precision(network.precision);
    let (first, clips) = (clips.start, clips.len());
    let mut rows = vec![text.narrow(0, first, clips)?];
    if let Some(Guided { null_text, .. }) = guided {
        match null_text.dims().first() {
            Some(&1) => rows.extend(std::iter::repeat_n(null_text.clone(), clips)),
            _ => rows.push(null_text.narrow(0, first, clips)?),
        }
    }
    let rows = concat(&rows.iter().collect::<Vec<_>>())?;
    network.wan.embed_text_for(&cx, &cx.input(rows), None, network.mask)
}

impl Denoiser for WanDenoiser<'_> {
    fn velocity(&mut self, x: &Tensor, level: Level) -> Result<Tensor> {
        x.shape().expect("latents", self.latents)?;
        if self.parts.is_empty() {
            return Ok(x.clone());
        }
        let pool = x.device().pool();
        let parts = pool.side_by_side(self.parts.len(), |i| self.part(&self.parts[i], x, level));
        let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(concat(&parts.iter().collect::<Vec<_>>())?)
    }
}
