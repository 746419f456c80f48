//! Fresh weights.

use flg_engine::{DType, Key, ParamStore};

use super::Wan;
use crate::Result;
use crate::config::WanConfig;

impl Wan {
    /// A network with fresh weights, which it adds to `weights`.
    ///
    /// Linear layers and the patch embedding are Xavier-uniform, as in Peebles and Xie, "Scalable Diffusion Models with
    /// Transformers" (2023), biases and the output layer zero; modulation tables normal with deviation `1 / sqrt(d)`
    /// and the time embedder normal with deviation 0.02, as in Wan. Each tensor's numbers depend on its name and `key`
    /// only.
    ///
    /// # Errors
    /// What [`WanConfig::validate`] refuses; names that `weights` has already.
    pub fn init(config: WanConfig, weights: &mut ParamStore, key: Key) -> Result<Wan> {
        Wan::init_stored(config, weights, key, |_| DType::F32)
    }

    /// [`Wan::init`] with each tensor stored in the type that `dtype` gives its name, for inference with weights that
    /// are rounded once and for all. No more than one tensor exists in f32 meanwhile.
    ///
    /// # Errors
    /// As [`Wan::init`].
    pub fn init_stored(
        config: WanConfig,
        weights: &mut ParamStore,
        key: Key,
        dtype: impl Fn(&str) -> DType,
    ) -> Result<Wan> {
        config.validate()?;
        let device = weights.device().clone();
        for parameter in config.parameters() {
            let value = parameter.draw(&device, key)?.cast(dtype(&parameter.name))?;
            weights.insert(parameter.name, value)?;
        }
        Wan::bind(config, weights)
    }
}
