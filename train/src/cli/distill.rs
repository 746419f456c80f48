//! `flg distill`: Stage III, a network that samples in few steps.

use std::collections::BTreeMap;

use flg_model::BlockMask;
use serde_json::json;

use super::input::identify;
use super::session::Session;
use super::stage::{Stage, StageArgs};
use super::trained::{Trained, TrainedArgs};
use crate::export::{Made, lineage, read_choice, write_choice};
use crate::methods::Distill;
use crate::methods::prune::Choice;

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
    #[command(flatten)]
    trained: TrainedArgs,
    #[command(flatten)]
    stage: StageArgs,
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let overrides = args.steps.map(|steps| format!("distill.steps={steps}"));
    let stage = Stage::open(&args.stage, session, "distill", overrides.into_iter().collect())?;
    let config = &stage.config;
    let path = stage.input("model", args.trained.model.as_deref())?;
    let trained = Trained::open(&path, args.trained.world.as_deref(), config, session.device())?;
    let earlier = stage.folder().map(|folder| read_choice(folder.root())).transpose()?.flatten();
    let removed = match (earlier, args.keep_all, args.remove.is_empty()) {
        // What the run began with, when it goes on.
        (Some(choice), _, _) => choice.removed,
        (None, true, _) => Vec::new(),
        (None, _, false) => args.remove.clone(),
        _ => read_choice(&trained.folder)?.map_or_else(Vec::new, |choice| choice.removed),
    };
    let mask = BlockMask::without(trained.checkpoint.wan.config().num_layers, &removed)?;
    let inputs = BTreeMap::from([("model".to_owned(), identify(&trained.folder)?)]);
    let Trained { checkpoint, card, setup, .. } = trained;
    let network = (checkpoint.wan, checkpoint.weights);
    let mut method = Distill::new(setup, network, mask.clone(), config.distill.clone())?;
    if let Some(folder) = stage.folder() {
        card.write(folder.root())?;
        write_choice(folder.root(), &Choice { ranked: removed.clone(), removed })?;
    }
    let Some(folder) = stage.run(&mut method, config.distill.steps, inputs)? else { return Ok(()) };

    let (wan, weights, schedule) = method.best();
    let provenance = lineage(checkpoint.provenance.as_ref(), &mask)?;
    let few_step = Some(schedule);
    let model = folder.model();
    Made { wan, weights, card: &card, shift: None, few_step, provenance: Some(&provenance) }.save(&model)?;
    let value = json!({
        "stage": "distill", "steps": config.distill.steps, "model": model, "schedule": schedule,
        "blocks": mask.kept().len(), "parameters": weights.elements(),
    });
    session.result(&value, || {
        let blocks = format!("{} of {} blocks", mask.kept().len(), mask.layers());
        format!("student ({blocks}, {schedule}) written to {}", model.display())
    })
}
