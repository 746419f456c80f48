//! Where a part of the network takes its weights from while it is built.

use flg_engine::safetensors::SafeTensors;
use flg_engine::{Device, ParamStore, Tensor};

use crate::Result;

/// Tensors by diffusers' names, f32. Names and shapes have been compared with the configuration before.
pub(super) enum Source<'a> {
    /// Weights in memory, which are shared.
    Store(&'a ParamStore),
    /// A file, of which one tensor after the other is read.
    File { file: &'a SafeTensors, device: &'a Device },
    /// Nothing: a rehearsal, which needs shapes only.
    Shapes { list: &'a [super::Parameter], device: &'a Device },
}

impl Source<'_> {
    pub(super) fn get(&self, name: &str) -> Result<Tensor> {
        match self {
            Source::Store(store) => Ok(store.get(store.id(name)?).clone()),
            Source::File { file, device } if !device.is_dry() => Ok(file.tensor_f32(name, device)?),
            Source::File { file, device } => {
                let shape = file.info(name).map(|info| info.shape).unwrap_or([0].into());
                Ok(Tensor::from_fn(device, shape, || 0.0)?)
            }
            Source::Shapes { list, device } => {
                let found = list.iter().find(|parameter| parameter.name == name);
                let shape = found.map_or([0].into(), |parameter| parameter.shape);
                Ok(Tensor::from_fn(device, shape, || 0.0)?)
            }
        }
    }
}
