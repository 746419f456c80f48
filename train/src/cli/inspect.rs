//! `flg inspect`: what files hold, from headers alone. Safe on files that nobody vouches for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flg_engine::files::{manifest, read_json};
use flg_engine::safetensors::SafeTensors;
use serde::Serialize;
use serde_json::Value;

use super::exit::BadInput;
use super::session::Session;

/// `flg inspect`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A safetensors file, the folder of a network, a checkpoint, or a run
    path: PathBuf,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    /// Also read everything and compare it with the manifest
    #[arg(long)]
    verify: bool,
}

/// What was found at a path.
#[derive(Serialize)]
struct Report {
    path: PathBuf,
    /// JSON files by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, Value>,
    /// Safetensors files and folders of them, by path below `path`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    weights: BTreeMap<String, Weights>,
    /// Whether the manifest's hashes were compared.
    verified: bool,
}

/// What headers say of some tensors.
#[derive(Serialize)]
struct Weights {
    tensors: usize,
    elements: usize,
    bytes: usize,
    /// Elements by stored type.
    types: BTreeMap<&'static str, usize>,
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    list: Vec<(String, &'static str, String)>,
}

/// Files of a checkpoint or a run that are worth showing.
const SHOWN: [&str; 8] = [
    "model_index.json",
    "config.json",
    "transformer/config.json",
    "scheduler/scheduler_config.json",
    "scheduler/flg_few_step.json",
    "flg_data.json",
    "run.json",
    "env.json",
];

/// Folders of weights in a checkpoint.
const NETWORKS: [&str; 6] = ["", "transformer", "ema", "critic", "best", "target"];

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let mut report =
        Report { path: args.path.clone(), files: BTreeMap::new(), weights: BTreeMap::new(), verified: false };
    if args.path.is_dir() {
        folder(&args, &args.path, "", &mut report)?;
        for part in ["model", "checkpoints/latest"] {
            if let Some(path) = part_of_run(&args.path, part) {
                folder(&args, &path, &format!("{part}/"), &mut report)?;
            }
        }
    } else {
        let weights = weights(&SafeTensors::open(&args.path)?, args.tensors);
        report.weights.insert(".".to_owned(), weights);
    }
    if report.files.is_empty() && report.weights.is_empty() {
        let what = "holds no checkpoint, no run and no weights";
        return Err(BadInput(format!("folder `{}` {what}", args.path.display())).into());
    }
    session.result(&report, || text(&report))
}

/// A part of a run's folder, if it is one and has it.
fn part_of_run(root: &Path, part: &str) -> Option<PathBuf> {
    let path = root.join(part);
    if path.is_dir() {
        return Some(path);
    }
    let name = std::fs::read_to_string(&path).ok()?;
    let name = name.trim_end();
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    Some(path.parent()?.join(name)).filter(|path| plain && path.is_dir())
}

fn folder(args: &Args, root: &Path, prefix: &str, report: &mut Report) -> anyhow::Result<()> {
    for name in SHOWN {
        let path = root.join(name);
        if path.is_file() {
            report.files.insert(format!("{prefix}{name}"), read_json(path)?);
        }
    }
    for name in NETWORKS {
        let path = root.join(name);
        let holds = |entry: std::fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.ends_with(".safetensors.index.json") || name == flg_engine::safetensors::WEIGHTS
        };
        if path.is_dir() && path.read_dir()?.filter_map(Result::ok).any(holds) {
            let label = format!("{prefix}{}", if name.is_empty() { "." } else { name });
            report.weights.insert(label, weights(&SafeTensors::open_folder(&path)?, args.tensors));
        }
    }
    if args.verify && root.join(manifest::NAME).is_file() {
        manifest::verify(root)?;
        report.verified = true;
    }
    Ok(())
}

fn weights(file: &SafeTensors, list: bool) -> Weights {
    let mut found = Weights {
        tensors: file.names().len(),
        elements: 0,
        bytes: 0,
        types: BTreeMap::new(),
        metadata: file.metadata().clone(),
        list: Vec::new(),
    };
    for name in file.names() {
        let Some(info) = file.info(name) else { continue };
        let elements = info.shape.elements();
        found.elements += elements;
        found.bytes += elements * info.dtype.size();
        *found.types.entry(info.dtype.name()).or_default() += elements;
        if list {
            found.list.push((name.to_owned(), info.dtype.name(), info.shape.to_string()));
        }
    }
    found
}

fn text(report: &Report) -> String {
    let mut lines = vec![report.path.display().to_string()];
    for (name, weights) in &report.weights {
        let types: Vec<_> = weights.types.iter().map(|(name, n)| format!("{n} {name}")).collect();
        let Weights { tensors, elements, bytes, .. } = weights;
        lines.push(format!("{name}: {tensors} tensors, {elements} elements ({}), {bytes} bytes", types.join(", ")));
        lines.extend(weights.list.iter().map(|(name, dtype, shape)| format!("  {name} {dtype} {shape}")));
    }
    for (name, value) in &report.files {
        lines.push(format!("{name}:"));
        lines.extend(serde_json::to_string_pretty(value).unwrap_or_default().lines().map(|line| format!("  {line}")));
    }
    if report.verified {
        lines.push("all files are as the manifest says".to_owned());
    }
    lines.join("\n")
}
