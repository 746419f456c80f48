//! Stage I: what each block is worth, and which ones to remove.
//!
//! One block alone is skipped; how much worse does the one-step denoising of real clips get? By Tweedie's formula the
//! clean estimate is `D = x_t - t v`, so errors of `v`, of `D` and of the noise are one error under different weights of
//! the time, and the evidence lower bound is one of them. All masks see the same clips, noise and times.
//!
//! [`measure`] makes the table of errors, [`importance`] turns it into scores with intervals, [`select`] chooses.

pub mod importance;
pub mod measure;
pub mod plot;
pub mod report;
pub mod select;
pub mod statistics;

pub use importance::{Importance, Score};
pub use measure::{Draws, Measured};
pub use report::Audit;

use flg_engine::ParamStore;
use flg_model::Wan;

use crate::config::AuditConfig;
use crate::error::Result;
use crate::methods::Setup;

/// Audits a network: measures every block alone, ranks, chooses a set.
///
/// `progress` is called with blocks evaluated so far and in all.
///
/// # Errors
/// A world without held-out clips; a network of another geometry; more blocks to remove than may be.
pub fn audit(
    setup: &Setup,
    (wan, weights): (&Wan, &ParamStore),
    config: &AuditConfig,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Audit> {
    let layers = wan.config().num_layers;
    let removals = config.removals(layers)?;
    let draws = Draws::new(setup, config);
    let measured = measure::each_block(&draws, wan, weights, progress)?;
    let importance = Importance::new(&measured, config, setup.seed);
    let choice = select::choose(&draws, (wan, weights), &importance, config, setup.seed, removals)?;
    Ok(Audit::new(config, &importance, choice, measured.clips()))
}

/// Does what an audit holds most memory for, on a few clips: all that a dry device needs to see.
///
/// # Errors
/// As [`audit`].
pub fn rehearse(setup: &Setup, (wan, weights): (&Wan, &ParamStore), config: &AuditConfig) -> Result<()> {
    config.removals(wan.config().num_layers)?;
    let draws = Draws::new(setup, config);
    measure::each_block(&draws.first(config.batch), wan, weights, &mut |_, _| {}).map(drop)
}
