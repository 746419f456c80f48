//! `flg init`: a checkpoint of a published architecture with random weights, written tensor by tensor.

use std::path::PathBuf;

use flg_engine::Key;
use flg_model::checkpoint::{FreshPart, init};
use flg_model::{ARCHITECTURES, Architecture};
use serde_json::json;

use super::exit::Usage;
use super::form::FormArgs;
use super::progress::Progress;
use super::session::Session;

/// `flg init`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to make
    folder: PathBuf,
    /// Which architecture: a published one, or tiny
    #[arg(long, value_name = "NAME", value_parser = architecture)]
    arch: &'static Architecture,
    /// Weights are a function of this number
    #[arg(long, default_value = "0")]
    seed: u64,
    #[command(flatten)]
    form: FormArgs,
}

fn architecture(name: &str) -> Result<&'static Architecture, String> {
    let names = || ARCHITECTURES.iter().map(|architecture| architecture.name).collect::<Vec<_>>().join(", ");
    Architecture::named(name).ok_or_else(|| format!("it is one of {}", names()))
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    if args.folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Usage(format!("folder `{}` is not empty", args.folder.display())).into());
    }
    let form = args.form.form();
    let mut parts = FreshPart::transformers(args.arch);
    parts.push(FreshPart::autoencoder(args.arch));
    let bytes = parts.iter().map(|part| part.bytes(form)).sum();
    let mut progress = Progress::new(session.talk(), "init", bytes);
    let key = Key::new(args.seed).name("weights");
    let made = init(&args.folder, args.arch, &parts, (form, key), &mut |done| {
        progress.reach(done, || "bytes".to_owned());
    });
    progress.finish();
    made?;
    let parameters: usize = parts.iter().flat_map(|part| &part.parameters).map(|p| p.shape.elements()).sum();
    let folders: Vec<_> = parts.iter().map(|part| part.folder).collect();
    let value = json!({
        "folder": args.folder, "arch": args.arch.name, "seed": args.seed, "parts": folders, "parameters": parameters,
        "bytes": bytes,
    });
    session.result(&value, || {
        let (name, folder) = (args.arch.name, args.folder.display());
        format!("{name}: {} with {parameters} parameters, {bytes} bytes, written to {folder}", folders.join(" and "))
    })
}
