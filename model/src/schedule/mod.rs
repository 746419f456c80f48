//! Noise levels and the rules that step between them.
//!
//! `sigma` (or `t`) is a noise level in 0 to 1, `x_t = (1 - t) x0 + t noise`; the time that a network is told is
//! `1000 sigma`.

pub mod euler;
pub mod few_step;
pub mod flow;
pub mod unipc;

pub use euler::Euler;
pub use few_step::{FewStep, Rule};
pub use unipc::UniPc;

use crate::{Error, Result};

/// Network time at noise level 1.
pub const TRAIN_STEPS: f32 = 1000.0;

/// Errors unless a schedule of this many steps with this shift can be made.
fn check(steps: usize, shift: f64) -> Result<()> {
    if !(1..=100_000).contains(&steps) {
        return Err(Error::Schedule { reason: "steps must be 1 to 100000", value: steps.to_string() });
    }
    if !(shift.is_finite() && shift > 0.0) {
        return Err(Error::Schedule { reason: "shift must be above 0", value: shift.to_string() });
    }
    Ok(())
}
