//! `flg inspect`: what files hold, from headers alone. Safe on files that nobody vouches for.

mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use flg_engine::files::{manifest, read_json};
use flg_engine::safetensors::{INDEX_SUFFIX, SafeTensors, WEIGHTS};
use flg_model::checkpoint::CONFIG;
use serde::Serialize;
use serde_json::Value;

use super::exit::BadInput;
use super::session::Session;
use network::{Found, Network};

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
#[derive(Default, Serialize)]
struct Report {
    path: PathBuf,
    /// JSON files by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, Value>,
    /// Safetensors files and folders of them, by path below `path`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    weights: BTreeMap<String, Weights>,
    /// Video transformers among them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    networks: BTreeMap<String, Network>,
    /// What is wrong with what should be one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    problems: BTreeMap<String, String>,
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
    /// Bytes by stored type.
    type_bytes: BTreeMap<&'static str, usize>,
    /// Files that hold them.
    files: usize,
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    list: Vec<(String, &'static str, String)>,
}

/// Files of a checkpoint or a run that are worth showing.
const SHOWN: [&str; 13] = [
    "model_index.json",
    "config.json",
    "transformer/config.json",
    "transformer_2/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "image_encoder/config.json",
    "scheduler/scheduler_config.json",
    "scheduler/flg_few_step.json",
    "flg_data.json",
    "flg_provenance.json",
    "run.json",
    "env.json",
];

/// Folders of weights in a checkpoint.
const NETWORKS: [&str; 10] =
    ["", "transformer", "transformer_2", "vae", "text_encoder", "image_encoder", "ema", "critic", "best", "target"];

/// The one file of an encoder's weights, as the library transformers names it.
const ENCODER: &str = "model.safetensors";

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let mut report = Report { path: args.path.clone(), ..Report::default() };
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
        report.look(".".to_owned(), &args.path, None);
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
            name.ends_with(INDEX_SUFFIX) || name == WEIGHTS || name == ENCODER
        };
        if path.is_dir() && path.read_dir()?.filter_map(Result::ok).any(holds) {
            let label = format!("{prefix}{}", if name.is_empty() { "." } else { name });
            let encoder = path.join(ENCODER);
            let file = if encoder.is_file() { SafeTensors::open(encoder) } else { SafeTensors::open_folder(&path) };
            report.weights.insert(label.clone(), weights(&file?, args.tensors));
            if path.join(CONFIG).is_file() {
                report.look(label, &path, Some(root));
            }
        }
    }
    if args.verify && root.join(manifest::NAME).is_file() {
        manifest::verify(root)?;
        report.verified = true;
    }
    Ok(())
}

impl Report {
    /// Says of weights what network they are, if they are one.
    fn look(&mut self, label: String, path: &Path, root: Option<&Path>) {
        match network::look(path, root) {
            Found::Network(network) => drop(self.networks.insert(label, *network)),
            Found::Problem(problem) => drop(self.problems.insert(label, problem)),
            Found::Other => {}
        }
    }
}

fn weights(file: &SafeTensors, list: bool) -> Weights {
    let mut found = Weights {
        tensors: file.names().len(),
        elements: 0,
        bytes: 0,
        types: BTreeMap::new(),
        type_bytes: BTreeMap::new(),
        files: 0,
        metadata: file.metadata().clone(),
        list: Vec::new(),
    };
    let files: BTreeSet<_> = file.names().filter_map(|name| file.path_of(name)).collect();
    found.files = files.len();
    for name in file.names() {
        let Some(info) = file.info(name) else { continue };
        let elements = info.shape.elements();
        found.elements += elements;
        found.bytes += info.bytes();
        *found.types.entry(info.dtype.name()).or_default() += elements;
        *found.type_bytes.entry(info.dtype.name()).or_default() += info.bytes();
        if list {
            found.list.push((name.to_owned(), info.dtype.name(), info.shape.to_string()));
        }
    }
    found
}

/// The class that a part's configuration names.
fn class<'r>(report: &'r Report, name: &str) -> Option<&'r str> {
    let config = if name == "." { CONFIG.to_owned() } else { format!("{name}/{CONFIG}") };
    let config = report.files.get(&config)?;
    config["_class_name"].as_str().or_else(|| config["architectures"][0].as_str())
}

fn text(report: &Report) -> String {
    let mut lines = vec![report.path.display().to_string()];
    for (name, network) in &report.networks {
        lines.extend(network.lines(name));
    }
    for (name, problem) in &report.problems {
        lines.push(format!("{name}: PROBLEM: {problem}"));
    }
    for (name, weights) in &report.weights {
        let bytes = |name| weights.type_bytes.get(name).copied().unwrap_or_default();
        let types: Vec<_> =
            weights.types.iter().map(|(&name, n)| format!("{n} {name} in {} bytes", bytes(name))).collect();
        let Weights { tensors, elements, bytes, files, .. } = weights;
        let types = types.join(", ");
        let class = class(report, name).map_or(String::new(), |class| format!(" ({class})"));
        let files = if *files == 1 { String::new() } else { format!(" in {files} files") };
        lines.push(format!("{name}{class}: {tensors} tensors{files}, {elements} elements ({types}), {bytes} bytes"));
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
