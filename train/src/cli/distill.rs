//! `flg distill`: Stage III, a network that samples in few steps.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flg_engine::Device;
use flg_model::BlockMask;
use flg_model::checkpoint::Provenance;
use serde_json::json;

use super::rest::{Origin, Rest};
use super::session::Session;
use super::stage::{Stage, StageArgs};
use super::trained::{Trained, TrainedArgs};
use crate::data::{CardRef, DataCard};
use crate::export::{Made, Pipeline, WithParts, lineage, read_audit, read_choice, write_choice};
use crate::methods::Distill;
use crate::methods::prune::Choice;
use crate::rehearsal::Expected;
use crate::run::Input;

/// `flg distill`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Updates of the student, `distill.steps`
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Blocks that the student lacks, counted from 0 [default: those that `flg prune` chose, if it made the model]
    #[arg(long, value_name = "N,N..", value_delimiter = ',', conflicts_with = "keep_all")]
    remove: Vec<usize>,
    /// Let the student have all blocks
    #[arg(long)]
    keep_all: bool,
    /// What becomes of the other parts of the pipeline (autoencoder, text encoder) in what is written
    #[arg(long, value_name = "HOW", default_value = "link")]
    with_parts: WithParts,
    #[command(flatten)]
    trained: TrainedArgs,
    #[command(flatten)]
    stage: StageArgs,
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let overrides = args.steps.map(|steps| format!("distill.steps={steps}"));
    let stage = Stage::open(&args.stage, session, "distill", overrides.into_iter().collect(), |stage| {
        let device = Device::dry();
        let (mut method, ..) = method(stage, &args, &device)?;
        Ok(Expected::of_method(&mut method, &device, stage.config.distill.micro_batches)?)
    })?;
    let config = &stage.config;
    let (mut method, mask, started) = method(&stage, &args, session.device())?;
    let removed = mask.removed();
    let Started { folder: source, card, provenance, pipeline, clips, inputs } = started;
    if let Some(folder) = stage.folder() {
        CardRef::from(&card).write(folder.root())?;
        write_choice(folder.root(), &Choice { ranked: removed.clone(), removed })?;
    }
    let Some(folder) = stage.run(&mut method, config.distill.steps, inputs)? else { return Ok(()) };

    let (wan, weights, schedule) = method.best();
    let provenance = lineage(provenance.as_ref(), &mask)?;
    let few_step = Some(schedule);
    let model = folder.model();
    let expert = pipeline.as_ref().and_then(Pipeline::expert);
    let (card_of, provenance_of) = ((&card).into(), Some(&provenance));
    Made { wan, weights, card: card_of, shift: None, few_step, provenance: provenance_of, expert }.save(&model)?;
    let (audit, steps) = (read_audit(&source)?, config.distill.steps);
    let origin = Origin { stage: "distill", source: &source, card: &card, clips, steps };
    let with_parts = args.with_parts;
    let rest = Rest { origin, run: folder, audit: audit.as_ref(), pipeline: pipeline.as_ref(), with_parts };
    rest.save(&model, &provenance, few_step)?;
    let value = json!({
        "stage": "distill", "steps": config.distill.steps, "model": model, "schedule": schedule,
        "blocks": mask.kept().len(), "parameters": weights.elements(),
    });
    session.result(&value, || {
        let blocks = format!("{} of {} blocks", mask.kept().len(), mask.layers());
        format!("student ({blocks}, {schedule}) written to {}", model.display())
    })
}

/// What a student comes from.
struct Started {
    folder: PathBuf,
    card: DataCard,
    provenance: Option<Provenance>,
    pipeline: Option<Pipeline>,
    clips: usize,
    inputs: BTreeMap<String, Input>,
}

/// The method, the blocks that the student has, and what it comes from.
fn method(stage: &Stage<'_>, args: &Args, device: &Device) -> anyhow::Result<(Distill, BlockMask, Started)> {
    let trained = args.trained.open(stage, device)?;
    trained.check_first_frame("distill.first_frame", stage.config.distill.first_frame)?;
    // A rehearsal reads no weights, and neither does it hash them.
    let inputs = if device.is_dry() { BTreeMap::new() } else { trained.inputs()? };
    let earlier = stage.folder().map(|folder| read_choice(folder.root())).transpose()?.flatten();
    let removed = match (earlier, args.keep_all, args.remove.is_empty()) {
        // What the run began with, when it goes on.
        (Some(choice), _, _) => choice.removed,
        (None, true, _) => Vec::new(),
        (None, _, false) => args.remove.clone(),
        _ => read_choice(&trained.folder)?.map_or_else(Vec::new, |choice| choice.removed),
    };
    let mask = BlockMask::without(trained.checkpoint.wan.config().num_layers, &removed)?;
    let Trained { folder, checkpoint, card, setup, pipeline, clips } = trained;
    let mut config = stage.config.distill.clone();
    if device.is_dry() {
        // More updates hold no more memory; the guard looks early, and the critic at once.
        config.critic_warmup = config.critic_warmup.min(1);
        config.critic_updates = config.critic_updates.min(1);
        config.guard_every = config.guard_every.min(1);
    }
    let method = Distill::new(setup, (checkpoint.wan, checkpoint.weights), mask.clone(), config)?;
    Ok((method, mask, Started { folder, card, provenance: checkpoint.provenance, pipeline, clips, inputs }))
}
