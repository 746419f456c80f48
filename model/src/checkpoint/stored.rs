//! A network as it lies on the disk: opened, its names and sizes known, its weights not read yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flg_engine::files::read_json;
use flg_engine::safetensors::{Elements, Info, SafeTensors, StoredType, WEIGHTS};
use flg_engine::{DType, Device, ParamStore, Shape, Tensor};
use serde_json::Value;

use super::infer::{self, Told};
use super::{CONFIG, Layout};
use crate::error::Mismatch;
use crate::wan::{Parameter, reads_low_precision};
use crate::{Error, Result, Wan, WanConfig};

/// The text of a single file that holds the sizes, as `config.json` does for a folder.
pub(super) const CONFIG_TEXT: &str = "flg_config";

/// What weights become in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// f32, whatever is stored: for training.
    F32,
    /// bf16 where the file has bf16, for half the memory; f32 elsewhere, and always for what mixed precision keeps in f32
    /// ([`reads_low_precision`]). Nothing is rounded.
    Stored,
    /// bf16 whatever is stored, but for what mixed precision keeps in f32.
    Bf16,
}

impl Keep {
    fn dtype(self, name: &str, stored: StoredType) -> DType {
        let narrow = match self {
            Keep::F32 => false,
            Keep::Stored => stored == StoredType::Bf16,
            Keep::Bf16 => true,
        };
        if narrow && reads_low_precision(name) { DType::Bf16 } else { DType::F32 }
    }
}

/// An opened network, in whichever layout. Names in its methods are diffusers'.
#[derive(Debug)]
pub struct StoredNetwork {
    path: PathBuf,
    file: SafeTensors,
    layout: Layout,
    config: WanConfig,
    sizes: Sizes,
    /// The file's name of each tensor that the layout knows, by diffusers'.
    spelled: BTreeMap<String, String>,
}

/// Where the sizes of a network come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// A configuration beside or inside the file.
    Configured,
    /// The shapes of its tensors.
    Inferred,
}

impl StoredNetwork {
    /// Opens a folder (weights in one file or in shards, and a `config.json` of diffusers' class or of the authors' own) or
    /// a single file, and compares every tensor with the sizes. Only headers are read.
    ///
    /// # Errors
    /// What [`SafeTensors::open`] refuses; a configuration that is not supported; sizes that cannot be told;
    /// [`Error::Parameters`] with every missing, extra and misshapen tensor, in the file's own spelling.
    pub fn open(path: impl AsRef<Path>) -> Result<StoredNetwork> {
        let path = path.as_ref();
        let folder = path.is_dir();
        let file = if folder { SafeTensors::open_folder(path)? } else { SafeTensors::open(path)? };
        let layout = Layout::detect(file.names());
        let mut spelled = BTreeMap::new();
        let mut shapes = BTreeMap::new();
        let mut strangers = Vec::new();
        for name in file.names() {
            match (layout.read(name), file.info(name)) {
                (Some(known), Some(info)) => {
                    shapes.insert(known.clone(), info.shape);
                    spelled.insert(known, name.to_owned());
                }
                _ => strangers.push(name.to_owned()),
            }
        }
        let (config, sizes) = sizes(path, &file, &shapes)?;
        let network = StoredNetwork { path: path.to_owned(), file, layout, config, sizes, spelled };
        network.compare(&shapes, strangers)?;
        Ok(network)
    }

    /// How the file spells names.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Sizes.
    pub fn config(&self) -> &WanConfig {
        &self.config
    }

