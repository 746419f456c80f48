//! One noised batch, as every stage that trains on real clips draws it.

use flg_engine::{Cx, Key, Var};
use flg_model::wan::Embedded;
use flg_model::{BlockMask, Wan};

use super::Setup;
use crate::condition::Condition;
use crate::data::Split;
use crate::error::Result;
use crate::perturb::{Density, FirstFrame, Perturbed, noise_levels, perturb};

/// How batches are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Drawing {
    /// Keeps the clips of different stages apart.
    pub stream: u32,
    /// Clips.
    pub batch: usize,
    /// Distribution of the noise levels.
    pub density: Density,
    /// Probability that a clip loses its caption.
    pub text_drop: f64,
    /// Share of clips whose first frame is given.
    pub first_frame: f64,
}

/// A noised batch with what the network is told of it.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The noised latents and what belongs to them.
    pub noised: Perturbed,
    /// Text and, for image to video, the given frames.
    pub condition: Condition,
}

impl Drawing {
    /// The batch of clips `first..` of the stream; everything random comes from `key`.
    ///
    /// # Errors
    /// A world without training clips.
    pub fn draw(&self, setup: &Setup, key: Key, first: u64) -> Result<Drawn> {
        let task = &setup.task;
        let batch = task.batch(Split::Training, setup.seed, self.stream, first, self.batch)?;
        let frames = FirstFrame::draw(key.name("first frame"), self.first_frame, self.batch);
        let mut drop = key.name("text drop").stream();
        let text = task.text(batch.captions.iter().map(|&c| (!drop.bernoulli(self.text_drop)).then_some(c)))?;
        let noise = key.name("noise").normal(task.device(), batch.latents.shape())?;
        let t = noise_levels(key.name("t"), self.batch, self.density);
        Ok(Drawn { noised: perturb(&batch.latents, &noise, t, &frames)?, condition: batch.condition(text) })
    }
}

impl Drawn {
    /// The network's embedded inputs for this batch.
    ///
    /// # Errors
    /// A network of another geometry.
    pub fn embed(&self, wan: &Wan, cx: &Cx<'_>) -> Result<Embedded> {
        let latents = cx.input(self.condition.beside(&self.noised.x)?);
        self.condition.embed(wan, cx, &latents, &self.noised.time)
    }

    /// The residual stream `[b, tokens, d]` behind every block that the mask keeps, by block, and the velocity.
    ///
    /// # Errors
    /// A network of another geometry.
    pub fn streams(&self, wan: &Wan, cx: &Cx<'_>, mask: &BlockMask) -> Result<(Vec<(usize, Var)>, Var)> {
        let embedded = self.embed(wan, cx)?;
        let (mut stream, mut streams) = (embedded.tokens.clone(), Vec::new());
        for block in mask.kept() {
            stream = wan.blocks(cx, &embedded, stream, block..block + 1, mask)?;
            streams.push((block, stream.clone()));
        }
        let v = wan.head(cx, &embedded, &stream)?;
        Ok((streams, v))
    }

    /// The network's velocity for this batch.
    ///
    /// # Errors
    /// A network of another geometry.
    pub fn forward(&self, wan: &Wan, cx: &Cx<'_>, mask: &BlockMask) -> Result<Var> {
        self.condition.forward(wan, cx, &self.noised.x, &self.noised.time, mask)
    }
}
