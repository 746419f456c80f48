//! What `train`, `prune` and `distill` have in common: a configuration, a run folder, inputs, and the trainer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::config_args::ConfigArgs;
use super::exit::{Interrupted, Usage};
use super::progress::Progress;
use super::session::Session;
use crate::config::{Config, Layers};
use crate::method::Method;
use crate::rehearsal::Expected;
use crate::run::{Environment, Error as RunError, Input, Record, RunFolder};
use crate::trainer::{Outcome, Plan, Start, Trainer};

/// Flags of every stage that trains.
#[derive(Debug, clap::Args)]
pub struct StageArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The run folder [default: runs/STAGE]
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
    expected: Expected,
}

/// What lowers the memory that a stage holds.
const ADVICE: &str = "a smaller batch, more micro-batches on fewer --threads and, where there is one, recompute_blocks need \
less";

impl<'s> Stage<'s> {
    /// Resolves the configuration and opens the run folder. `overrides` are values that the stage's own flags stand for;
    /// `rehearse` finds out what the stage will hold in memory.
    ///
    /// # Errors
    /// A configuration that does not fit; more memory than may be held; what `rehearse` refuses; a run folder that is in use, occupied, or of another stage.
    pub fn open(
        args: &StageArgs,
        session: &'s Session,
        name: &'static str,
        mut overrides: Vec<String>,
        rehearse: impl FnOnce(&Self) -> anyhow::Result<Expected>,
    ) -> anyhow::Result<Self> {
        overrides.extend(args.save_every.map(|n| format!("run.save_every={n}")));
        overrides.extend(args.keep.map(|n| format!("run.keep={n}")));
        let resolve = |base| args.config.resolve(base, &overrides);
        let root = args.out.clone().unwrap_or_else(|| Path::new("runs").join(name));
        let (config, expected) = (Config::default(), Expected::default());
        let mut stage = Stage { session, name, config, folder: None, record: None, from: None, expected };
        // A dry run makes no folder, and there is nothing to go on with in one that is not there.
        let resume = args.resume.as_ref().filter(|_| !args.dry_run || root.is_dir());
        let Some(resume) = resume else {
            // What is wrong with the request is said before anything is made.
            stage.config = resolve(Layers::new())?;
            stage.admit(rehearse)?;
            if !args.dry_run {
                let folder = RunFolder::open(&root)?;
                folder.require_empty()?;
                stage.folder = Some(folder);
            }
            return Ok(stage);
        };
        let folder = RunFolder::open(&root)?;
        stage.record = folder.record()?;
        if let Some(Record { stage: got, .. }) = stage.record.as_ref().filter(|record| record.stage != name) {
            let (expected, got) = (name.to_owned(), got.clone());
            return Err(RunError::OtherStage { path: root, expected, got }.into());
        }
        let stored = folder.config_text()?;
        let base = match &stored {
            Some(text) => Layers::new().text(&format!("the configuration in `{}`", root.display()), text)?,
            None => Layers::new(),
        };
        stage.config = resolve(base)?;
        if stored.is_some_and(|text| text != stage.config.to_toml()) {
            session.note("the configuration differs from the one that this run began with");
        }
        stage.from = match resume.as_str() {
            "latest" => folder.checkpoints().latest()?,
            path => Some(PathBuf::from(path)),
        };
        match &stage.from {
            Some(path) => session.note(&format!("going on from {}", path.display())),
            None => session.note("no checkpoint yet: starting at step 0"),
        }
        stage.folder = (!args.dry_run).then_some(folder);
        stage.admit(rehearse)?;
        Ok(stage)
    }

    fn admit(&mut self, rehearse: impl FnOnce(&Self) -> anyhow::Result<Expected>) -> anyhow::Result<()> {
        self.expected = rehearse(self)?;
        self.session.admit(&self.expected, ADVICE)
    }

