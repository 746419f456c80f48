//! `flg prune`: Stage II, the network learns to do without some of its blocks.

use std::path::PathBuf;

use flg_engine::Device;
use flg_engine::files::read_json;
use flg_model::BlockMask;
use serde_json::json;

use super::audit;
use super::exit::BadInput;
use super::input::identify_file;
use super::rest::{Origin, Rest};
use super::session::Session;
use super::stage::{Stage, StageArgs};
use super::trained::{Trained, TrainedArgs};
use crate::audit::Audit;
use crate::config::{Config, MaskSampler, PruneConfig};
use crate::data::{CardRef, DataCard};
use crate::export::{Made, WithParts, lineage, notes, read_choice, write_choice};
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
    /// What becomes of the other parts of the pipeline (autoencoder, text encoder) in what is written
    #[arg(long, value_name = "HOW", default_value = "link")]
    with_parts: WithParts,
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
    let trained = args.trained.open(&stage, session.device())?;
    let layers = trained.checkpoint.wan.config().num_layers;
    BlockMask::without(layers, &args.remove)?;
    let Some(folder) = stage.folder() else {
        return stage.describe(&[("transformer", trained.checkpoint.weights.elements())], config.prune.steps());
    };
    let mut inputs = trained.inputs()?;
    let mut audit = match args.audit.as_deref().or(stage.earlier_input("audit")).map(audit::file).transpose()? {
        Some(path) => {
            inputs.insert("audit".to_owned(), identify_file(&path)?);
            Some(read_json::<Audit>(&path)?)
        }
        None if stage.goes_on() => audit::found_in(folder.root())?,
        None => None,
    };
    let record = stage.begin(inputs)?;
    let choice = match read_choice(folder.root())? {
        // What the run began with, when it goes on.
        Some(choice) => choice,
        None if !args.remove.is_empty() => by_hand(layers, &args.remove),
        None => {
            let found = match audit.take() {
                Some(audit) => audit,
                None => {
                    trained.check_first_frame("audit.first_frame", config.audit.first_frame)?;
                    audit::measure(&trained, &config.audit, folder.root(), session)?
                }
            };
            of_audit(audit.insert(found), layers)?
        }
    };
    write_choice(folder.root(), &choice)?;
    let expert = trained.expert();
    let Trained { folder: source, checkpoint, card, setup, pipeline, clips } = trained;
    CardRef::from(&card).write(folder.root())?;
    let mut method = Prune::new(setup, (checkpoint.wan, checkpoint.weights), &choice, config.prune.clone())?;
    stage.train(&mut method, config.prune.steps(), &record)?;

    let (wan, weights) = method.averaged();
    let (few_step, parent) = (None, checkpoint.provenance.as_ref());
    let shift = match card {
        DataCard::World(_) => Some(config.prune.shift as f32),
        // The network is sampled as before: what it is trained with is another matter.
        DataCard::Encoded(_) => checkpoint.shift.or(Some(config.prune.shift as f32)),
    };
    let made = Made { wan, weights, card: (&card).into(), shift, few_step, provenance: parent, expert };
    let (model, pruned) = (folder.model(), folder.root().join(PRUNED));
    made.save_pruned(method.end(), &pruned)?;
    made.save(&model)?;
    write_choice(&notes(&model, expert), &choice)?;
    let origin = Origin { stage: "prune", source: &source, card: &card, clips, steps: config.prune.steps() };
    let rest =
        Rest { origin, run: folder, audit: audit.as_ref(), pipeline: pipeline.as_ref(), with_parts: args.with_parts };
    rest.save(&pruned, &lineage(parent, method.end())?, None)?;
    rest.save(&model, &lineage(parent, &BlockMask::all(layers))?, None)?;
    let removed = method.end().removed();
    let value = json!({ "stage": "prune", "steps": config.prune.steps(), "model": model, "pruned": pruned, "removed": removed });
    session.result(&value, || {
        format!("blocks {removed:?} can go\nwith them: {}\nwithout: {}", model.display(), pruned.display())
    })
}

/// What a step with every block will hold.
fn rehearse(stage: &Stage<'_>, args: &Args) -> anyhow::Result<Expected> {
    let device = Device::dry();
    let trained = args.trained.open(stage, &device)?;
    trained.check_first_frame("prune.first_frame", stage.config.prune.first_frame)?;
    if !stage.goes_on() && args.audit.is_none() && args.remove.is_empty() {
        // An audit comes first.
        trained.check_first_frame("audit.first_frame", stage.config.audit.first_frame)?;
        stage.config.audit.removals(trained.checkpoint.wan.config().num_layers).map_err(crate::Error::from)?;
    }
    let Trained { checkpoint, setup, .. } = trained;
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

fn of_audit(audit: &Audit, layers: usize) -> anyhow::Result<Choice> {
    if audit.blocks != layers {
        let what = format!("the audit is of a network with {} blocks, this one has {layers}", audit.blocks);
        return Err(BadInput(what).into());
    }
    Ok(Choice { ranked: audit.ranked.clone(), removed: audit.removed.clone() })
}
