//! Where a pruned network comes from.

use std::path::Path;

use flg_engine::files::read_json;
use serde::{Deserialize, Serialize};

use super::StoredNetwork;
use super::extras::Extras;
use crate::{BlockMask, Error, Result, WanConfig};

/// Which blocks of which network a pruned one has. Kept out of its `config.json`, which other tools read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Blocks of the network that was pruned first.
    pub parent_layers: usize,
    /// For every block, its number in that network; ascending.
    pub kept_indices: Vec<usize>,
    /// What the maker has to say: commands, seeds, hashes.
    #[serde(default)]
    pub notes: serde_json::Map<String, serde_json::Value>,
}

impl Provenance {
    /// Of the network that `mask` leaves of another.
    pub fn of(mask: &BlockMask) -> Self {
        Provenance { parent_layers: mask.layers(), kept_indices: mask.kept(), notes: serde_json::Map::new() }
    }

    /// Of the network that `mask` leaves of this one: numbers stay those of the first.
    ///
    /// # Errors
    /// A mask for another number of blocks.
    pub fn pruned(&self, mask: &BlockMask) -> Result<Self> {
        let (got, layers) = (mask.layers(), self.kept_indices.len());
        if got != layers {
            return Err(Error::BlockMask { got, layers });
        }
        let kept_indices = mask.kept().into_iter().map(|i| self.kept_indices[i]).collect();
        Ok(Provenance { kept_indices, ..self.clone() })
    }

    /// Reads it from a checkpoint's folder.
    ///
    /// # Errors
    /// A file that is not there, or is about another network than one of these sizes.
    pub fn read(path: &Path, config: &WanConfig) -> Result<Self> {
        let provenance: Provenance = read_json(path)?;
        provenance.check(path, config)?;
        Ok(provenance)
    }

    /// What a single file says of its own network, if it does.
    ///
    /// # Errors
    /// As [`Provenance::read`]; `path` is the file.
    pub fn in_file(network: &StoredNetwork, path: &Path) -> Result<Option<Self>> {
        Ok(Extras::in_file(network, path)?.provenance)
    }

    /// Errors unless these are the blocks of a network of that size.
    pub(super) fn check(&self, path: &Path, config: &WanConfig) -> Result<()> {
        let Provenance { parent_layers, kept_indices, .. } = self;
        let ascending = kept_indices.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = kept_indices.iter().all(|index| index < parent_layers);
        let too_many = *parent_layers > crate::config::MAX_LAYERS;
        if kept_indices.len() != config.num_layers || !ascending || !inside || too_many {
            let reason = "kept_indices are not this network's blocks";
            return Err(Error::NoCheckpoint { path: path.to_owned(), reason });
        }
        Ok(())
    }

    /// The blocks of the network that was pruned first which this one has no more.
    pub fn removed(&self) -> Vec<usize> {
        (0..self.parent_layers).filter(|index| !self.kept_indices.contains(index)).collect()
    }
}
