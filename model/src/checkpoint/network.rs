//! One network's files: reading them whole, and writing them in any layout and type, tensor by tensor.

use std::collections::BTreeMap;
use std::path::Path;

use flg_engine::files::write_atomic;
use flg_engine::safetensors::{
    Contents, DEFAULT_SHARD, Elements, Info, STEM, StoredType, write_folder, write_streamed,
};
use flg_engine::{Device, ParamStore};

use super::stored::CONFIG_TEXT;
use super::{CONFIG, Keep, Layout, StoredNetwork, make_folder};
use crate::wan::reads_low_precision;
use crate::{Result, Wan, WanConfig};

/// How weights are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The type of floating-point numbers: none keeps that of each tensor. What mixed precision keeps in f32
    /// ([`reads_low_precision`]) is f32 in a file of 16-bit weights too, as in one that diffusers saves.
    pub dtype: Option<StoredType>,
    /// Bytes after which a shard is full, in layouts that have shards.
    pub shard: u64,
}

impl Default for Form {
    fn default() -> Self {
        Form { dtype: None, shard: DEFAULT_SHARD }
    }
}

impl Form {
    /// The type that a tensor gets, whose elements have the type `now`: f32 where neither says one.
    pub(super) fn dtype_of(self, name: &str, now: Option<StoredType>) -> StoredType {
        match self.dtype {
            None => now.unwrap_or(StoredType::F32),
            Some(dtype) if reads_low_precision(name) => dtype,
            Some(_) => StoredType::F32,
        }
    }
}

/// A network that is going to be written.
pub(super) struct Outline<'a> {
    pub config: &'a WanConfig,
    pub layout: Layout,
    /// Every tensor by diffusers' name.
    pub tensors: Vec<(String, Info)>,
    pub shard: u64,
    /// More text for a single file, which has no other place for it.
    pub text: BTreeMap<String, String>,
}

/// Gives the elements of the tensor of diffusers' name.
pub(super) type Fill<'a> = &'a mut dyn FnMut(&str, &mut Elements<'_>) -> flg_engine::Result<()>;

impl Outline<'_> {
    /// Writes a network where its layout has it: diffusers' into a folder with a `config.json` (written last), the others
    /// into one file.
    pub(super) fn write(self, path: &Path, fill: Fill<'_>) -> Result<()> {
        let mut metadata = format_text();
        if self.layout == Layout::Diffusers {
            make_folder(path)?;
            let contents = Contents { tensors: self.tensors, stem: STEM, metadata, shard: self.shard };
            write_folder(path, contents, fill)?;
            let text = self.config.to_json();
            return Ok(write_atomic(path.join(CONFIG), |file| file.write_all(text.as_bytes()))?);
        }
        metadata.extend(self.text);
        metadata.insert(CONFIG_TEXT.to_owned(), self.config.to_json());
        // A name that this layout has no spelling for keeps its own.
        let spell = |name: &str| self.layout.spell(name).unwrap_or_else(|| name.to_owned());
        let names: BTreeMap<String, &str> = self.tensors.iter().map(|(name, _)| (spell(name), name.as_str())).collect();
        let tensors = self.tensors.iter().map(|(name, info)| (spell(name), *info)).collect();
        Ok(write_streamed(path, tensors, &metadata, &mut |name, elements| fill(names[name], elements))?)
    }
}

/// PyTorch's loaders ask for the format.
pub(super) fn format_text() -> BTreeMap<String, String> {
    [("format".to_owned(), "pt".to_owned())].into()
}

/// Writes a network alone: sizes and weights, as the folder `transformer` of a checkpoint holds them. Weights keep their
/// type.
///
/// # Errors
/// What the system refuses.
pub fn save_network(folder: impl AsRef<Path>, config: &WanConfig, weights: &ParamStore) -> Result<()> {
    save_network_as(folder, config, weights, Form::default())
}

/// [`save_network`] in another type, or with shards of another size.
///
/// # Errors
/// What the system refuses; a number that is too large for the type.
pub fn save_network_as(folder: impl AsRef<Path>, config: &WanConfig, weights: &ParamStore, form: Form) -> Result<()> {
    let info = |name: &str, value: &flg_engine::Tensor| Info {
        dtype: form.dtype_of(name, Some(value.dtype().into())),
        shape: value.shape(),
    };
    let tensors = weights.iter().map(|(_, name, value)| (name.to_owned(), info(name, value))).collect();
    let outline = Outline { config, layout: Layout::Diffusers, tensors, shard: form.shard, text: BTreeMap::new() };
    outline.write(folder.as_ref(), &mut |name, elements| elements.push_tensor(weights.get(weights.id(name)?)))
}

/// Reads a network alone, from a folder that holds its sizes and weights (one file or shards) or from a single file; f32
/// whatever is stored.
///
/// # Errors
/// As [`StoredNetwork::open`] and [`StoredNetwork::tensor`].
pub fn load_network(path: impl AsRef<Path>, device: &Device) -> Result<(Wan, ParamStore)> {
    StoredNetwork::open(path)?.load(Keep::F32, device)
}
