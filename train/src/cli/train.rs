//! `flg train`: a teacher from scratch.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flg_engine::Device;
use flg_model::WanConfig;
use serde_json::json;

use super::exit::Usage;
use super::session::Session;
use super::stage::{Stage, StageArgs};
use super::trained::setup;
use crate::config::Config;
use crate::data::{Card, open};
use crate::export::Made;
use crate::methods::FlowMatching;
use crate::rehearsal::Expected;

/// `flg train`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Updates, `train.steps`
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    #[command(flatten)]
    stage: StageArgs,
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let overrides = args.steps.map(|steps| format!("train.steps={steps}"));
    let stage = Stage::open(&args.stage, session, "train", overrides.into_iter().collect(), |stage| {
        let (device, config) = (Device::dry(), &stage.config);
        let (_, mut method) = method(config, &device)?;
        Ok(Expected::of_method(&mut method, &device, config.train.micro_batches)?)
    })?;
    let config = &stage.config;
    let (card, mut method) = method(config, session.device())?;
    if let Some(folder) = stage.folder() {
        card.write(folder.root())?;
    }
    let Some(folder) = stage.run(&mut method, config.train.steps, BTreeMap::new())? else { return Ok(()) };
    let made: PathBuf = folder.model();
    let (wan, weights) = method.averaged();
    let shift = Some(config.train.shift as f32);
    Made { wan, weights, card: (&card).into(), shift, few_step: None, provenance: None, expert: None }.save(&made)?;
    let value =
        json!({ "stage": "train", "steps": config.train.steps, "model": made, "parameters": weights.elements() });
    session.result(&value, || format!("network written to {}", made.display()))
}

/// The data and the method that trains on it.
fn method(config: &Config, device: &Device) -> anyhow::Result<(Card, FlowMatching)> {
    let card = Card::new(open(&config.data.world)?.as_ref(), &config.data, config.model.text_dim)?;
    let model = architecture(config, &card)?;
    let setup = setup(&card, config, device)?;
    let mut train = config.train.clone();
    if device.is_dry() {
        train.validate_every = train.validate_every.min(1);
    }
    let method = FlowMatching::new(setup, model, train)?;
    Ok((card, method))
}

/// The network asked for, for clips of the data set.
///
/// # Errors
/// One that cannot take these clips.
fn architecture(config: &Config, card: &Card) -> anyhow::Result<WanConfig> {
    let g = card.geometry;
    let model = config.model.wan(g.channels);
    let wrong = |error: flg_model::Error| Usage(format!("model and data do not fit: {error}"));
    model.validate().map_err(wrong)?;
    model.token_grid([1, g.channels, g.frames, g.height, g.width].into()).map_err(wrong)?;
    if config.train.first_frame > 0.0 && model.patch_size[0] != 1 {
        let why = "train.first_frame above 0 needs model.patch_size[0] = 1: a token must not span the given frame";
        return Err(Usage(why.to_owned()).into());
    }
    Ok(model)
}
