//! From one layout and element type to another, tensor by tensor: memory does not grow with the network.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use flg_engine::files::{write_atomic, write_json};
use flg_engine::safetensors::Info;

use super::extras::Extras;
use super::network::{Form, Outline};
use super::{
    FEW_STEP, Found, Layout, PROVENANCE, PipelineIndex, Sizes, StoredNetwork, TRANSFORMER, TRANSFORMER_2, failed,
    make_folder, scheduler,
};
use crate::config::CLASS;
use crate::{Error, Result, WanConfig};

/// What to make of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    /// Into which names.
    pub layout: Layout,
    /// Into which type, and shards of which size.
    pub form: Form,
}

/// What was converted.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// The layout that was found.
    pub from: Layout,
    /// The sizes of each network.
    pub config: WanConfig,
    /// Where they come from.
    pub sizes: Sizes,
    /// Networks: two for a pair of experts.
    pub networks: usize,
    /// Tensors of all networks.
    pub tensors: usize,
    /// Bytes of elements that were written.
    pub bytes: u64,
}

/// Converts a checkpoint's folder, a network's folder or a single file. diffusers' layout becomes a checkpoint's folder,
/// with whatever else the source's index names copied as it is; the others become one file. `each` hears of every tensor:
/// bytes written so far, and in all.
///
/// Nothing is left half done: files appear whole, and a folder's index last.
///
/// # Errors
/// As [`StoredNetwork::open`]; weights that are not finite or too large for the type; two experts for one file; a target
/// inside the source, of the wrong kind, or a folder that is not empty; what the system refuses.
pub fn convert(
    source: impl AsRef<Path>,
    target: impl AsRef<Path>,
    conversion: Conversion,
    each: &mut dyn FnMut(u64, u64),
) -> Result<Converted> {
    let (source, target) = (source.as_ref(), target.as_ref());
    let found = Found::at(source)?;
    refuse_nested(source, target)?;
    let mut networks = open_all(&found)?;
    let first = &networks[0].1;
    let extras = found.extras(first)?;
    let Conversion { layout, form } = conversion;
    let outline = |network: &StoredNetwork| -> Vec<(String, Info)> {
        let info =
            |name: &str| network.info(name).map(|now| Info { dtype: form.dtype_of(name, Some(now.dtype)), ..now });
        network.config().parameters().into_iter().filter_map(|p| Some((p.name.clone(), info(&p.name)?))).collect()
    };
    let outlines: Vec<_> = networks.iter().map(|(_, network)| outline(network)).collect();
    let total: u64 = outlines.iter().flatten().map(|(_, info)| info.bytes() as u64).sum();
    let tensors = outlines.iter().map(Vec::len).sum();
    if layout != Layout::Diffusers {
        let wrong = |reason| Err(Error::Conversion { path: target.to_owned(), reason });
        if networks.len() > 1 {
            return wrong("two experts do not go into one file: name the folder of one as the source");
        }
        if target.is_dir() {
            return wrong("this layout is one file, and a folder of that name is there");
        }
    } else if target.exists() && !entries(target)?.is_empty() {
        // Parts of another checkpoint would pass for this one's.
        let reason = "the folder is not empty";
        return Err(Error::Conversion { path: target.to_owned(), reason });
    } else {
        make_folder(target)?;
    }
    let (from, config, sizes) = (first.layout(), first.config().clone(), first.sizes());
    let mut done = 0;
    for ((name, network), tensors) in networks.iter_mut().zip(outlines) {
        let config = network.config().clone();
        let text = if layout == Layout::Diffusers { BTreeMap::new() } else { extras.texts() };
        let outline = Outline { config: &config, layout, tensors, shard: form.shard, text };
        let path = if layout == Layout::Diffusers { target.join(name) } else { target.to_owned() };
        outline.write(&path, &mut |name, elements| {
            network.copy(name, elements)?;
            done += elements.info().bytes() as u64;
            each(done, total);
            Ok(())
        })?;
    }
    if layout == Layout::Diffusers {
        write_rest(&found, target, &extras, &config)?;
    }
    Ok(Converted { from, config, sizes, networks: networks.len(), tensors, bytes: total })
}

