//! What a stage leaves behind for the next one, and for others: checkpoints with their data card, the other parts of a
//! pipeline ([`parts`]) and a model card ([`readme`]).

pub mod parts;
pub mod readme;

use std::fs;
use std::path::{Path, PathBuf};

use flg_engine::ParamStore;
use flg_engine::files::{read_json, write_json};
use flg_model::checkpoint::{self, Parts, Provenance};
use flg_model::{BlockMask, FewStep, Wan, extract};
use serde::{Deserialize, Serialize};

pub use parts::{Pipeline, WithParts};
pub use readme::{About, README};

use crate::Result;
use crate::audit::Audit;
use crate::data::CardRef;
use crate::methods::prune::Choice;
use crate::run::Error as RunError;

/// The file that says which blocks a Stage II network can do without.
pub const CHOICE: &str = "flg_prune.json";

/// The file with what each block of the network was worth, before any was removed.
pub const AUDIT: &str = "flg_audit.json";

/// A network that a stage made.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// The architecture.
    pub wan: &'a Wan,
    /// Its weights.
    pub weights: &'a ParamStore,
    /// What it knows of its data.
    pub card: CardRef<'a>,
    /// The shift to sample with, unless it was distilled.
    pub shift: Option<f32>,
    /// The schedule that it was distilled for.
    pub few_step: Option<&'a FewStep>,
    /// Where it comes from, if it was pruned.
    pub provenance: Option<&'a Provenance>,
    /// Its name, where it is one of a pair of experts.
    pub expert: Option<&'static str>,
}

impl Made<'_> {
    /// Writes the network as a checkpoint into `folder`.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let Made { wan, weights, card, shift, few_step, provenance, expert } = *self;
        // The index, which says that a checkpoint is complete, comes last.
        fs::create_dir_all(folder).map_err(RunError::io("make", folder))?;
        card.write(folder)?;
        let parts = Parts { config: wan.config(), weights, shift, few_step, provenance, expert };
        Ok(checkpoint::save(folder, &parts)?)
    }

    /// Writes the part of the network that `mask` keeps, as a smaller network, into `folder`.
    ///
    /// # Errors
    /// A mask of another network; the system's refusals.
    pub fn save_pruned(&self, mask: &BlockMask, folder: &Path) -> Result<()> {
        let (config, weights) = extract(self.wan.config(), self.weights, mask)?;
        let wan = Wan::bind(config, &weights)?;
        let provenance = lineage(self.provenance, mask)?;
        Made { wan: &wan, weights: &weights, provenance: Some(&provenance), ..*self }.save(folder)
    }
}

/// Where notes of a network are, in a checkpoint's folder: beside it, or with one of a pair of experts in its own.
pub fn notes(folder: &Path, expert: Option<&str>) -> PathBuf {
    expert.map_or_else(|| folder.to_owned(), |expert| folder.join(expert))
}

/// The provenance of the part that `mask` keeps of a network with this provenance.
///
/// # Errors
/// A mask of another network.
pub fn lineage(parent: Option<&Provenance>, mask: &BlockMask) -> Result<Provenance> {
    Ok(parent.map_or_else(|| Ok(Provenance::of(mask)), |parent| parent.pruned(mask))?)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChoiceFile {
    ranked: Vec<usize>,
    removed: Vec<usize>,
}

/// Writes the blocks that a Stage II network can do without beside its weights.
///
/// # Errors
/// The system's refusals.
pub fn write_choice(folder: &Path, choice: &Choice) -> Result<()> {
    let Choice { ranked, removed } = choice.clone();
    Ok(write_json(folder.join(CHOICE), &ChoiceFile { ranked, removed })?)
}

/// Reads what [`write_choice`] wrote; none if the network is not one of Stage II.
///
/// # Errors
/// A file that says something else.
pub fn read_choice(folder: &Path) -> Result<Option<Choice>> {
    let path = folder.join(CHOICE);
    if !path.exists() {
        return Ok(None);
    }
    let ChoiceFile { ranked, removed } = read_json(path)?;
    Ok(Some(Choice { ranked, removed }))
}

/// Writes what the blocks of the first network were worth beside the weights of one that was made from it.
///
/// # Errors
/// The system's refusals.
pub fn write_audit(folder: &Path, audit: &Audit) -> Result<()> {
    Ok(write_json(folder.join(AUDIT), audit)?)
}

/// Reads what [`write_audit`] wrote, if it was written.
///
/// # Errors
/// A file that is no audit.
pub fn read_audit(folder: &Path) -> Result<Option<Audit>> {
    let path = folder.join(AUDIT);
    if path.is_file() { Ok(Some(read_json(path)?)) } else { Ok(None) }
}
