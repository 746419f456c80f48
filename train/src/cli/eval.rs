//! `flg eval`: any number of checkpoints and samplers in one table.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use flg_engine::Precision;
use flg_model::BlockMask;
use flg_model::sampler::Network;
use serde_json::json;

use super::config_args::ConfigArgs;
use super::exit::Usage;
use super::input::{Checkpoint, card, checkpoint_folder};
use super::progress::Progress;
use super::sample::{Sampling, solver};
use super::session::Session;
use crate::config::{EvalConfig, Layers};
use crate::data::{Card, Conditions, Split, TextShape, open};
use crate::eval::{Accuracy, Condition, EvalNetwork, Evaluator, Row, SamplerSpec, differences, table};
use crate::generate::Sampler;
use crate::task::Task;

/// Real clips that the evaluation network's accuracy is stated on.
const ACCURACY_CLIPS: usize = 1024;

/// `flg eval`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Checkpoints, each with how to sample from it, such as `runs/train@steps=4,guidance=1,name=undistilled`. Keys:
    /// steps, shift, guidance, solver, skip (blocks, as 2+3), name [default: as `flg sample`]
    #[arg(value_name = "DIR[@KEY=VALUE,..]", required_unless_present = "train_network")]
    samplers: Vec<String>,
    /// What the networks are given
    #[arg(long, value_enum, default_value_t = Given::Text)]
    given: Given,
    /// The evaluation network [default: the one that comes with the program for this world]
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Train an evaluation network on the configuration's world and write it to a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["samplers", "network"])]
    train_network: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What the networks are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Given {
    /// A caption
    Text,
    /// A caption and the first frame of a real clip
    TextImage,
    /// One row each
    Both,
}

impl Given {
    fn conditions(self) -> &'static [Condition] {
        match self {
            Given::Text => &[Condition::Text],
            Given::TextImage => &[Condition::TextImage],
            Given::Both => &[Condition::Text, Condition::TextImage],
        }
    }
}

/// A row's network, loaded.
struct Loaded {
    name: String,
    checkpoint: Checkpoint,
    card: Card,
    conditions: Conditions,
    mask: BlockMask,
    sampler: Sampler,
}

pub(super) fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    session.require_real_time()?;
    let config = args.config.resolve(Layers::new(), &[])?;
    if let Some(path) = &args.train_network {
        let world = Arc::from(open(&config.data.world)?);
        let text = TextShape { words: config.data.words, dim: config.model.text_dim };
        let task = Task::new(session.device(), world, config.data.text_seed, text)?;
        return train_network(path, &task, &config.eval, config.run.seed, session);
    }
    let loaded = args.samplers.iter().map(|text| Loaded::read(text, session)).collect::<anyhow::Result<Vec<_>>>()?;
    let task = common_task(&loaded, session)?;
    let world = task.world("evaluation")?;
    let network = match &args.network {
        Some(path) => EvalNetwork::load(world, session.device(), path)?,
        None => EvalNetwork::bundled(world, session.device())?,
    };
    let (hash, accuracy) = (network.hash(), network.accuracy(&task, Split::HeldOut, ACCURACY_CLIPS)?);
    session.note(&describe(&hash, &accuracy));
    let evaluator = Evaluator::new(&task, network, &config.eval, config.run.seed)?;
    let mut rows = Vec::new();
    for &condition in args.given.conditions() {
        rows.extend(evaluator.real_rows(condition)?);
        let first = rows.len();
        for spec in &loaded {
            let mut row = measure(&evaluator, spec, condition, session)?;
            row.compare(rows.get(first));
            rows.push(row);
        }
    }
    let value = json!({
        "world": task.name(), "prompts": evaluator.captions().len(), "seed": config.run.seed,
        "confidence": config.eval.confidence, "network": { "sha256": hash, "accuracy": accuracy }, "rows": rows,
    });
    session.result(&value, || format!("{}{}", table(&rows), differences(&rows)))
}