/// The networks of a checkpoint, by the folders that they go into.
fn open_all(found: &Found) -> Result<Vec<(&'static str, StoredNetwork)>> {
    let mut networks = vec![(TRANSFORMER, StoredNetwork::open(&found.transformer)?)];
    if found.whole
        && let Some(second) = found.root.as_ref().map(|root| root.join(TRANSFORMER_2)).filter(|path| path.is_dir())
    {
        networks.push((TRANSFORMER_2, StoredNetwork::open(second)?));
    }
    Ok(networks)
}

/// A target in the source would change it while it is read, and the other way round.
fn refuse_nested(source: &Path, target: &Path) -> Result<()> {
    let real = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    let (Ok(from), Ok(to)) = (real(source), real(target)) else { return Ok(()) };
    // A new target is not there yet: its folder is.
    let to = match (to.exists(), to.parent().and_then(|parent| fs::canonicalize(parent).ok()), to.file_name()) {
        (false, Some(parent), Some(name)) => parent.join(name),
        _ => to,
    };
    if to.starts_with(&from) || from.starts_with(&to) {
        let reason = "the target must not lie in the source, nor the source in the target";
        return Err(Error::Conversion { path: target.to_owned(), reason });
    }
    Ok(())
}

/// Everything of a checkpoint's folder but its networks; the index last.
fn write_rest(found: &Found, target: &Path, extras: &Extras, config: &WanConfig) -> Result<()> {
    if let Some(root) = found.root.as_ref().filter(|_| found.whole) {
        let index = PipelineIndex::read(root)?;
        let folders = index.parts.keys().filter(|name| ![TRANSFORMER, TRANSFORMER_2].contains(&name.as_str()));
        for folder in folders.filter(|name| root.join(name).is_dir()) {
            copy_folder(&root.join(folder), &target.join(folder), 3)?;
        }
        copy_notes(root, target)?;
        for expert in [TRANSFORMER, TRANSFORMER_2].into_iter().filter(|name| root.join(name).is_dir()) {
            copy_notes(&root.join(expert), &target.join(expert))?;
        }
        return index.write(target);
    }
    make_folder(&target.join("scheduler"))?;
    let class = if config.in_channels > config.out_channels { "WanImageToVideoPipeline" } else { "WanPipeline" };
    let mut index = PipelineIndex::new(class).with_part(TRANSFORMER, "diffusers", CLASS);
    if let Some(few_step) = &extras.few_step {
        write_json(target.join(FEW_STEP), few_step)?;
    }
    if let Some(provenance) = &extras.provenance {
        write_json(target.join(PROVENANCE), provenance)?;
    }
    if let Some(shift) = extras.shift {
        scheduler::write(&target.join(scheduler::CONFIG), shift, extras.few_step.as_ref())?;
        index = index.with_part("scheduler", "diffusers", scheduler::CLASS);
    }
    index.write(target)
}

/// Copies our own notes beside the index: provenance, data card.
fn copy_notes(root: &Path, target: &Path) -> Result<()> {
    for path in entries(root)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.starts_with("flg_") && name.ends_with(".json") && path.is_file() {
            copy_file(&path, &target.join(name))?;
        }
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path, depth: usize) -> Result<()> {
    make_folder(to)?;
    for path in entries(from)? {
        let Some(name) = path.file_name() else { continue };
        if path.is_file() {
            copy_file(&path, &to.join(name))?;
        } else if path.is_dir() && depth > 0 {
            copy_folder(&path, &to.join(name), depth - 1)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let mut file = File::open(from).map_err(|cause| failed("open", from, cause))?;
    Ok(write_atomic(to, |writer| io::copy(&mut file, writer).map(drop))?)
}

/// What a folder holds, sorted.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = |cause| failed("list", folder, cause);
    let entries: io::Result<Vec<_>> = fs::read_dir(folder).map_err(list)?.map(|entry| Ok(entry?.path())).collect();
    let mut entries = entries.map_err(|cause| failed("list", folder, cause))?;
    entries.sort();
    Ok(entries)
}
