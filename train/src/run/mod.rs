//! A run on disk: what it was asked to do, what it measured, and where it can go on.
//!
//! ```text
//! RUN/config.resolved.toml     every switch
//!     run.json                 the stage and its input checkpoints, by content
//!     env.json                 the machine
//!     log.jsonl                started, saved, stopped: with the time of day
//!     metrics.jsonl            one line a step, without times: the same bytes however often the run was interrupted
//!     checkpoints/latest       the name of the newest complete checkpoint
//!     checkpoints/step-00001000/
//!         transformer/ ema/ .. networks, as diffusers stores them
//!         optimizer.safetensors, state.json, MANIFEST.json (last)
//!     model/                   what the stage made, as a checkpoint for the next one
//! ```
//!
//! Order makes it crash-safe: a checkpoint gets its name when it is complete and flushed, `latest` moves after that, old
//! checkpoints go after `latest` has moved, and a resumed run first cuts `metrics.jsonl` to what its checkpoint knows.

mod checkpoint;
mod checkpoints;
mod environment;
mod error;
mod folder;
mod guard;
mod interrupt;
mod metrics;

pub use checkpoint::Position;
pub use checkpoints::{Checkpoints, Loaded};
pub use environment::Environment;
pub use error::{Error, Result};
pub use folder::{Input, Record, RunFolder};
pub use guard::{Guard, Rule};
pub use interrupt::{Interrupt, Request};
pub use metrics::MetricsFile;
