//! Checkpoints: folders as diffusers lays them out.
//!
//! ```text
//! model_index.json                          names the parts; written last, so that a folder with one is complete
//! transformer/config.json                   sizes
//! transformer/diffusion_pytorch_model.safetensors
//! scheduler/scheduler_config.json           the shift to sample with
//! scheduler/flg_few_step.json               of a distilled network: the only schedule that it is right for
//! flg_provenance.json                       of a pruned network: the blocks that it has left
//! ```
//!
//! diffusers ignores the two files that it does not know, and loads the rest.

mod provenance;
mod scheduler;

use std::fs;
use std::path::{Path, PathBuf};

use flg_engine::files::{read_json, sync_folder, write_atomic, write_json};
use flg_engine::safetensors::{self, SafeTensors, WEIGHTS};
use flg_engine::{Device, FileError, ParamStore, Tensor};
use serde_json::json;

pub use provenance::Provenance;

use crate::config::{CLASS, DIFFUSERS_VERSION, WanConfig};
use crate::schedule::FewStep;
use crate::{Error, Result, Wan};

/// The file that lists a checkpoint's parts.
pub const INDEX: &str = "model_index.json";
/// The folder of the network.
pub const TRANSFORMER: &str = "transformer";
/// The file of a network's sizes.
pub const CONFIG: &str = "config.json";
/// The file of a distilled network's schedule.
pub const FEW_STEP: &str = "scheduler/flg_few_step.json";
/// The file that says which blocks of which network a pruned one has.
pub const PROVENANCE: &str = "flg_provenance.json";

/// A network with its weights, and what belongs to it.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The architecture.
    pub wan: Wan,
    /// Its weights, f32.
    pub weights: ParamStore,
    /// The shift to sample with, where the checkpoint says.
    pub shift: Option<f32>,
    /// The schedule of a distilled network.
    pub few_step: Option<FewStep>,
    /// Where a pruned network comes from.
    pub provenance: Option<Provenance>,
}

/// The parts of a checkpoint, to be saved.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Sizes.
    pub config: &'a WanConfig,
    /// Weights.
    pub weights: &'a ParamStore,
    /// The shift to sample with.
    pub shift: Option<f32>,
    /// The schedule of a distilled network.
    pub few_step: Option<&'a FewStep>,
    /// Where a pruned network comes from.
    pub provenance: Option<&'a Provenance>,
}

impl Checkpoint {
    /// Reads a checkpoint, given its folder or that of its transformer (which may stand alone). On a dry device weights are
    /// not read.
    ///
    /// # Errors
    /// A folder that is no complete checkpoint; a configuration that is not supported; [`Error::Parameters`] with every
    /// missing, extra and misshapen tensor; a schedule that cannot be. Errors name the file.
    pub fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Checkpoint> {
        let Found { root, transformer } = Found::at(folder.as_ref())?;
        let (wan, weights) = load_network(&transformer, device)?;
        let in_root = |name: &str| root.as_ref().map(|root| root.join(name)).filter(|path| path.exists());
        let few_step = in_root(FEW_STEP).map(|path| read_few_step(&path)).transpose()?;
        let provenance = in_root(PROVENANCE).map(|path| Provenance::read(&path, wan.config())).transpose()?;
        let shift = in_root(scheduler::CONFIG).map(|path| scheduler::read_shift(&path)).transpose()?.flatten();
        Ok(Checkpoint { wan, weights, shift, few_step, provenance })
    }

    /// The same, ready to run many times before its weights change: see [`ParamStore::prepack`].
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn for_sampling(mut self) -> Result<Checkpoint> {
        self.weights.prepack()?;
        Ok(self)
    }

    /// Writes this checkpoint into a folder.
    ///
    /// # Errors
    /// As [`save`].
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let (few_step, provenance) = (self.few_step.as_ref(), self.provenance.as_ref());
        let (config, weights) = (self.wan.config(), &self.weights);
        save(folder, &Parts { config, weights, shift: self.shift, few_step, provenance })
    }
}