    /// Says what the stage, which is about to begin, will hold in memory.
    pub fn announce(&self) {
        self.session.announce(&self.expected);
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

    /// Where an input was when the run began.
    pub fn earlier_input(&self, name: &str) -> Option<&Path> {
        Some(&self.record.as_ref()?.inputs.get(name)?.path)
    }

    /// Where the run writes; none in a dry run.
    pub fn folder(&self) -> Option<&RunFolder> {
        self.folder.as_ref()
    }

    /// Whether the run began before.
    pub fn goes_on(&self) -> bool {
        self.record.is_some()
    }

    /// Says what the stage works on, and writes it down. When the run goes on from a checkpoint that is left to
    /// [`Stage::train`]: what was written stays until the checkpoint proves good.
    ///
    /// # Errors
    /// Inputs of other contents than when the run began; the system's refusals.
    pub fn begin(&self, inputs: BTreeMap<String, Input>) -> anyhow::Result<Record> {
        for (name, input) in &inputs {
            let before = self.record.as_ref().and_then(|record| record.inputs.get(name));
            if before.is_some_and(|before| before.sha256 != input.sha256) {
                return Err(RunError::OtherInput { name: name.clone(), path: input.path.clone() }.into());
            }
        }
        let record = Record { stage: self.name.to_owned(), inputs };
        if self.from.is_none() {
            self.write_down(&record)?;
        }
        Ok(record)
    }

    fn write_down(&self, record: &Record) -> anyhow::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let runtime = format!("{:?}", self.session.device().runtime());
        Ok(folder.describe(&self.config, record, &Environment::here(runtime))?)
    }

    /// Runs `method` to its end, once the stage has begun.
    ///
    /// # Errors
    /// A checkpoint that cannot be gone on from; what stops the run; [`Interrupted`].
    pub fn train(&self, method: &mut dyn Method, steps: u64, record: &Record) -> anyhow::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let start = match &self.from {
            None => Start::Fresh,
            Some(path) => {
                let loaded = folder.checkpoints().load(path, method)?;
                self.write_down(record)?;
                Start::Loaded(loaded)
            }
        };
        self.announce();
        let plan = Plan::new(&self.config.run, steps);
        let mut progress = Progress::new(self.session.talk(), self.name, steps);
        let trainer = Trainer { folder, plan, interrupt: self.session.interrupt() };
        let outcome = trainer.run(method, start, &mut |event| progress.observe(&event));
        progress.finish();
        match outcome? {
            Outcome::Finished => Ok(()),
            Outcome::Interrupted { step } => Err(Interrupted { step }.into()),
        }
    }

    /// [`Stage::begin`] and [`Stage::train`]; in a dry run, [`Stage::describe`] and no folder.
    ///
    /// # Errors
    /// As those.
    pub fn run(
        &self,
        method: &mut dyn Method,
        steps: u64,
        inputs: BTreeMap<String, Input>,
    ) -> anyhow::Result<Option<&RunFolder>> {
        if self.folder.is_some() {
            let record = self.begin(inputs)?;
            self.train(method, steps, &record)?;
        } else {
            let networks = method.state().networks;
            let parameters: Vec<_> = networks.iter().map(|n| (n.name, n.weights.elements())).collect();
            self.describe(&parameters, steps)?;
        }
        Ok(self.folder.as_ref())
    }

    /// Prints what a run would do.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn describe(&self, parameters: &[(&str, usize)], steps: u64) -> anyhow::Result<()> {
        let table: BTreeMap<_, _> = parameters.iter().copied().collect();
        let (name, config) = (self.name, &self.config);
        let plan = serde_json::json!({ "stage": name, "steps": steps, "parameters": table, "config": config });
        self.session.result(&plan, || {
            let list: String = table.iter().map(|(name, n)| format!("#   {name}: {n} parameters\n")).collect();
            format!("# {name}: {steps} steps; nothing was written\n{list}{}", config.to_toml())
        })
    }
}
