//! `flg audit`: Stage I, what each block is worth.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flg_engine::Device;
use flg_engine::files::{read_json, write_atomic, write_json};

use super::exit::BadInput;
use super::progress::Progress;
use super::session::Session;
use super::stage::{Stage, StageArgs};
use super::trained::{Trained, TrainedArgs};
use crate::audit::{Audit, audit, plot, rehearse};
use crate::config::AuditConfig;
use crate::rehearsal::{Expected, Known};

/// The table of an audit, in a run's folder.
const TABLE: &str = "audit/importance.json";
/// The same as a picture.
const PLOT: &str = "audit/importance.svg";

/// `flg audit`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    trained: TrainedArgs,
    #[command(flatten)]
    stage: StageArgs,
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let stage = Stage::open(&args.stage, session, "audit", Vec::new(), |stage| {
        let device = Device::dry();
        let trained = args.trained.open(stage, &device)?;
        let network = (&trained.checkpoint.wan, &trained.checkpoint.weights);
        trained.check_first_frame("audit.first_frame", stage.config.audit.first_frame)?;
        rehearse(&trained.setup, network, &stage.config.audit)?;
        let weights = trained.checkpoint.weights.bytes();
        Ok(Expected::of(&device, Known { weights, ..Known::default() }))
    })?;
    let trained = args.trained.open(&stage, session.device())?;
    let Some(folder) = stage.folder() else {
        return stage.describe(&[("transformer", trained.checkpoint.weights.elements())], 0);
    };
    stage.begin(trained.inputs()?)?;
    stage.announce();
    let audit = measure(&trained, &stage.config.audit, folder.root(), session)?;
    session.result(&audit, || table(&audit, folder.root()))
}

/// Audits a network and writes what was found into a run's folder.
///
/// # Errors
/// What the audit refuses; the system's refusals.
pub(super) fn measure(
    trained: &Trained,
    config: &AuditConfig,
    root: &Path,
    session: &Session,
) -> anyhow::Result<Audit> {
    let network = (&trained.checkpoint.wan, &trained.checkpoint.weights);
    let mut progress: Option<Progress> = None;
    let found = audit(&trained.setup, network, config, &mut |done, total| {
        progress.get_or_insert_with(|| Progress::new(session.talk(), "audit", total)).reach(done, String::new);
    })?;
    if let Some(progress) = progress {
        progress.finish();
    }
    let folder = root.join("audit");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    let picture = plot::svg(&found).map_err(anyhow::Error::msg).context("cannot draw the plot")?;
    write_atomic(root.join(PLOT), |out| out.write_all(picture.as_bytes()))?;
    write_json(root.join(TABLE), &found)?;
    Ok(found)
}

/// The audit in a run's folder, if it got that far.
///
/// # Errors
/// A file that is not an audit.
pub(super) fn found_in(root: &Path) -> anyhow::Result<Option<Audit>> {
    let path = root.join(TABLE);
    if path.exists() { Ok(Some(read_json(path)?)) } else { Ok(None) }
}

/// The file of an audit that a path stands for: itself, or the one in the folder of a run.
///
/// # Errors
/// Neither.
pub(super) fn file(path: &Path) -> anyhow::Result<PathBuf> {
    let inside = path.join(TABLE);
    match (path.is_file(), inside.is_file()) {
        (true, _) => Ok(path.to_owned()),
        (_, true) => Ok(inside),
        _ => Err(BadInput(format!("`{}` is neither an audit nor the run of one", path.display())).into()),
    }
}

fn table(audit: &Audit, root: &Path) -> String {
    let mut lines = vec!["block  importance  interval                removed".to_owned()];
    for (block, score) in audit.importance.iter().enumerate() {
        let removed = if audit.removed.contains(&block) { "yes" } else { "" };
        let (value, low, high) = (score.value, score.low, score.high);
        lines.push(format!("{block:>5}  {value:>10.3e}  {low:>9.3e} .. {high:<9.3e}  {removed}"));
    }
    let u = audit.u_shape;
    lines.push(format!("U shape: Spearman {:.2} ({:.2} .. {:.2})", u.value, u.low, u.high));
    lines.push(format!("loss {:.4}; without the removed blocks it rises by {:.4}", audit.loss, audit.joint));
    lines.push(format!("written to {} and {}", root.join(TABLE).display(), root.join(PLOT).display()));
    lines.join("\n")
}
