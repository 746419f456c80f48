//! Rate and time left, as a bar on a terminal and as a line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::session::Talk;
use crate::method::Metrics;
use crate::trainer::Event;

/// Between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far something is.
#[derive(Debug)]
pub struct Progress {
    talk: Talk,
    title: String,
    bar: ProgressBar,
    began: Instant,
    first: u64,
    last_line: Option<Instant>,
}

impl Progress {
    /// Nothing done of `total` yet.
    pub fn new(talk: Talk, title: &str, total: u64) -> Self {
        let target = if talk == Talk::Bar { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_prefix(title.to_owned());
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len}  {per_sec}  {eta} left  {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        Progress { talk, title: title.to_owned(), bar, began: Instant::now(), first: 0, last_line: None }
    }

    /// `done` of the total were done before now.
    pub fn start_at(&mut self, done: u64) {
        self.first = done;
        self.began = Instant::now();
        self.bar.set_position(done);
        self.bar.reset_eta();
    }

    /// `done` are done; `message` says how it goes.
    pub fn reach(&mut self, done: u64, message: impl FnOnce() -> String) {
        match self.talk {
            Talk::Nothing => {}
            Talk::Bar => {
                self.bar.set_position(done);
                self.bar.set_message(message());
            }
            Talk::Lines => {
                let total = self.bar.length().unwrap_or(done);
                if done < total && self.last_line.is_some_and(|at| at.elapsed() < LINE_EVERY) {
                    return;
                }
                self.last_line = Some(Instant::now());
                let rate = done.saturating_sub(self.first) as f64 / self.began.elapsed().as_secs_f64().max(1e-9);
                let left = total.saturating_sub(done) as f64 / rate;
                let pace = if rate > 0.0 { format!("  {rate:.2}/s  {left:.0}s left") } else { String::new() };
                eprintln!("{} {done}/{total}{pace}  {}", self.title, message());
            }
        }
    }

    /// Shows what a trainer does.
    pub fn observe(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { step, .. } => self.start_at(*step),
            Event::Step { step, metrics } => self.reach(*step, || summary(metrics)),
            Event::Saved { .. } => {}
        }
    }

    /// Leaves the last state on the screen.
    pub fn finish(&self) {
        self.bar.abandon();
    }
}

fn summary(metrics: &Metrics) -> String {
    let parts: Vec<String> = metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    parts.join("  ")
}
