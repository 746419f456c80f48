//! What belongs to a network beside its weights: files in a checkpoint's folder, text inside a single file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flg_engine::files::read_json;
use serde::de::DeserializeOwned;

use super::{EXPERT_FEW_STEP, FEW_STEP, PROVENANCE, Provenance, StoredNetwork, scheduler};
use crate::schedule::FewStep;
use crate::{Error, Result, WanConfig};

/// Texts of a single file.
const FEW_STEP_TEXT: &str = "flg_few_step";
const PROVENANCE_TEXT: &str = "flg_provenance";
const SHIFT_TEXT: &str = "flg_shift";

/// How to sample, and where a pruned network comes from; each where it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Extras {
    pub shift: Option<f32>,
    pub few_step: Option<FewStep>,
    pub provenance: Option<Provenance>,
}

impl Extras {
    /// Of a checkpoint's folder and, in it, that of a network: one of a pair of experts has notes of its own.
    pub(super) fn in_folder(root: &Path, network: &Path, config: &WanConfig) -> Result<Self> {
        let there = |path: PathBuf| Some(path).filter(|path| path.exists());
        let either = |own: &str, shared: &str| there(network.join(own)).or_else(|| there(root.join(shared)));
        let few_step = either(EXPERT_FEW_STEP, FEW_STEP);
        let few_step = few_step.map(|path| checked_few_step(read_json(&path)?, &path)).transpose()?;
        let provenance = either(PROVENANCE, PROVENANCE);
        let provenance = provenance.map(|path| Provenance::read(&path, config)).transpose()?;
        let shift = there(root.join(scheduler::CONFIG)).map(|path| scheduler::read_shift(&path)).transpose()?.flatten();
        Ok(Extras { shift, few_step, provenance })
    }

    /// Of a single file.
    pub(super) fn in_file(network: &StoredNetwork, path: &Path) -> Result<Self> {
        let texts = network.metadata();
        let few_step = parsed(texts, FEW_STEP_TEXT, path)?.map(|few_step| checked_few_step(few_step, path));
        let provenance: Option<Provenance> = parsed(texts, PROVENANCE_TEXT, path)?;
        if let Some(provenance) = &provenance {
            provenance.check(path, network.config())?;
        }
        Ok(Extras { shift: parsed(texts, SHIFT_TEXT, path)?, few_step: few_step.transpose()?, provenance })
    }

    /// The same as text for a single file.
    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        // Plain structs of numbers and strings have no way to fail.
        let text = |value: serde_json::Result<String>| value.unwrap_or_default();
        let few_step = self.few_step.as_ref().map(|few_step| (FEW_STEP_TEXT, text(serde_json::to_string(few_step))));
        let provenance = self.provenance.as_ref().map(|p| (PROVENANCE_TEXT, text(serde_json::to_string(p))));
        let shift = self.shift.map(|shift| (SHIFT_TEXT, shift.to_string()));
        [few_step, provenance, shift].into_iter().flatten().map(|(name, text)| (name.to_owned(), text)).collect()
    }
}

fn parsed<T: DeserializeOwned>(texts: &BTreeMap<String, String>, name: &str, path: &Path) -> Result<Option<T>> {
    let parsed = texts.get(name).map(|text| serde_json::from_str(text)).transpose();
    parsed.map_err(|source| Error::ConfigSyntax { source }.in_file(path))
}

fn checked_few_step(few_step: FewStep, path: &Path) -> Result<FewStep> {
    few_step.validate().map_err(|error| error.in_file(path))?;
    Ok(few_step)
}
