//! Fresh weights that go straight into files: a network of any size in the memory of a few thousand numbers.

use std::collections::BTreeMap;
use std::path::Path;

use flg_engine::files::write_atomic;
use flg_engine::safetensors::{Contents, Elements, Info, STEM, StoredType, write_folder};
use flg_engine::{Device, Key};

use super::{
    CONFIG, Form, PipelineIndex, TRANSFORMER, TRANSFORMER_2, VAE, make_folder, network, scheduler, write_unipc,
};
use crate::config::CLASS;
use crate::wan::{Init, Parameter};
use crate::{Architecture, Result, vae};

/// Numbers that are drawn at a time; a multiple of four, as the generator's blocks are.
const PIECE: usize = 1 << 18;

/// A folder of fresh weights: a transformer, or the VAE or an encoder beside it.
#[derive(Clone, Debug)]
pub struct FreshPart {
    /// Its folder's name in the checkpoint; its numbers depend on it.
    pub folder: &'static str,
    /// Library and class that the index names.
    pub class: [&'static str; 2],
    /// What the names of its weights begin with: [`STEM`], or `model` for what the library transformers reads.
    pub stem: &'static str,
    /// The text of its `config.json`.
    pub config: String,
    /// Its tensors.
    pub parameters: Vec<Parameter>,
    /// What its numbers are stored as, whatever is asked for of the others.
    pub dtype: Option<StoredType>,
}

impl FreshPart {
    /// The transformers of an architecture: one, or two experts.
    pub fn transformers(architecture: &Architecture) -> Vec<FreshPart> {
        let config = architecture.config();
        let part = |folder| FreshPart {
            folder,
            class: ["diffusers", CLASS],
            stem: STEM,
            config: config.to_json(),
            parameters: config.parameters(),
            dtype: None,
        };
        let experts = [TRANSFORMER, TRANSFORMER_2];
        experts.into_iter().take(architecture.experts()).map(part).collect()
    }

    /// The autoencoder of an architecture, f32: it is computed in f32.
    pub fn autoencoder(architecture: &Architecture) -> FreshPart {
        let config = architecture.autoencoder();
        let init = |name: &str| match name.rsplit('.').next() {
            Some("gamma") => Init::Ones,
            Some("bias") => Init::Zeros,
            _ => Init::XavierUniform,
        };
        let parameters = config.parameters().into_iter();
        let fresh = |p: vae::Parameter| Parameter { init: init(&p.name), name: p.name, shape: p.shape };
        FreshPart {
            folder: VAE,
            class: ["diffusers", vae::CLASS],
            stem: STEM,
            config: config.to_json(),
            parameters: parameters.map(fresh).collect(),
            dtype: Some(StoredType::F32),
        }
    }

    /// The form of its files where the others have this one.
    fn form(&self, form: Form) -> Form {
        Form { dtype: self.dtype.or(form.dtype), ..form }
    }

    /// Bytes of its weights in files of this form.
    pub fn bytes(&self, form: Form) -> u64 {
        let form = self.form(form);
        self.parameters.iter().map(|parameter| info(parameter, form).bytes() as u64).sum()
    }
}

/// Writes a checkpoint of fresh networks: the given parts, a scheduler, and last the index. `each` hears of every tensor:
/// bytes written so far.
///
/// # Errors
/// What the system refuses.
pub fn init(
    folder: impl AsRef<Path>,
    architecture: &Architecture,
    parts: &[FreshPart],
    (form, key): (Form, Key),
    each: &mut dyn FnMut(u64),
) -> Result<()> {
    let folder = folder.as_ref();
    let mut index = PipelineIndex::new(architecture.pipeline);
    index.boundary_ratio = architecture.boundary;
    index.expand_timesteps = architecture.time_per_token;
    let mut done = 0;
    for part in parts {
        let path = folder.join(part.folder);
        make_folder(&path)?;
        write_fresh(&path, part, (form, key.name(part.folder)), &mut |bytes| {
            done += bytes;
            each(done);
        })?;
        write_atomic(path.join(CONFIG), |file| file.write_all(part.config.as_bytes()))?;
        index = index.with_part(part.folder, part.class[0], part.class[1]);
    }
    write_unipc(folder, architecture.shift)?;
    index.with_part("scheduler", "diffusers", scheduler::UNIPC).write(folder)
}

/// Writes the weights of a part into a folder that is there. Each tensor's numbers depend on its name and `key` only; they
/// are those of [`Wan::init`](crate::Wan::init), rounded to the file's type. `each` hears the bytes of each tensor.
///
/// # Errors
/// What the system refuses.
pub fn write_fresh(
    folder: impl AsRef<Path>,
    part: &FreshPart,
    (form, key): (Form, Key),
    each: &mut dyn FnMut(u64),
) -> Result<()> {
    let form = part.form(form);
    let tensors = part.parameters.iter().map(|parameter| (parameter.name.clone(), info(parameter, form))).collect();
    let contents = Contents { tensors, stem: part.stem, metadata: network::format_text(), shard: form.shard };
    let by_name: BTreeMap<&str, &Parameter> = part.parameters.iter().map(|p| (p.name.as_str(), p)).collect();
    write_folder(folder, contents, &mut |name, elements| {
        draw(by_name[name], key.name(name), elements)?;
        each(elements.info().bytes() as u64);
        Ok(())
    })?;
    Ok(())
}

fn info(parameter: &Parameter, form: Form) -> Info {
    Info { dtype: form.dtype_of(&parameter.name, None), shape: parameter.shape }
}

/// The numbers of a fresh parameter, a piece at a time.
fn draw(parameter: &Parameter, key: Key, elements: &mut Elements<'_>) -> flg_engine::Result<()> {
    let device = Device::cpu();
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
                let numbers = key.uniforms(begin as u64, n);
                elements.push(&numbers.into_iter().map(|u| ((2.0 * u - 1.0) * bound) as f32).collect::<Vec<_>>())?;
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
