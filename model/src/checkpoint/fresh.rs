//! Fresh weights that go straight into files: a network of any size in the memory of a few thousand numbers.

use std::path::Path;

use flg_engine::safetensors::{Contents, Elements, Info, write_folder};
use flg_engine::{Device, Key};

use super::Form;
use crate::Result;
use crate::wan::{Init, Parameter};

/// Numbers that are drawn at a time; a multiple of four, as the generator's blocks are.
const PIECE: usize = 1 << 16;

/// Writes fresh weights of any list of parameters into a folder that is there, which must get its `config.json` from the
/// caller: the transformers, and the VAE and text encoder beside them. Each tensor's numbers depend on its name and `key`
/// only; they are those of [`Wan::init`](crate::Wan::init), rounded to the file's type.
///
/// # Errors
/// What the system refuses.
pub fn write_fresh(
    folder: impl AsRef<Path>,
    stem: &'static str,
    parameters: &[Parameter],
    form: Form,
    key: Key,
) -> Result<()> {
    let info = |parameter: &Parameter| Info { dtype: form.dtype_of(&parameter.name, None), shape: parameter.shape };
    let tensors = parameters.iter().map(|parameter| (parameter.name.clone(), info(parameter))).collect();
    let metadata = super::network::format_text();
    let by_name = |name: &str| parameters.iter().find(|parameter| parameter.name == name);
    let contents = Contents { tensors, stem, metadata, shard: form.shard };
    write_folder(folder, contents, &mut |name, elements| match by_name(name) {
        Some(parameter) => draw(parameter, key.name(name), elements),
        None => Ok(()),
    })?;
    Ok(())
}

/// The numbers of a fresh parameter, a piece at a time.
fn draw(parameter: &Parameter, key: Key, elements: &mut Elements<'_>) -> flg_engine::Result<()> {
    let device = Device::cpu();
    let mut stream = key.stream();
    let all = parameter.shape.elements();
    for begin in (0..all).step_by(PIECE) {
        let n = PIECE.min(all - begin);
        match parameter.init {
            Init::Zeros => elements.push(&vec![0.0; n])?,
            Init::Ones => elements.push(&vec![1.0; n])?,
            Init::Normal(deviation) => {
                let piece = key.normal_from(&device, begin as u64, [n])?.scale(deviation as f32)?;
                elements.push_tensor(&piece)?;
            }
            Init::XavierUniform => {
                let bound = xavier(parameter.shape.dims());
                let mut next = || ((2.0 * stream.uniform() - 1.0) * bound) as f32;
                elements.push(&(0..n).map(|_| next()).collect::<Vec<_>>())?;
            }
        }
    }
    Ok(())
}

/// `sqrt(6 / (in + out))` of the linear layer that a weight `[out, in, ..]` is.
fn xavier(dims: &[usize]) -> f64 {
    let out = dims.first().copied().unwrap_or(1);
    let width: usize = dims.iter().skip(1).product();
    (6.0 / (out + width) as f64).sqrt()
}
