//! Agreement with diffusers and transformers on fixtures: forward, activations, gradients, bf16, schedulers, RoPE, time
//! embedding.
//!
//! Walks the folders of `tests/fixtures`, or of `FLG_FIXTURES`. Shapes and sizes come from the files. A kind that is not
//! supported is named as skipped on stderr; every check prints its largest difference beside its limit.
//!
//! Limits are those between valid f32 implementations, times a few: the sinusoid of times up to 1000 decides the plain
//! forward pass (one unit in the last place of a frequency moves a cosine by 1e-5), rounding alone the injected one.

#[path = "parity/clip.rs"]
mod clip;
mod devices;
#[path = "parity/pipelines.rs"]
mod pipelines;
#[path = "parity/preprocess.rs"]
mod preprocess;
#[path = "parity/report.rs"]
mod report;
#[path = "parity/schedulers.rs"]
mod schedulers;
#[path = "parity/tables.rs"]
mod tables;
#[path = "parity/tensors.rs"]
mod tensors;
#[path = "parity/tokenizer.rs"]
mod tokenizer;
#[path = "parity/umt5.rs"]
mod umt5;
#[path = "parity/vae.rs"]
mod vae;
#[path = "parity/wan.rs"]
mod wan;

use std::path::{Path, PathBuf};

use report::Report;
use serde_json::Value;
use tensors::Tensors;

enum Kind {
    Wan,
    Pipeline(Value),
    Vae,
    Schedulers,
    Tables,
    Umt5,
    Clip,
    Tokenizer,
    Preprocess,
    Unsupported(String),
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

/// What a folder holds, by its `meta.json` and configuration; `None` where it is no fixture.
fn kind(folder: &Path) -> Option<Kind> {
    let meta = json(&folder.join("meta.json"))?;
    let config = json(&folder.join("config.json")).unwrap_or_default();
    let class = meta["cls"].as_str().or(config["_class_name"].as_str());
    Some(match class {
        Some("WanTransformer3DModel") => Kind::Wan,
        Some("WanPipeline" | "WanImageToVideoPipeline") => Kind::Pipeline(meta),
        Some("UMT5EncoderModel") => Kind::Umt5,
        Some("CLIPVisionModel") => Kind::Clip,
        Some("Tokenizer") => Kind::Tokenizer,
        Some("CLIPImageProcessor") => Kind::Preprocess,
        Some("AutoencoderKLWan") => Kind::Vae,
        Some(other) => Kind::Unsupported(other.to_owned()),
        None => {
            let outputs = Tensors::read(&folder.join("outputs.safetensors"));
            let has = |prefix: &str| outputs.names().any(|name| name.starts_with(prefix));
            if has("unipc.") || has("euler.") || has("traj.") {
                Kind::Schedulers
            } else if has("wan128.") || has("time256.") {
                Kind::Tables
            } else {
                Kind::Unsupported("a kind without a class name".to_owned())
            }
        }
    })
}

fn folders() -> Vec<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let root = std::env::var_os("FLG_FIXTURES").map_or(default, PathBuf::from);
    let entries = std::fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn on_all_devices(name: &str, mut check: impl FnMut(&flg_engine::Device)) {
    for device in devices::all() {
        check(&device);
        devices::assert_no_reports(name);
    }
}

#[test]
fn every_fixture_is_met() {
    let mut report = Report::default();
    let mut supported = 0;
    for folder in folders() {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        report.folder(&name);
        match kind(&folder) {
            None => report::skip(&format!("{name}: no meta.json")),
            Some(Kind::Unsupported(kind)) => report::skip(&format!("{name}: {kind} is not supported yet")),
            Some(Kind::Wan) => on_all_devices(&name, |device| wan::check(&folder, device, &mut report)),
            Some(Kind::Pipeline(meta)) => {
                for resident in [0, 1, usize::MAX] {
                    pipelines::check(&folder, &meta, resident, &mut report);
                }
            }
            Some(Kind::Umt5) => on_all_devices(&name, |device| umt5::check(&folder, device, &mut report)),
            Some(Kind::Clip) => on_all_devices(&name, |device| clip::check(&folder, device, &mut report)),
            Some(Kind::Tokenizer) => tokenizer::check(&folder, &mut report),
            Some(Kind::Preprocess) => preprocess::check(&folder, &mut report),
            Some(Kind::Vae) => on_all_devices(&name, |device| vae::check(&folder, device, &mut report)),
            Some(Kind::Schedulers) => schedulers::check(&folder, &mut report),
            Some(Kind::Tables) => tables::check(&folder, &mut report),
        }
        supported += usize::from(report.checks_of_folder() > 0);
    }
    assert!(supported > 0, "no fixture of a supported kind");
    report.finish();
}
