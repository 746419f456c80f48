//! What every list of parameters is good for: comparing it with a file, and drawing a fresh network.

use flg_engine::{Device, Key, Shape, Tensor};

use crate::Result;
use crate::error::Mismatch;
use crate::wan::{Init, Parameter};

/// How tensors of these names and shapes differ from those of a list.
pub(crate) fn mismatch<'a>(parameters: &[Parameter], found: impl Iterator<Item = (&'a str, Shape)>) -> Mismatch {
    Mismatch::between(parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.shape)), found)
}

impl Parameter {
    /// First values of this parameter, f32. They depend on its name and `key` only.
    ///
    /// # Errors
    /// A GPU without enough memory left.
    pub fn draw(&self, device: &Device, key: Key) -> Result<Tensor> {
        let (key, shape) = (key.name(&self.name), self.shape);
        Ok(match self.init {
            Init::Zeros => Tensor::zeros(device, shape)?,
            Init::Ones => Tensor::full(device, 1.0, shape)?,
            Init::Normal(deviation) => key.normal(device, shape)?.scale(deviation as f32)?,
            Init::XavierUniform => {
                let (out, width) =
                    shape.dims().split_first().map_or((1, 1), |(out, rest)| (*out, rest.iter().product()));
                let bound = (6.0 / (out + width) as f64).sqrt();
                let mut stream = key.stream();
                Tensor::from_fn(device, shape, || ((2.0 * stream.uniform() - 1.0) * bound) as f32)?
            }
        })
    }
}
