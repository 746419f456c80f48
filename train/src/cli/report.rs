//! `flg report`: the page of a demo or of a run, made again from its files.

use std::path::PathBuf;

use serde_json::json;

use super::exit::BadInput;
use super::session::Session;
use crate::report::{SUMMARY, page};

/// `flg report`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder of a demo, or the run folder of a stage
    #[arg(value_name = "RUN")]
    run: PathBuf,
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let written = if args.run.join(SUMMARY).is_file() {
        page::of_demo(&args.run)?
    } else if args.run.join("run.json").is_file() {
        page::of_run(&args.run)?
    } else {
        let what = "holds neither the summary.json of a finished demo nor the run.json of a stage";
        return Err(BadInput(format!("`{}` {what}", args.run.display())).into());
    };
    session.result(&json!({ "report": written }), || format!("page written to {}", written.display()))
}