    /// Where the sizes come from.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The text that accompanies the tensors.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        self.file.metadata()
    }

    /// Type and shape of a tensor.
    pub fn info(&self, name: &str) -> Option<Info> {
        self.file.info(self.spelled.get(name)?)
    }

    /// The opened file or shards.
    pub fn file(&self) -> &SafeTensors {
        &self.file
    }

    /// What the file calls a tensor: the tensor's own name where it does not have it.
    pub fn spelling<'a>(&'a self, name: &'a str) -> &'a str {
        self.spelled.get(name).map_or(name, String::as_str)
    }

    /// Reads one tensor.
    ///
    /// # Errors
    /// A name that is not there; weights that are not finite: a network that holds one gives nothing else, so both this and
    /// copying a piece at a time refuse it, naming tensor and file.
    pub fn tensor(&self, name: &str, keep: Keep, device: &Device) -> Result<Tensor> {
        let spelled = self.spelling(name);
        let stored = self.file.info(spelled).map_or(StoredType::F32, |info| info.dtype);
        Ok(self.file.weights(spelled, keep.dtype(name, stored), device)?)
    }

    /// The type that a tensor gets in memory.
    pub fn dtype(&self, name: &str, keep: Keep) -> DType {
        keep.dtype(name, self.info(name).map_or(StoredType::F32, |info| info.dtype))
    }

    /// [`StoredNetwork::tensor`], of which the file keeps nothing in memory. On a dry device nothing is read.
    ///
    /// # Errors
    /// As there.
    pub fn take(&mut self, name: &str, keep: Keep, device: &Device) -> Result<Tensor> {
        if let (true, Some(info)) = (device.is_dry(), self.info(name)) {
            return Ok(Tensor::empty(device, info.shape, self.dtype(name, keep))?);
        }
        let tensor = self.tensor(name, keep, device);
        let spelled = self.spelling(name).to_owned();
        self.file.release(&spelled);
        tensor
    }

    /// Copies a tensor into a file that is being written, a piece at a time, of which this file keeps nothing in memory.
    pub(super) fn copy(&mut self, name: &str, elements: &mut Elements<'_>) -> flg_engine::Result<()> {
        let spelled = self.spelling(name).to_owned();
        let copied = elements.push_stored(&self.file, &spelled);
        self.file.release(&spelled);
        copied
    }

    /// Reads the whole network, of which the file keeps nothing in memory. On a dry device weights are not read.
    ///
    /// # Errors
    /// As [`StoredNetwork::tensor`].
    pub fn load(&mut self, keep: Keep, device: &Device) -> Result<(Wan, ParamStore)> {
        let mut weights = ParamStore::new(device);
        for Parameter { name, .. } in self.config.parameters() {
            let value = self.take(&name, keep, device)?;
            weights.insert(name, value)?;
        }
        Ok((Wan::bind(self.config.clone(), &weights)?, weights))
    }

    fn compare(&self, shapes: &BTreeMap<String, Shape>, strangers: Vec<String>) -> Result<()> {
        let mut mismatch = self.config.mismatch(shapes.iter().map(|(name, shape)| (name.as_str(), *shape)));
        mismatch.extra.extend(strangers);
        if mismatch.is_empty() {
            return Ok(());
        }
        Err(Error::Parameters(self.located(mismatch)).in_file(&self.path))
    }

    /// The same differences in the file's spelling, with the file of each tensor and the shape of each missing one.
    fn located(&self, mut mismatch: Mismatch) -> Mismatch {
        let spell = |name: &String| match self.spelled.get(name) {
            Some(spelled) => spelled.clone(),
            None => self.layout.spell(name).unwrap_or_else(|| name.clone()),
        };
        let expected = self.config.parameters();
        mismatch.expected = expected.into_iter().map(|parameter| (spell(&parameter.name), parameter.shape)).collect();
        mismatch.missing.iter_mut().chain(&mut mismatch.extra).for_each(|name| *name = spell(name));
        mismatch.misshapen.iter_mut().for_each(|(name, ..)| *name = spell(name));
        if self.path.is_dir() {
            let place =
                |name: &String| Some((name.clone(), self.file.path_of(name)?.file_name()?.to_str()?.to_owned()));
            let extra = mismatch.extra.iter().filter_map(place);
            mismatch.files = extra.chain(mismatch.misshapen.iter().filter_map(|(name, ..)| place(name))).collect();
        }
        mismatch
    }
}

/// The sizes of the network at `path`, and where they come from.
fn sizes(path: &Path, file: &SafeTensors, shapes: &BTreeMap<String, Shape>) -> Result<(WanConfig, Sizes)> {
    let beside = match path.is_dir() {
        true => Some(path.join(CONFIG)),
        // The one file of a folder of diffusers', given by its own name.
        false if path.file_name().is_some_and(|name| name == WEIGHTS) => Some(path.with_file_name(CONFIG)),
        false => None,
    };
    let mut told = Told::default();
    if let Some(beside) = beside.filter(|beside| path.is_dir() || beside.is_file()) {
        let value: Value = read_json(&beside)?;
        if value["_class_name"] != "WanModel" {
            let config = WanConfig::from_value(value).map_err(|error| error.in_file(beside))?;
            return Ok((config, Sizes::Configured));
        }
        told = Told::by_authors(&value);
    } else if let Some(text) = file.metadata().get(CONFIG_TEXT) {
        let config = WanConfig::from_json(text).map_err(|error| error.in_file(path))?;
        return Ok((config, Sizes::Configured));
    }
    let config = infer::config(shapes, told).map_err(|error| error.in_file(path))?;
    Ok((config, Sizes::Inferred))
}
