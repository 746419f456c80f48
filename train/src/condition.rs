//! What a network is told beside noisy latents and their times: text, and for image to video the given frames.

use flg_engine::{Cx, Tensor, Var, concat};
use flg_model::sampler::side_by_side;
use flg_model::wan::Embedded;
use flg_model::{BlockMask, Inputs, Time, Wan};

use crate::error::Result;

/// The conditions of a batch. Guidance goes away from the text alone: the other two are the same in both branches.
#[derive(Clone, Debug)]
pub struct Condition {
    /// `[b, rows, width]`
    pub text: Tensor,
    /// Image embeddings `[b, rows, image_dim]`, for a network that attends to them.
    pub image: Option<Tensor>,
    /// Channels beside the latents, `[b, channels, f, h, w]`: mask and latents of given frames.
    pub channels: Option<Tensor>,
}

impl Condition {
    /// Text alone.
    pub fn of_text(text: Tensor) -> Self {
        Condition { text, image: None, channels: None }
    }

    /// The same with another text.
    pub fn with_text(&self, text: Tensor) -> Self {
        Condition { text, ..self.clone() }
    }

    /// The conditions of several batches, one behind the other.
    ///
    /// # Errors
    /// None; batches that are conditioned on different things.
    pub fn stacked(parts: &[&Condition]) -> Result<Self> {
        let all = |of: fn(&Condition) -> Option<&Tensor>| {
            let tensors: Vec<&Tensor> = parts.iter().filter_map(|part| of(part)).collect();
            if tensors.is_empty() { Ok(None) } else { concat(&tensors).map(Some) }
        };
        let text: Vec<&Tensor> = parts.iter().map(|part| &part.text).collect();
        let (image, channels) = (all(|part| part.image.as_ref())?, all(|part| part.channels.as_ref())?);
        Ok(Condition { text: concat(&text)?, image, channels })
    }

    /// What goes into the network: `latents [b, c, f, h, w]` with the channels beside them.
    ///
    /// # Errors
    /// Latents of other extents than the channels.
    pub fn beside(&self, latents: &Tensor) -> Result<Tensor> {
        match &self.channels {
            Some(channels) => Ok(side_by_side(latents, channels)?),
            None => Ok(latents.clone()),
        }
    }

    /// Text, and the image where the network attends to one: a set may have more than a network is told.
    fn read_by(&self, wan: &Wan, cx: &Cx<'_>) -> (Var, Option<Var>) {
        let image = self.image.as_ref().filter(|_| wan.config().image_dim.is_some());
        (cx.input(self.text.clone()), image.map(|image| cx.input(image.clone())))
    }

    /// The network's embedded inputs; `joined` are latents as [`Condition::beside`] gives them.
    ///
    /// # Errors
    /// A network of another geometry.
    pub fn embed(&self, wan: &Wan, cx: &Cx<'_>, joined: &Var, time: &Time) -> Result<Embedded> {
        let (text, image) = self.read_by(wan, cx);
        Ok(wan.embed(cx, &Inputs { latents: joined, time, text: &text, image: image.as_ref() })?)
    }

    /// The network's velocity for `latents [b, c, f, h, w]` with the blocks of `mask`.
    ///
    /// # Errors
    /// A network of another geometry.
    pub fn forward(&self, wan: &Wan, cx: &Cx<'_>, latents: &Tensor, time: &Time, mask: &BlockMask) -> Result<Var> {
        let (text, image) = self.read_by(wan, cx);
        let latents = cx.input(self.beside(latents)?);
        Ok(wan.forward(cx, &Inputs { latents: &latents, time, text: &text, image: image.as_ref() }, mask)?)
    }
}
