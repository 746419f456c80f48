//! The loop around every [`Method`]: logging, checkpoints, resuming, stopping.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::config::RunConfig;
use crate::method::{Method, Metrics};
use crate::run::{Checkpoints, Guard, Interrupt, Loaded, MetricsFile, Position, Rule, RunFolder};

/// How long to run and how to look after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Steps in all, those of earlier parts of the run included.
    pub steps: u64,
    /// Steps between checkpoints; 0 saves only at the end.
    pub save_every: u64,
    /// Checkpoints kept.
    pub keep: usize,
    /// When the loss counts as exploded.
    pub guard: Rule,
}

impl Plan {
    /// The plan of a configuration, for this many steps.
    pub fn new(config: &RunConfig, steps: u64) -> Self {
        let guard = Rule { window: config.guard_window, factor: config.guard_factor };
        Plan { steps, save_every: config.save_every, keep: config.keep, guard }
    }

    fn saves_after(&self, step: u64) -> bool {
        step == self.steps || (self.save_every > 0 && step.is_multiple_of(self.save_every))
    }
}

/// Where a run begins.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// At step 0, with the method as it is.
    Fresh,
    /// With the checkpoint in this folder.
    Checkpoint(&'a Path),
    /// With a checkpoint that the method was filled with.
    Loaded(Loaded),
}

/// How a run ended, if nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// It was asked to stop after this many steps, and a checkpoint says where.
    Interrupted {
        /// Steps done.
        step: u64,
    },
}

/// What an observer hears of.
#[derive(Debug)]
pub enum Event<'a> {
    /// The loop begins after `step` steps.
    Started {
        /// Steps done before.
        step: u64,
        /// Steps in all.
        steps: u64,
    },
    /// A step was done.
    Step {
        /// Steps done.
        step: u64,
        /// What it measured.
        metrics: &'a Metrics,
    },
    /// A checkpoint is on the disk.
    Saved {
        /// Steps done.
        step: u64,
        /// Its folder.
        path: PathBuf,
    },
}

/// Runs methods in a run folder.
#[derive(Debug)]
pub struct Trainer<'a> {
    /// Where everything is written.
    pub folder: &'a RunFolder,
    /// How long.
    pub plan: Plan,
    /// Asked between steps.
    pub interrupt: &'a Interrupt,
}

impl Trainer<'_> {
    /// Runs `method` to the end of the plan, or until it is interrupted.
    ///
    /// # Errors
    /// Whatever the method refuses; metrics that are not finite or a loss that exploded, with the last good checkpoint
    /// kept; the system's refusals. The run can be resumed from its latest checkpoint after any of them.
    pub fn run(
        &self,
        method: &mut dyn Method,
        start: Start<'_>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome> {
        let checkpoints = self.folder.checkpoints();
        let loaded = match start {
            Start::Fresh => None,
            Start::Checkpoint(path) => Some(checkpoints.load(path, method)?),
            Start::Loaded(loaded) => Some(loaded),
        };
        let position = loaded.map_or(Position { step: 0, metrics_bytes: 0 }, |loaded| loaded.position);
        let saved_at = loaded.filter(|loaded| loaded.owned).map(|_| position.step);
        // What a process that was killed while saving left behind.
        checkpoints.trim(self.plan.keep, position.step)?;
        let mut metrics = MetricsFile::open_at(&self.folder.metrics(), position.metrics_bytes)?;
        let guard = Guard::new(self.plan.guard, metrics.losses()?);
        self.folder.log("started", position.step, method.name())?;
        observe(Event::Started { step: position.step, steps: self.plan.steps });
        let mut progress = Progress { step: position.step, saved_at, checkpoints, metrics, guard };
        let outcome = self.steps(method, &mut progress, observe);
        let (event, detail) = match &outcome {
            Ok(Outcome::Finished) => ("finished", String::new()),
            Ok(Outcome::Interrupted { .. }) => ("interrupted", String::new()),
            Err(error) => ("stopped", error.to_string()),
        };
        // When the disk is full this fails too, and the first error is the one to report.
        let logged = self.folder.log(event, progress.step, &detail);
        let outcome = outcome?;
        logged?;
        Ok(outcome)
    }

    fn steps(&self, method: &mut dyn Method, at: &mut Progress, observe: &mut dyn FnMut(Event<'_>)) -> Result<Outcome> {
        while at.step < self.plan.steps {
            if self.interrupt.is_raised() {
                self.save(method, at, observe)?;
                return Ok(Outcome::Interrupted { step: at.step });
            }
            let metrics = method.step(at.step)?;
            at.metrics.append(at.step, &metrics)?;
            at.guard.check(method.name(), at.step, &metrics)?;
            at.step += 1;
            observe(Event::Step { step: at.step, metrics: &metrics });
            if self.plan.saves_after(at.step) {
                self.save(method, at, observe)?;
            }
        }
        self.save(method, at, observe)?;
        Ok(Outcome::Finished)
    }

    /// Saves unless this step is saved already.
    fn save(&self, method: &dyn Method, at: &mut Progress, observe: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        if at.saved_at == Some(at.step) {
            return Ok(());
        }
        let position = Position { step: at.step, metrics_bytes: at.metrics.flushed()? };
        let path = at.checkpoints.save(method, position)?;
        at.saved_at = Some(at.step);
        at.checkpoints.trim(self.plan.keep, at.step)?;
        self.folder.log("saved", at.step, &path.display().to_string())?;
        observe(Event::Saved { step: at.step, path });
        Ok(())
    }
}

/// Where a running loop is.
struct Progress {
    step: u64,
    saved_at: Option<u64>,
    checkpoints: Checkpoints,
    metrics: MetricsFile,
    guard: Guard,
}

#[cfg(test)]
mod tests;
