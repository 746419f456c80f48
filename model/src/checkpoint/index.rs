//! `model_index.json`: the parts of a checkpoint and what its pipeline needs to know.

use std::collections::BTreeMap;
use std::path::Path;

use flg_engine::files::{read_json, write_json};
use serde_json::{Map, Value, json};

use super::INDEX;
use crate::config::DIFFUSERS_VERSION;
use crate::{Error, Result};

/// What a checkpoint's index says.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineIndex {
    /// diffusers' class, such as `WanPipeline`.
    pub class: String,
    /// Library and class of each folder; none for a part that the pipeline does without.
    pub parts: BTreeMap<String, Option<[String; 2]>>,
    /// Of a pair of experts: `transformer` is asked at noise levels of this and above, `transformer_2` below.
    pub boundary_ratio: Option<f64>,
    /// Whether times are given for each token, as Wan2.2 5B has it.
    pub expand_timesteps: bool,
}

impl PipelineIndex {
    /// An index of this class without parts.
    pub fn new(class: &str) -> Self {
        PipelineIndex { class: class.to_owned(), parts: BTreeMap::new(), boundary_ratio: None, expand_timesteps: false }
    }

    /// The same with one more part.
    pub fn with_part(mut self, folder: &str, library: &str, class: &str) -> Self {
        self.parts.insert(folder.to_owned(), Some([library.to_owned(), class.to_owned()]));
        self
    }

    /// Reads the index of a checkpoint's folder. Entries that are neither parts nor known are ignored.
    ///
    /// # Errors
    /// A file that is not there or is no object; a part whose name would lead out of the folder; a boundary beyond 0 to 1.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let path = folder.as_ref().join(INDEX);
        let entries: Map<String, Value> = read_json(&path)?;
        let refuse = |reason| Err(Error::NoCheckpoint { path: path.clone(), reason });
        let mut index = PipelineIndex::new(entries.get("_class_name").and_then(Value::as_str).unwrap_or_default());
        for (name, value) in &entries {
            let Value::Array(pair) = value else { continue };
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') || name.is_empty() {
                return refuse("a part's name is not made of letters, digits and _");
            }
            let part = match &pair[..] {
                [Value::String(library), Value::String(class)] => Some([library.clone(), class.clone()]),
                [Value::Null, Value::Null] => None,
                _ => return refuse("a part is not a library and a class"),
            };
            index.parts.insert(name.clone(), part);
        }
        index.boundary_ratio = entries.get("boundary_ratio").and_then(Value::as_f64);
        if index.boundary_ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
            return refuse("boundary_ratio is not within 0 to 1");
        }
        index.expand_timesteps = entries.get("expand_timesteps").and_then(Value::as_bool).unwrap_or_default();
        Ok(index)
    }

    /// Writes it into a checkpoint's folder: last, since a folder with an index is complete.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<()> {
        let mut entries = Map::new();
        entries.insert("_class_name".to_owned(), json!(self.class));
        entries.insert("_diffusers_version".to_owned(), json!(DIFFUSERS_VERSION));
        if self.boundary_ratio.is_some() {
            entries.insert("boundary_ratio".to_owned(), json!(self.boundary_ratio));
        }
        if self.expand_timesteps {
            entries.insert("expand_timesteps".to_owned(), json!(true));
        }
        for (name, part) in &self.parts {
            let pair = part.as_ref().map_or(json!([null, null]), |part| json!(part));
            entries.insert(name.clone(), pair);
        }
        Ok(write_json(folder.as_ref().join(INDEX), &entries)?)
    }
}
