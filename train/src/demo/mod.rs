//! The whole pipeline, one stage after the other, and what came of it.
//!
//! Each stage has a run folder of its own in the demo's folder, laid out as when it runs alone. A stage that is done is
//! not done again, one that was interrupted goes on from its latest checkpoint, so a demo resumes wherever it stopped.
//!
//! | folder | what is in it |
//! |---|---|
//! | `train` | the teacher, where it was trained anew |
//! | `audit`, `prune`, `distill` | the three stages |
//! | `distill-all-blocks` | Stage III without the others, as a control |
//! | `clips` | what the page shows |

mod lines;
mod measure;
mod showcase;
mod stage;
mod stages;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use flg_engine::files::{write_atomic, write_json};
use flg_model::{Checkpoint, WanConfig};

use crate::config::Config;
use crate::data::Card;
use crate::methods::Setup;
use crate::report::{self, Figures, Summary};
use crate::run::{Environment, Input, Interrupt};
use crate::trainer::Event;

/// The file of the configuration in the demo's folder.
pub const CONFIG: &str = "config.resolved.toml";

/// Where the teacher comes from.
#[derive(Debug)]
pub enum Teacher {
    /// Trained before.
    Given {
        /// The network.
        checkpoint: Box<Checkpoint>,
        /// What identifies it.
        input: Input,
    },
    /// Trained as the first stage, with this architecture.
    FromScratch(WanConfig),
}

/// A demo to run.
#[derive(Debug)]
pub struct Demo<'a> {
    /// What the page calls it.
    pub name: String,
    /// Whether its figures mean something.
    pub figures: Figures,
    /// Every switch of every stage.
    pub config: Config,
    /// World, seed, precision.
    pub setup: Setup,
    /// What the networks know of the world.
    pub card: Card,
    /// Where the teacher comes from.
    pub teacher: Teacher,
    /// Where everything is written.
    pub out: &'a Path,
    /// Asked between steps.
    pub interrupt: &'a Interrupt,
}

/// Who is told how far the demo is.
pub trait Watch {
    /// Something of `total` steps begins; it ends what was before.
    fn begin(&mut self, title: &str, total: u64);
    /// So many of them are done.
    fn reach(&mut self, done: u64);
    /// A trainer's news, between two calls of [`Watch::begin`].
    fn event(&mut self, event: &Event<'_>);
}

/// Why a demo ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// A stage failed.
    #[error(transparent)]
    Failed(#[from] crate::Error),
    /// It was asked to stop.
    #[error("interrupted in {stage}; go on with `--resume latest`")]
    Interrupted {
        /// What was being done.
        stage: String,
        /// Steps of it that are saved.
        step: u64,
    },
}

/// Wall-clock times of the parts.
#[derive(Debug, Default)]
struct Clock {
    seconds: BTreeMap<String, f64>,
}

impl Clock {
    fn time<T>(&mut self, part: &str, work: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
        let began = Instant::now();
        let done = work();
        self.seconds.insert(part.to_owned(), began.elapsed().as_secs_f64());
        done
    }
}

impl Demo<'_> {
    /// Runs or resumes the demo, and writes `summary.json` and `report.html`.
    ///
    /// # Errors
    /// [`Stop`]: what a stage refuses, or a request to stop. What was done is kept.
    pub fn run(&self, watch: &mut dyn Watch) -> Result<Summary, Stop> {
        let (mut clock, began) = (Clock::default(), Instant::now());
        self.describe()?;
        let (teacher, input) = clock.time("teacher", || self.teacher(watch))?;
        let audit = clock.time("audit", || self.audit((&teacher, &input), watch))?;
        let (pruned, choice) = clock.time("prune", || self.prune((&teacher, &input), &audit, watch))?;
        let student = clock.time("distill", || self.distill(&pruned, &choice, watch))?;
        let control = clock.time("distill, all blocks", || self.distill_all((&teacher, &input), watch))?;

        let networks = lines::Networks::new(teacher, pruned, &choice, student, control)?;
        let validation = clock.time("validation", || Ok(self.validation(&networks, &choice)?))?;
        clock.time("clips of the page", || Ok(self.showcase(&networks)?))?;
        let table = clock.time("evaluation", || self.measure(&networks, watch))?;
        clock.seconds.insert("in all".to_owned(), began.elapsed().as_secs_f64());

        let summary = table.summary(self, validation, audit, clock.seconds);
        write_json(self.out.join(report::SUMMARY), &summary).map_err(crate::Error::from)?;
        report::page::of_demo(self.out)?;
        Ok(summary)
    }

    /// Writes down what is about to be done, and where.
    fn describe(&self) -> crate::Result<()> {
        std::fs::create_dir_all(self.out).map_err(crate::run::Error::io("make", self.out))?;
        let text = self.config.to_toml();
        write_atomic(self.out.join(CONFIG), |out| out.write_all(text.as_bytes()))?;
        Ok(write_json(self.out.join("env.json"), &self.environment())?)
    }

    fn environment(&self) -> Environment {
        Environment::here(format!("{:?}", self.setup.task.device().runtime()))
    }

    /// Whether Ctrl-C came while something without steps was done.
    fn require_going(&self, stage: &str) -> Result<(), Stop> {
        if self.interrupt.is_raised() {
            return Err(Stop::Interrupted { stage: stage.to_owned(), step: 0 });
        }
        Ok(())
    }
}
