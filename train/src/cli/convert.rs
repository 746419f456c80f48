//! `flg convert`: a checkpoint in another layout or type, tensor by tensor.

use std::path::PathBuf;

use flg_model::checkpoint::{Conversion, Layout, Sizes, convert};
use serde_json::json;

use super::form::FormArgs;
use super::progress::Progress;
use super::session::Session;

/// `flg convert`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A checkpoint's folder, a network's folder, or a single file with the names of diffusers, of the authors' code or of
    /// ComfyUI
    source: PathBuf,
    /// Where to: a folder for diffusers, a file for the others
    target: PathBuf,
    /// Names and files: diffusers, original or comfyui
    #[arg(long)]
    layout: Layout,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let conversion = Conversion { layout: args.layout, form: args.form.form() };
    let mut progress: Option<Progress> = None;
    let made = convert(&args.source, &args.target, conversion, &mut |done, total| {
        let progress = progress.get_or_insert_with(|| Progress::new(session.talk(), "convert", total));
        progress.reach(done, || "bytes".to_owned());
    });
    if let Some(progress) = progress {
        progress.finish();
    }
    let made = made?;
    let inferred = made.sizes == Sizes::Inferred;
    let value = json!({
        "source": args.source, "target": args.target, "from": made.from.to_string(), "layout": args.layout.to_string(),
        "networks": made.networks, "tensors": made.tensors, "bytes": made.bytes, "inferred": inferred,
        "config": made.config,
    });
    session.result(&value, || {
        let (n, from, layout, target) = (made.tensors, made.from, args.layout, args.target.display());
        let line = format!("{n} tensors, {} bytes: {from} to {layout}, written to {target}", made.bytes);
        match inferred {
            true => format!("{line}\nsizes inferred from the shapes of its tensors:\n{}", made.config.to_json()),
            false => line,
        }
    })
}