fn measure(evaluator: &Evaluator, loaded: &Loaded, condition: Condition, session: &Session) -> anyhow::Result<Row> {
    let spec = SamplerSpec {
        name: loaded.name.clone(),
        network: Network {
            wan: &loaded.checkpoint.wan,
            weights: &loaded.checkpoint.weights,
            mask: &loaded.mask,
            precision: Precision::F32,
        },
        conditions: &loaded.conditions,
        sampler: loaded.sampler.clone(),
    };
    let mut progress: Option<Progress> = None;
    let made = evaluator.row(&spec, condition, &mut |done, total| {
        let bar = progress.get_or_insert_with(|| Progress::new(session.talk(), &spec.name, total as u64));
        bar.reach(done as u64, String::new);
        if session.interrupt().is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.iter().for_each(Progress::finish);
    let (row, _) = made.with_context(|| format!("cannot evaluate `{}`", loaded.name))?;
    Ok(row)
}

/// The task of the world that all checkpoints were trained on.
fn common_task(loaded: &[Loaded], session: &Session) -> anyhow::Result<Task> {
    let Some(first) = loaded.first() else { return Err(Usage("no checkpoint to evaluate".to_owned()).into()) };
    let differs = |other: &&Loaded| other.card.world != first.card.world || other.card.geometry != first.card.geometry;
    if let Some(other) = loaded.iter().find(differs) {
        let worlds = [&first.card.world, &other.card.world];
        let [a, b] = worlds.map(|world| format!("`{world}`"));
        return Err(Usage(format!("checkpoints of different worlds do not compare: {a} and {b}")).into());
    }
    let text = TextShape { words: first.card.words, dim: first.card.text_dim };
    Ok(Task::new(session.device(), Arc::from(open(&first.card.world)?), first.card.text_seed, text)?)
}

fn train_network(path: &Path, task: &Task, config: &EvalConfig, seed: u64, session: &Session) -> anyhow::Result<()> {
    let mut progress = Progress::new(session.talk(), "evaluation network", config.network_steps);
    let network = EvalNetwork::train(task, config, seed, &mut |number, loss| {
        progress.reach(number, || format!("loss {loss:.4}"));
        if session.interrupt().is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    let network = network?;
    network.save(path)?;
    let (hash, accuracy) = (network.hash(), network.accuracy(task, Split::HeldOut, ACCURACY_CLIPS)?);
    let value = json!({ "output": path, "world": task.name(), "sha256": hash, "accuracy": accuracy });
    session.result(&value, || format!("{}\nwritten to {}", describe(&hash, &accuracy), path.display()))
}

fn describe(hash: &str, accuracy: &[Accuracy]) -> String {
    let read: Vec<_> = accuracy.iter().map(|a| format!("{} {:.3}", a.label, a.share)).collect();
    format!("evaluation network {}: right on held-out real clips: {}", &hash[..12], read.join(", "))
}

impl Loaded {
    /// Reads `DIR[@KEY=VALUE,..]` and the checkpoint that it names.
    fn read(text: &str, session: &Session) -> anyhow::Result<Self> {
        let (path, options) = text.rsplit_once('@').unwrap_or((text, ""));
        let (sampling, name) = sampling(options)?;
        let folder = checkpoint_folder(Path::new(path))?;
        let card = card(&folder)?;
        let conditions = card.conditions(session.device())?;
        let checkpoint = Checkpoint::load(&folder, session.device())?.for_sampling()?;
        let mask = BlockMask::without(checkpoint.wan.config().num_layers, &sampling.skip)?;
        let sampler = sampling.sampler(&checkpoint)?;
        let name = name.unwrap_or_else(|| text.to_owned());
        Ok(Loaded { name, checkpoint, card, conditions, mask, sampler })
    }
}

/// How to sample, and the row's name if one is given.
fn sampling(options: &str) -> anyhow::Result<(Sampling, Option<String>)> {
    let (mut sampling, mut name) = (Sampling::default(), None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let wrong = |why: &str| Usage(format!("`{option}`: {why}"));
        let number = || value.parse::<f64>().map_err(|_| wrong("not a number"));
        let count = |text: &str| text.parse::<usize>().map_err(|_| wrong("not a whole number"));
        match key {
            "steps" => sampling.steps = Some(count(value)?),
            "shift" => sampling.shift = Some(number()?),
            "guidance" => sampling.guidance = Some(number()?),
            "solver" => sampling.solver = Some(solver(value).map_err(|why| wrong(&why))?),
            "skip" => sampling.skip = value.split('+').map(count).collect::<Result<_, _>>()?,
            "name" => name = Some(value.to_owned()),
            _ => return Err(wrong("the keys are steps, shift, guidance, solver, skip and name").into()),
        }
    }
    Ok((sampling, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flg_model::sampler::Solver;

    #[test]
    fn samplers_are_read_from_one_argument() {
        let (asked, name) = sampling("steps=4,guidance=1,shift=0.6,solver=unipc,skip=2+3,name=four steps").unwrap();
        assert_eq!((asked.steps, asked.guidance, asked.shift), (Some(4), Some(1.0), Some(0.6)));
        assert_eq!((asked.solver, asked.skip), (Some(Solver::UniPc { order: 2 }), vec![2, 3]));
        assert_eq!(name.as_deref(), Some("four steps"));
        assert_eq!(sampling("").unwrap().0.steps, None);
        for wrong in ["steps", "steps=x", "skip=1+", "step=4"] {
            assert!(sampling(wrong).unwrap_err().is::<Usage>(), "{wrong}");
        }
    }
}
