//! One checkpoint: a method's state as a folder, bit for bit.

use std::collections::BTreeMap;
use std::path::Path;

use flg_engine::files::{manifest, read_json, write_json};
use flg_engine::safetensors::{self, SafeTensors, WEIGHTS};
use flg_engine::{ParamStore, Tensor};
use flg_model::checkpoint::{Parts, TRANSFORMER, save_network};
use serde::{Deserialize, Serialize};

use super::Error;
use crate::Result;
use crate::method::{Method, NetworkRef};

const STATE: &str = "state.json";
const OPTIMIZER: &str = "optimizer.safetensors";
/// Version of the layout.
const VERSION: u32 = 1;

/// How far a run got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Steps done.
    pub step: u64,
    /// Bytes of `metrics.jsonl` then.
    pub metrics_bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    version: u32,
    method: String,
    position: Position,
    record: serde_json::Value,
}

/// Writes a method's state into the empty folder `dir`; the manifest, last, says that it is complete.
///
/// # Errors
/// [`Error::BadWeights`]: what is not finite is not worth keeping. The system's refusals.
pub(super) fn write(dir: &Path, method: &dyn Method, position: Position) -> Result<()> {
    let state = method.state();
    for network in &state.networks {
        require_finite(network.name, network.weights, position.step)?;
        write_network(dir, network)?;
    }
    for (table, values) in &state.moments {
        require_finite(table, values, position.step)?;
    }
    let named = |(table, values): &(&'static str, &'_ ParamStore)| {
        let table = *table;
        values.iter().map(|(_, name, value)| (format!("{table}:{name}"), value.clone())).collect::<Vec<_>>()
    };
    let moments: Vec<(String, Tensor)> = state.moments.iter().flat_map(named).collect();
    let entries = moments.iter().map(|(name, value)| (name.as_str(), value));
    safetensors::write(dir.join(OPTIMIZER), entries, &BTreeMap::new())?;
    let file = StateFile { version: VERSION, method: method.name().to_owned(), position, record: state.record };
    write_json(dir.join(STATE), &file)?;
    Ok(manifest::write(dir)?)
}

/// The network that is trained makes the folder a checkpoint that other commands, and diffusers, can read.
fn write_network(dir: &Path, network: &NetworkRef<'_>) -> Result<()> {
    let NetworkRef { name, config, weights, few_step } = *network;
    if name == TRANSFORMER {
        let parts = Parts { config, weights, shift: None, few_step, provenance: None, expert: None };
        return Ok(flg_model::checkpoint::save(dir, &parts)?);
    }
    Ok(save_network(dir.join(name), config, weights)?)
}

/// Fills a method with the checkpoint in `dir`, all of which is verified against its manifest first.
///
/// # Errors
/// A checkpoint that is incomplete, damaged, of another method, or of other networks.
pub(super) fn read(dir: &Path, method: &mut dyn Method) -> Result<Position> {
    manifest::verify(dir)?;
    let file: StateFile = read_json(dir.join(STATE))?;
    if file.version != VERSION {
        let name = format!("version {}", file.version);
        return Err(Error::Contents { path: dir.to_owned(), what: "unknown", name }.into());
    }
    if file.method != method.name() {
        let (expected, got) = (method.name().to_owned(), file.method);
        return Err(Error::OtherStage { path: dir.to_owned(), expected, got }.into());
    }
    let state = method.state_mut();
    for (name, weights) in state.networks {
        let source = SafeTensors::open(dir.join(name).join(WEIGHTS))?;
        let stored: Vec<String> = source.names().map(str::to_owned).collect();
        fill(dir, &source, &stored, "", weights)?;
    }
    let source = SafeTensors::open(dir.join(OPTIMIZER))?;
    let mut known = Vec::new();
    for (table, values) in state.moments {
        let prefix = format!("{table}:");
        let stored: Vec<String> = source.names().filter_map(|n| n.strip_prefix(&prefix)).map(str::to_owned).collect();
        fill(dir, &source, &stored, &prefix, values)?;
        known.push(prefix);
    }
    if let Some(name) = source.names().find(|name| !known.iter().any(|prefix| name.starts_with(prefix))) {
        return Err(Error::Contents { path: dir.to_owned(), what: "unknown table of", name: name.to_owned() }.into());
    }
    *state.record = file.record;
    method.restored()?;
    Ok(file.position)
}

/// Fills a table with exactly the `stored` tensors, whose names in the file begin with `prefix`.
fn fill(dir: &Path, source: &SafeTensors, stored: &[String], prefix: &str, into: &mut ParamStore) -> Result<()> {
    if let Some(name) = stored.iter().find(|name| into.id(name).is_err()) {
        let name = format!("{prefix}{name}");
        return Err(Error::Contents { path: dir.to_owned(), what: "unknown tensor", name }.into());
    }
    let device = into.device().clone();
    let wanted: Vec<_> = into.iter().map(|(id, name, _)| (id, format!("{prefix}{name}"))).collect();
    for (id, name) in wanted {
        if source.info(&name).is_none() {
            return Err(Error::Contents { path: dir.to_owned(), what: "no tensor", name }.into());
        }
        let (value, old) = (source.tensor(&name, &device)?, into.get(id));
        if (value.dtype(), value.shape()) != (old.dtype(), old.shape()) {
            let show = |tensor: &Tensor| format!("{} {}", tensor.dtype(), tensor.shape());
            let (expected, got) = (show(old), show(&value));
            return Err(Error::Tensor { path: dir.to_owned(), name, expected, got }.into());
        }
        *into.get_mut(id) = value;
    }
    Ok(())
}

fn require_finite(network: &str, weights: &ParamStore, step: u64) -> Result<()> {
    for (_, tensor, value) in weights.iter() {
        let finite = match value.as_f32() {
            Ok(values) => values.iter().all(|v| v.is_finite()),
            Err(_) => value.values()?.iter().all(|v| v.is_finite()),
        };
        if !finite {
            return Err(Error::BadWeights { step, network: network.to_owned(), tensor: tensor.to_owned() }.into());
        }
    }
    Ok(())
}
