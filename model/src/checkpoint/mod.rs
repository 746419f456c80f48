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
//! diffusers ignores the two files that it does not know, and loads the rest. A pair of experts has a `transformer_2` as
//! well; an expert that was pruned or distilled has its two files (`flg_few_step.json`, `flg_provenance.json`) in its own
//! folder, because the other may not be, or may lack other blocks. Weights may be one file or shards under an index, and a network may also be a single file with the names of the
//! authors' code or of ComfyUI ([`Layout`]): what a folder's other files say is then text in its header.

mod convert;
mod extras;
mod fresh;
mod index;
mod infer;
mod layout;
mod network;
mod provenance;
mod scheduler;
mod stored;

use std::fs;
use std::path::{Path, PathBuf};

use flg_engine::files::{sync_folder, write_json};
use flg_engine::{Device, FileError, ParamStore};

pub use convert::{Conversion, Converted, convert};
pub use fresh::{FreshPart, init, write_fresh};
pub use index::PipelineIndex;
pub use layout::Layout;
pub use network::{Form, load_network, save_network, save_network_as};
pub use provenance::Provenance;
pub use scheduler::write_unipc;
pub use stored::{Keep, Sizes, StoredNetwork};

use crate::config::{CLASS, WanConfig};
use crate::schedule::FewStep;
use crate::{Error, Result, Wan};
use extras::Extras;

/// The file that lists a checkpoint's parts.
pub const INDEX: &str = "model_index.json";
/// The folder of the network.
pub const TRANSFORMER: &str = "transformer";
/// The folder of a second expert, for low noise levels.
pub const TRANSFORMER_2: &str = "transformer_2";
/// The folder of the autoencoder.
pub const VAE: &str = "vae";
/// The file of a network's sizes.
pub const CONFIG: &str = "config.json";
/// The file of a distilled network's schedule.
pub const FEW_STEP: &str = "scheduler/flg_few_step.json";
/// The same of one expert of a pair, in its own folder.
pub const EXPERT_FEW_STEP: &str = "flg_few_step.json";
/// The file that says which blocks of which network a pruned one has.
pub const PROVENANCE: &str = "flg_provenance.json";

/// A network with its weights, and what belongs to it.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The architecture.
    pub wan: Wan,
    /// Its weights: f32, unless it was loaded to keep others.
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
    /// The folder of the network, where it is one of a pair of experts: [`TRANSFORMER`] or [`TRANSFORMER_2`].
    pub expert: Option<&'static str>,
}

impl Checkpoint {
    /// Reads a checkpoint, given its folder, that of its transformer (which may stand alone), or a single file in any
    /// [`Layout`]; weights become f32. On a dry device weights are not read.
    ///
    /// # Errors
    /// A folder that is no complete checkpoint; a configuration that is not supported; [`Error::Parameters`] with every
    /// missing, extra and misshapen tensor; weights that are not finite; a schedule that cannot be. Errors name the file.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Checkpoint> {
        Checkpoint::load_as(path, Keep::F32, device)
    }

    /// [`Checkpoint::load`] with a choice of what weights become in memory.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn load_as(path: impl AsRef<Path>, keep: Keep, device: &Device) -> Result<Checkpoint> {
        let found = Found::at(path.as_ref())?;
        let mut network = StoredNetwork::open(&found.transformer)?;
        let Extras { shift, few_step, provenance } = found.extras(&network)?;
        let (wan, weights) = network.load(keep, device)?;
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
        save(folder, &Parts { config, weights, shift: self.shift, few_step, provenance, expert: None })
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
    let name = parts.expert.unwrap_or(TRANSFORMER);
    save_network(root.join(name), parts.config, parts.weights)?;
    make_folder(&root.join("scheduler"))?;
    let [few_step, provenance] = match parts.expert {
        None => [root.join(FEW_STEP), root.join(PROVENANCE)],
        Some(expert) => [EXPERT_FEW_STEP, PROVENANCE].map(|file| root.join(expert).join(file)),
    };
    replace(&few_step, parts.few_step, |path, few_step| Ok(write_json(path, few_step)?))?;
    replace(&provenance, parts.provenance, |path, provenance| Ok(write_json(path, provenance)?))?;
    let shift = parts.shift.or(parts.few_step.map(|few_step| few_step.shift));
    replace(&root.join(scheduler::CONFIG), shift, |path, shift| scheduler::write(path, shift, parts.few_step))?;
    let mut index = PipelineIndex::new("WanPipeline").with_part(name, "diffusers", CLASS);
    if shift.is_some() {
        index = index.with_part("scheduler", "diffusers", scheduler::CLASS);
    }
    index.write(root)
}

/// Where the parts of a checkpoint are.
struct Found {
    /// The checkpoint's folder, unless the transformer stands alone.
    root: Option<PathBuf>,
    /// Whether that folder was asked for, and not one network in it.
    whole: bool,
    /// A folder, or a single file.
    transformer: PathBuf,
}

impl Found {
    fn at(path: &Path) -> Result<Found> {
        let refuse = |reason| Err(Error::NoCheckpoint { path: path.to_owned(), reason });
        let transformer = path.join(TRANSFORMER);
        if transformer.is_dir() {
            return match path.join(INDEX).is_file() {
                true => Ok(Found { root: Some(path.to_owned()), whole: true, transformer }),
                false => refuse("no model_index.json: the checkpoint was not written to its end"),
            };
        }
        if path.is_file() {
            return Ok(Found { root: None, whole: false, transformer: path.to_owned() });
        }
        if !path.join(CONFIG).is_file() {
            return refuse(if path.is_dir() { "holds neither transformer/ nor config.json" } else { "is no folder" });
        }
        // The transformer of a checkpoint keeps the schedule that it was distilled for.
        let networks = [TRANSFORMER, TRANSFORMER_2];
        let named = path.file_name().filter(|&name| networks.iter().any(|network| name == *network));
        let root = named.and_then(|_| path.parent()).filter(|parent| parent.join(INDEX).is_file());
        Ok(Found { root: root.map(Path::to_owned), whole: false, transformer: path.to_owned() })
    }

    fn extras(&self, network: &StoredNetwork) -> Result<Extras> {
        match &self.root {
            Some(root) => Extras::in_folder(root, &self.transformer, network.config()),
            None => Extras::in_file(network, &self.transformer),
        }
    }
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
