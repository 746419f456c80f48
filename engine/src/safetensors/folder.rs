//! The weights of a folder as diffusers lays them out: one file, or an index and its shards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::reader::Mapped;
use super::{Fault, MAX_NAME, SafeTensors};
use crate::Result;
use crate::files::json::Pairs;
use crate::files::{FileError, read_json};

/// The one file of a model that is not sharded, as diffusers names it.
pub const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

/// The same as transformers names it: text and image encoders.
pub const ENCODER_WEIGHTS: &str = "model.safetensors";

/// What the name of a sharded model's index ends with.
pub const INDEX_SUFFIX: &str = ".safetensors.index.json";

/// An index. Its `metadata` (a total size that some tools get wrong) is not needed: each shard is checked by itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    #[serde(rename = "metadata", default)]
    _metadata: IgnoredAny,
    /// The shard of each tensor.
    weight_map: Pairs<String>,
}

impl SafeTensors {
    /// Opens the weights in a folder: `diffusion_pytorch_model.safetensors`, `model.safetensors`, or the shards of its only
    /// `*.safetensors.index.json`. Index and shards must agree on every tensor.
    ///
    /// # Errors
    /// No weights, or more than one set of them; what [`SafeTensors::open`] refuses; shards that are missing, lie outside
    /// the folder, or hold other tensors than the index says.
    pub fn open_folder(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let mut candidates = candidates(folder)?;
        match (candidates.pop(), candidates.is_empty()) {
            (None, _) => Err(FileError::NoWeights { path: folder.to_owned() }.into()),
            (Some(name), true) if is_whole(&name) => SafeTensors::open(folder.join(name)),
            (Some(name), true) => open_shards(folder, &folder.join(name)),
            (Some(name), false) => {
                candidates.push(name);
                Err(FileError::AmbiguousWeights { path: folder.to_owned(), candidates }.into())
            }
        }
    }
}

fn is_whole(name: &str) -> bool {
    name == WEIGHTS || name == ENCODER_WEIGHTS
}

/// Names of files that could be a folder's weights, sorted.
pub(super) fn candidates(folder: &Path) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(FileError::io("list", folder))? {
        let name = entry.map_err(FileError::io("list", folder))?.file_name();
        // A name that is not Unicode is none of them.
        let Ok(name) = name.into_string() else { continue };
        if is_whole(&name) || name.ends_with(INDEX_SUFFIX) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn open_shards(folder: &Path, index: &Path) -> Result<SafeTensors> {
    let faulty = |fault| FileError::SafeTensors { path: index.to_owned(), fault };
    let Index { weight_map, .. } = read_json(index)?;
    let duplicate = |name| FileError::DuplicateMember { path: index.to_owned(), name };
    let mut wanted = weight_map.into_map().map_err(duplicate)?;
    let shards: BTreeSet<String> = wanted.values().cloned().collect();
    let mut opened = SafeTensors { files: Vec::new(), tensors: BTreeMap::new(), metadata: BTreeMap::new() };
    for shard in shards {
        let (file, header) = Mapped::open(&shard_path(folder, &shard).map_err(faulty)?)?;
        for (name, located) in header.tensors {
            if wanted.get(&name) != Some(&shard) {
                return Err(faulty(Fault::NotInIndex { name, shard }).into());
            }
            wanted.remove(&name);
            opened.tensors.insert(name, (opened.files.len(), located));
        }
        if opened.files.is_empty() {
            opened.metadata = header.metadata;
        }
        opened.files.push(file);
    }
    match wanted.pop_first() {
        Some((name, shard)) => Err(faulty(Fault::NotInShard { name, shard }).into()),
        None if opened.files.is_empty() => Err(FileError::NoWeights { path: folder.to_owned() }.into()),
        None => Ok(opened),
    }
}

/// Where a shard lies: an index may only name files beside itself.
fn shard_path(folder: &Path, shard: &str) -> Result<PathBuf, Fault> {
    let stem = shard.strip_suffix(".safetensors").unwrap_or("");
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let bare = !stem.is_empty() && !stem.starts_with('.') && shard.len() <= MAX_NAME && stem.bytes().all(allowed);
    if bare { Ok(folder.join(shard)) } else { Err(Fault::ShardName { shard: shard.to_owned() }) }
}
