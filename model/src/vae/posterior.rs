//! What an encoder gives: a normal distribution for every element of the latents.

use flg_engine::{Result as EngineResult, Tensor};

use crate::Result;

/// Mean and logarithm of the variance, side by side along channels.
#[derive(Clone, Debug)]
pub struct Posterior {
    parameters: Tensor,
}

impl Posterior {
    /// Of parameters `[b, 2 z, f, h, w]`.
    pub(super) fn new(parameters: Tensor) -> Self {
        Posterior { parameters }
    }

    /// `[b, 2 z, f, h, w]`: means, then logarithms of variances, as the network gives them.
    pub fn parameters(&self) -> &Tensor {
        &self.parameters
    }

    /// The means `[b, z, f, h, w]`, which pipelines take for the latents.
    ///
    /// # Errors
    /// A device that fails.
    pub fn mean(&self) -> Result<Tensor> {
        Ok(self.half(0)?)
    }

    /// The logarithms of the variances `[b, z, f, h, w]`, clamped to -30 to 20.
    ///
    /// # Errors
    /// A device that fails.
    pub fn logvar(&self) -> Result<Tensor> {
        let half = self.half(1)?;
        if half.device().is_dry() {
            return Ok(half);
        }
        let values = half.values()?.into_iter().map(|value| value.clamp(-30.0, 20.0)).collect();
        Ok(Tensor::from_vec(half.device(), values, half.shape())?)
    }

    fn half(&self, which: usize) -> EngineResult<Tensor> {
        let [_, channels, ..] = self.parameters.shape().expect_rank::<5>("posterior")?;
        self.parameters.narrow(1, which * (channels / 2), channels / 2)?.contiguous()
    }
}