/// Writes a checkpoint into a folder, which is made if need be; other files in it stay.
///
/// Crash-safe: each file is replaced as a whole, and a checkpoint that was there before loses its index first, so that a
/// folder with an index never holds parts of two checkpoints.
///
/// # Errors
/// What the system refuses.
pub fn save(folder: impl AsRef<Path>, parts: &Parts<'_>) -> Result<()> {
    let root = folder.as_ref();
    make_folder(root)?;
    remove(&root.join(INDEX))?;
    save_network(root.join(TRANSFORMER), parts.config, parts.weights)?;
    make_folder(&root.join("scheduler"))?;
    replace(&root.join(FEW_STEP), parts.few_step, |path, few_step| Ok(write_json(path, few_step)?))?;
    replace(&root.join(PROVENANCE), parts.provenance, |path, provenance| Ok(write_json(path, provenance)?))?;
    let shift = parts.shift.or(parts.few_step.map(|few_step| few_step.shift));
    replace(&root.join(scheduler::CONFIG), shift, scheduler::write)?;
    let mut index = json!({
        "_class_name": "WanPipeline",
        "_diffusers_version": DIFFUSERS_VERSION,
        TRANSFORMER: ["diffusers", CLASS],
    });
    if shift.is_some() {
        index["scheduler"] = json!(["diffusers", scheduler::CLASS]);
    }
    Ok(write_json(root.join(INDEX), &index)?)
}

/// Writes a network alone: sizes and weights, as the folder `transformer` of a checkpoint holds them.
///
/// # Errors
/// What the system refuses.
pub fn save_network(folder: impl AsRef<Path>, config: &WanConfig, weights: &ParamStore) -> Result<()> {
    let folder = folder.as_ref();
    make_folder(folder)?;
    let entries = weights.iter().map(|(_, name, value)| (name, value));
    // PyTorch's loaders ask for the format.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::write(folder.join(WEIGHTS), entries, &metadata)?;
    let text = config.to_json();
    Ok(write_atomic(folder.join(CONFIG), |file| file.write_all(text.as_bytes()))?)
}

/// Reads a network alone, from a folder that holds its sizes and weights (one file or shards); f32 whatever is stored.
///
/// # Errors
/// As [`Checkpoint::load`].
pub fn load_network(folder: impl AsRef<Path>, device: &Device) -> Result<(Wan, ParamStore)> {
    let folder = folder.as_ref();
    let path = folder.join(CONFIG);
    let config = WanConfig::from_value(read_json(&path)?).map_err(|error| error.in_file(path))?;
    let file = SafeTensors::open_folder(folder)?;
    let found = file.names().filter_map(|name| Some((name, file.info(name)?.shape)));
    let mismatch = config.mismatch(found);
    if !mismatch.is_empty() {
        return Err(Error::Parameters(mismatch).in_file(folder));
    }
    let mut weights = ParamStore::new(device);
    for parameter in config.parameters() {
        let value = match device.is_dry() {
            true => Tensor::from_fn(device, parameter.shape, || 0.0)?,
            false => file.tensor_f32(&parameter.name, device)?,
        };
        weights.insert(parameter.name, value)?;
    }
    Ok((Wan::bind(config, &weights)?, weights))
}

/// Where the parts of a checkpoint are.
struct Found {
    /// The checkpoint's folder, unless the transformer stands alone.
    root: Option<PathBuf>,
    transformer: PathBuf,
}

impl Found {
    fn at(folder: &Path) -> Result<Found> {
        let refuse = |reason| Err(Error::NoCheckpoint { path: folder.to_owned(), reason });
        let transformer = folder.join(TRANSFORMER);
        if transformer.is_dir() {
            return match folder.join(INDEX).is_file() {
                true => Ok(Found { root: Some(folder.to_owned()), transformer }),
                false => refuse("no model_index.json: the checkpoint was not written to its end"),
            };
        }
        if !folder.join(CONFIG).is_file() {
            return refuse(if folder.is_dir() { "holds neither transformer/ nor config.json" } else { "is no folder" });
        }
        // The transformer of a checkpoint keeps the schedule that it was distilled for.
        let parent = folder.file_name().filter(|&name| name == TRANSFORMER).and_then(|_| folder.parent());
        let root = parent.filter(|parent| parent.join(INDEX).is_file()).map(Path::to_owned);
        Ok(Found { root, transformer: folder.to_owned() })
    }
}

fn read_few_step(path: &Path) -> Result<FewStep> {
    let few_step: FewStep = read_json(path)?;
    few_step.validate().map_err(|error| error.in_file(path))?;
    Ok(few_step)
}

/// Writes a part that there is; removes the file of one that there is not.
fn replace<T>(path: &Path, part: Option<T>, write: impl FnOnce(&Path, T) -> Result<()>) -> Result<()> {
    match part {
        Some(part) => write(path, part),
        None => remove(path),
    }
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|cause| failed("make folder", path, cause))
}

/// Removes a file that may not be there, for good.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), |folder| Ok(sync_folder(folder)?)),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(failed("remove", path, cause)),
    }
}

fn failed(action: &'static str, path: &Path, cause: std::io::Error) -> Error {
    let error: flg_engine::Error = FileError::Io { action, path: path.to_owned(), cause }.into();
    error.into()
}
