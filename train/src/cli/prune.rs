//! `flg prune`: Stage II, the network learns to do without some of its blocks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flg_engine::Device;
use flg_engine::files::read_json;
use flg_model::BlockMask;
use serde_json::json;

use super::audit;
use super::exit::BadInput;
use super::input::{identify, identify_file};
use super::session::Session;
use super::stage::{Stage, StageArgs};
use super::trained::{Trained, TrainedArgs};
use crate::audit::Audit;
use crate::config::{Config, MaskSampler, PruneConfig};
use crate::export::{Made, read_choice, write_choice};
use crate::methods::Prune;
use crate::methods::prune::Choice;
use crate::rehearsal::Expected;

/// The network without its removed blocks, in a run's folder.
const PRUNED: &str = "pruned";

/// `flg prune`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Updates of both phases, in the proportion of `prune.random_steps` to `prune.fixed_steps`
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// An audit of this network, or the run of one [default: audit it first]
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "remove")]
    audit: Option<PathBuf>,
    /// Blocks to remove, counted from 0, the least important first, instead of an audit
    #[arg(long, value_name = "N,N..", value_delimiter = ',')]
    remove: Vec<usize>,
    #[command(flatten)]
    trained: TrainedArgs,
    #[command(flatten)]
    stage: StageArgs,
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let mut stage = Stage::open(&args.stage, session, "prune", Vec::new(), |stage| rehearse(stage, &args))?;
    if let Some(steps) = args.steps {
        share_out(&mut stage.config, steps);
    }
    let config = &stage.config;
    let path = stage.input("model", args.trained.model.as_deref())?;
    let trained = Trained::open(&path, args.trained.world.as_deref(), config, session.device())?;
    let layers = trained.checkpoint.wan.config().num_layers;
    BlockMask::without(layers, &args.remove)?;
    let Some(folder) = stage.folder() else {
        return stage.describe(&[("transformer", trained.checkpoint.weights.elements())], config.prune.steps());
    };
    let mut inputs = BTreeMap::from([("model".to_owned(), identify(&trained.folder)?)]);
    let audit = match args.audit.as_deref().or(stage.earlier_input("audit")).map(audit::file).transpose()? {
        Some(path) => {
            inputs.insert("audit".to_owned(), identify_file(&path)?);
            Some(read_json::<Audit>(&path)?)
        }
        None if stage.goes_on() => audit::found_in(folder.root())?,
        None => None,
    };
    let record = stage.begin(inputs)?;
    let choice = match (read_choice(folder.root())?, audit) {
        // What the run began with, when it goes on.
        (Some(choice), _) => choice,
        _ if !args.remove.is_empty() => by_hand(layers, &args.remove),
        (None, Some(audit)) => of_audit(audit, layers)?,
        (None, None) => of_audit(audit::measure(&trained, &config.audit, folder.root(), session)?, layers)?,
    };
    write_choice(folder.root(), &choice)?;
    let Trained { checkpoint, card, setup, .. } = trained;
    card.write(folder.root())?;
    let mut method = Prune::new(setup, (checkpoint.wan, checkpoint.weights), &choice, config.prune.clone())?;
    stage.train(&mut method, config.prune.steps(), &record)?;

    let (wan, weights) = method.averaged();
    let shift = Some(config.prune.shift as f32);
    let made = Made { wan, weights, card: &card, shift, few_step: None, provenance: checkpoint.provenance.as_ref() };
    let (model, pruned) = (folder.model(), folder.root().join(PRUNED));
    made.save_pruned(method.end(), &pruned)?;
    made.save(&model)?;
    write_choice(&model, &choice)?;
    let removed = method.end().removed();
    let value = json!({ "stage": "prune", "steps": config.prune.steps(), "model": model, "pruned": pruned, "removed": removed });
    session.result(&value, || {
        format!("blocks {removed:?} can go\nwith them: {}\nwithout: {}", model.display(), pruned.display())
    })
}

/// What a step with every block will hold.
fn rehearse(stage: &Stage<'_>, args: &Args) -> anyhow::Result<Expected> {
    let device = Device::dry();
    let path = stage.input("model", args.trained.model.as_deref())?;
    let Trained { checkpoint, setup, .. } =
        Trained::open(&path, args.trained.world.as_deref(), &stage.config, &device)?;
    let choice = by_hand(checkpoint.wan.config().num_layers, &args.remove);
    let defaults = &stage.config.prune;
    let (random_steps, validate_every) = (defaults.random_steps.max(2), defaults.validate_every.min(1));
    let config =
        PruneConfig { sampler: MaskSampler::Bernoulli, keep: 1.0, random_steps, validate_every, ..defaults.clone() };
    let mut method = Prune::new(setup, (checkpoint.wan, checkpoint.weights), &choice, config)?;
    Ok(Expected::of_method(&mut method, &device, defaults.micro_batches)?)
}

/// Shares `steps` between the phases in the proportion that they have.
fn share_out(config: &mut Config, steps: u64) {
    let prune = &mut config.prune;
    let both = prune.steps().max(1) as f64;
    prune.random_steps = (steps as f64 * (prune.random_steps as f64 / both)).round() as u64;
    prune.fixed_steps = steps - prune.random_steps.min(steps);
}

/// Blocks named on the command line come first; the others follow in their order.
fn by_hand(layers: usize, removed: &[usize]) -> Choice {
    let others = (0..layers).filter(|block| !removed.contains(block));
    Choice { ranked: removed.iter().copied().chain(others).collect(), removed: removed.to_vec() }
}

fn of_audit(audit: Audit, layers: usize) -> anyhow::Result<Choice> {
    if audit.blocks != layers {
        let what = format!("the audit is of a network with {} blocks, this one has {layers}", audit.blocks);
        return Err(BadInput(what).into());
    }
    Ok(Choice { ranked: audit.ranked, removed: audit.removed })
}
