//! What `train`, `prune` and `distill` have in common: a configuration, a run folder, inputs, and the trainer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::config_args::ConfigArgs;
use super::exit::{Interrupted, Usage};
use super::progress::Progress;
use super::session::Session;
use crate::config::{Config, Layers};
use crate::method::Method;
use crate::run::{Environment, Error as RunError, Input, Record, RunFolder};
use crate::trainer::{Outcome, Plan, Start, Trainer};

/// Flags of every stage that trains.
#[derive(Debug, clap::Args)]
pub struct StageArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The run folder [default: runs/<stage>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in the run folder, from its latest checkpoint or the one named
    #[arg(long, value_name = "latest|PATH")]
    resume: Option<String>,
    /// Steps between checkpoints, `run.save_every`
    #[arg(long, value_name = "N")]
    save_every: Option<u64>,
    /// Checkpoints to keep, `run.keep`
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Check everything, print the configuration, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// A stage that is about to run: a configuration, and a run folder unless it is a dry run.
#[derive(Debug)]
pub struct Stage<'s> {
    session: &'s Session,
    name: &'static str,
    /// Every switch.
    pub config: Config,
    folder: Option<RunFolder>,
    record: Option<Record>,
    from: Option<PathBuf>,
}

impl<'s> Stage<'s> {
    /// Resolves the configuration and opens the run folder. `overrides` are values that the stage's own flags stand for.
    ///
    /// # Errors
    /// A configuration that does not fit; a run folder that is in use, occupied, or of another stage.
    pub fn open(
        args: &StageArgs,
        session: &'s Session,
        name: &'static str,
        mut overrides: Vec<String>,
    ) -> anyhow::Result<Self> {
        overrides.extend(args.save_every.map(|n| format!("run.save_every={n}")));
        overrides.extend(args.keep.map(|n| format!("run.keep={n}")));
        let resolve = |base| args.config.resolve(base, &overrides);
        if args.dry_run && args.resume.is_none() {
            let config = resolve(Layers::new())?;
            return Ok(Stage { session, name, config, folder: None, record: None, from: None });
        }
        let root = args.out.clone().unwrap_or_else(|| Path::new("runs").join(name));
        if args.resume.is_none() {
            // What is wrong with the request is said before anything is made.
            resolve(Layers::new())?;
        }
        let folder = RunFolder::open(&root)?;
        let Some(resume) = &args.resume else {
            folder.require_empty()?;
            return Ok(Stage {
                session,
                name,
                config: resolve(Layers::new())?,
                folder: Some(folder),
                record: None,
                from: None,
            });
        };
        let stored = folder.config_text()?;
        let base = match &stored {
            Some(text) => Layers::new().text(&format!("`{}`", root.join("config.resolved.toml").display()), text)?,
            None => Layers::new(),
        };
        let config = resolve(base)?;
        let record = folder.record()?;
        if let Some(Record { stage, .. }) = record.as_ref().filter(|record| record.stage != name) {
            let (expected, got) = (name.to_owned(), stage.clone());
            return Err(RunError::OtherStage { path: root, expected, got }.into());
        }
        let from = match resume.as_str() {
            "latest" => folder.checkpoints().latest()?,
            path => Some(PathBuf::from(path)),
        };
        match &from {
            Some(path) => session.note(&format!("going on from {}", path.display())),
            None => session.note("no checkpoint yet: starting at step 0"),
        }
        if stored.is_some_and(|text| text != config.to_toml()) {
            session.note("the configuration differs from the one that this run began with");
        }
        let folder = (!args.dry_run).then_some(folder);
        Ok(Stage { session, name, config, folder, record, from })
    }

    /// Where an input is: what the flag says, else where it was when the run began.
    ///
    /// # Errors
    /// An input that is named nowhere.
    pub fn input(&self, name: &str, flag: Option<&Path>) -> anyhow::Result<PathBuf> {
        let before = || self.record.as_ref().and_then(|record| record.inputs.get(name)).map(|input| input.path.clone());
        let missing = || Usage(format!("`--{name} PATH` is missing"));
        Ok(flag.map(Path::to_owned).or_else(before).ok_or_else(missing)?)
    }

    /// Where the run writes; none in a dry run.
    pub fn folder(&self) -> Option<&RunFolder> {
        self.folder.as_ref()
    }

    /// Runs `method` to its end, having written down what it is about to do. `inputs` are what it was built from.
    ///
    /// # Errors
    /// Inputs of other contents than when the run began; what stops the run; [`Interrupted`].
    pub fn run(&self, method: &mut dyn Method, steps: u64, inputs: BTreeMap<String, Input>) -> anyhow::Result<()> {
        let Some(folder) = &self.folder else { return self.describe(method, steps) };
        for (name, input) in &inputs {
            let before = self.record.as_ref().and_then(|record| record.inputs.get(name));
            if before.is_some_and(|before| before.sha256 != input.sha256) {
                return Err(RunError::OtherInput { name: name.clone(), path: input.path.clone() }.into());
            }
        }
        let record = Record { stage: self.name.to_owned(), inputs };
        let runtime = format!("{:?}", self.session.device().runtime());
        folder.describe(&self.config, &record, &Environment::here(runtime))?;
        let plan = Plan::new(&self.config.run, steps);
        let start = self.from.as_deref().map_or(Start::Fresh, Start::Checkpoint);
        let mut progress = Progress::new(self.session.talk(), self.name, steps);
        let trainer = Trainer { folder, plan, interrupt: self.session.interrupt() };
        let outcome = trainer.run(method, start, &mut |event| progress.observe(&event));
        progress.finish();
        match outcome? {
            Outcome::Finished => Ok(()),
            Outcome::Interrupted { step } => Err(Interrupted { step }.into()),
        }
    }

    fn describe(&self, method: &dyn Method, steps: u64) -> anyhow::Result<()> {
        let state = method.state();
        let networks: Vec<_> = state.networks.iter().map(|n| (n.name, n.weights.elements())).collect();
        let plan = serde_json::json!({
            "stage": self.name, "steps": steps, "parameters": networks.iter().copied().collect::<BTreeMap<_, _>>(),
            "config": &self.config,
        });
        self.session.result(&plan, || {
            let list: Vec<_> = networks.iter().map(|(name, n)| format!("#   {name}: {n} parameters")).collect();
            format!(
                "# {}: {steps} steps; nothing was written\n{}\n{}",
                self.name,
                list.join("\n"),
                self.config.to_toml()
            )
        })
    }
}
