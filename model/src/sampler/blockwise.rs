//! One clip from a network that may be larger than the memory: a block of both branches of guidance before the next block
//! is read.

use flg_engine::{Cx, Precision, Tensor};

use super::{Denoiser, FirstFrame, Level};
use crate::wan::{Blockwise, Embedded, Pass, Text};
use crate::{BlockMask, Guidance, Result, Time};

/// What a run is conditioned on.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// Text embedding `[b, rows, text_dim]`.
    pub text: &'a Tensor,
    /// The text to go away from, `[b, rows, text_dim]`, and how much.
    pub guided: Option<(&'a Tensor, Guidance)>,
    /// Image embedding `[b, rows, image_dim]`, for both branches.
    pub image: Option<&'a Tensor>,
    /// Channels `[b, c, f, h, w]` that stand behind those of the latents in the network's input.
    pub beside: Option<&'a Tensor>,
    /// Whether the first frame is given.
    pub first_frame: FirstFrame,
}

/// A network under conditions that stay the same for a whole run.
pub struct BlockwiseDenoiser<'a> {
    network: &'a Blockwise,
    mask: &'a BlockMask,
    precision: Precision,
    /// Of the text and, under guidance, of the one to go away from.
    texts: Vec<Text>,
    guidance: Guidance,
    beside: Option<Tensor>,
    first_frame: FirstFrame,
    /// Hears of every block that is done, and may stop the run.
    on_block: Box<dyn FnMut(usize) -> Result<()> + 'a>,
}

impl std::fmt::Debug for BlockwiseDenoiser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockwiseDenoiser").field("network", &self.network).finish_non_exhaustive()
    }
}

impl<'a> BlockwiseDenoiser<'a> {
    /// The network under a prompt.
    ///
    /// # Errors
    /// Text or image of another width; an image where the network takes none, or none where it needs one.
    pub fn new(
        network: &'a Blockwise,
        mask: &'a BlockMask,
        precision: Precision,
        prompt: &Prompt<'_>,
        on_block: Box<dyn FnMut(usize) -> Result<()> + 'a>,
    ) -> Result<Self> {
        let cx = Cx::inference(network.shell()).with_precision(precision);
        let image = prompt.image.map(|image| cx.input(image.clone()));
        let guided = prompt.guided.filter(|(_, guidance)| guidance.is_active());
        let texts = [Some(prompt.text), guided.map(|(text, _)| text)].into_iter().flatten();
        let embed = |text: &Tensor| network.wan().embed_text(&cx, &cx.input(text.clone()), image.as_ref());
        let mut texts = texts.map(embed).collect::<Result<Vec<_>>>()?;
        network.remember_keys_values(precision, &mut texts, mask)?;
        Ok(BlockwiseDenoiser {
            network,
            mask,
            precision,
            texts,
            guidance: guided.map_or(Guidance::none(), |(_, guidance)| guidance),
            beside: prompt.beside.cloned(),
            first_frame: prompt.first_frame,
            on_block,
        })
    }

    /// What the network is given beside a text: the same for both branches.
    fn embed(&self, cx: &Cx<'_>, x: &Tensor, level: Level, text: Text) -> Result<Embedded> {
        let wan = self.network.wan();
        let latents = match &self.beside {
            Some(beside) => side_by_side(x, beside)?,
            None => x.clone(),
        };
        let [frames, _, _] = wan.config().token_grid(latents.shape())?;
        let times = vec![level.time; x.dims()[0]];
        let time = match self.first_frame {
            FirstFrame::Made => Time::per_sample(&times),
            FirstFrame::Given => Time::first_frame_clean(&times, frames),
        };
        wan.embed_latents(cx, &cx.input(latents), &time, text)
    }
}

/// Channels of `a [b, c, f, h, w]`, then those of `b`.
///
/// # Errors
/// Other extents but for the channels.
pub fn side_by_side(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let [batch, channels, frames, height, width] = a.shape().expect_rank("latents")?;
    let [_, more, ..] = b.shape().expect_rank::<5>("latents")?;
    b.shape().expect("latents", [batch, more, frames, height, width])?;
    let mut both = Tensor::empty(a.device(), [batch, channels + more, frames, height, width], a.dtype())?;
    both.overwrite(1, 0, a)?;
    both.overwrite(1, channels, b)?;
    Ok(both)
}

impl Denoiser for BlockwiseDenoiser<'_> {
    fn velocity(&mut self, x: &Tensor, level: Level) -> Result<Tensor> {
        let wan = self.network.wan();
        let cx = Cx::inference(self.network.shell()).with_precision(self.precision);
        let embedded = self.embed(&cx, x, level, self.texts[0].clone())?;
        let mut passes: Vec<Pass> =
            self.texts.iter().map(|text| Pass::from(embedded.with_text(text.clone()))).collect();
        drop(embedded);
        self.network.blocks(self.precision, &mut passes, self.mask, &mut self.on_block)?;
        let mut velocities = passes.into_iter().map(|Pass { embedded, stream }| wan.head(&cx, &embedded, &stream));
        let conditional = velocities.next().expect("there is a text")?.value().clone();
        match velocities.next() {
            Some(null) => Ok(self.guidance.combine(&conditional, null?.value())?),
            None => Ok(conditional),
        }
    }
}

/// Two networks, of which one works at high noise and the other at low, as in Wan2.2's A14B.
#[derive(Debug)]
pub struct Experts<'a> {
    /// From the boundary up.
    pub high: BlockwiseDenoiser<'a>,
    /// Below the boundary.
    pub low: BlockwiseDenoiser<'a>,
    /// A noise level in 0 to 1.
    pub boundary: f64,
}

impl Denoiser for Experts<'_> {
    fn velocity(&mut self, x: &Tensor, level: Level) -> Result<Tensor> {
        let is_high = f64::from(level.time) >= self.boundary * f64::from(crate::schedule::TRAIN_STEPS);
        let (expert, other) = if is_high { (&mut self.high, &self.low) } else { (&mut self.low, &self.high) };
        // Noise falls along a run, so what the other has in memory is not needed again.
        other.network.forget();
        expert.velocity(x, level)
    }
}
