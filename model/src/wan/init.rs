//! Fresh weights.

use flg_engine::{DType, Device, Key, ParamStore, Shape, Tensor};

use super::Wan;
use super::parameters::{Init, Parameter};
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
            let value = fresh(&device, &parameter, key.name(&parameter.name))?.cast(dtype(&parameter.name))?;
            weights.insert(parameter.name, value)?;
        }
        Wan::bind(config, weights)
    }
}

fn fresh(device: &Device, parameter: &Parameter, key: Key) -> Result<Tensor> {
    let shape = parameter.shape;
    Ok(match parameter.init {
        Init::Zeros => Tensor::zeros(device, shape)?,
        Init::Ones => Tensor::full(device, 1.0, shape)?,
        Init::Normal(deviation) => key.normal(device, shape)?.scale(deviation as f32)?,
        Init::XavierUniform => {
            let (out, width) = fans(shape);
            let bound = (6.0 / (out + width) as f64).sqrt();
            let mut stream = key.stream();
            Tensor::from_fn(device, shape, || ((2.0 * stream.uniform() - 1.0) * bound) as f32)?
        }
    })
}

/// Outputs and inputs of the linear layer that a weight `[out, in, ..]` is.
fn fans(shape: Shape) -> (usize, usize) {
    let (out, rest) = shape.dims().split_first().map_or((1, &[][..]), |(out, rest)| (*out, rest));
    (out, rest.iter().product())
}
