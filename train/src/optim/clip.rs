//! Gradient clipping by global norm.

use flg_engine::{Grads, Result};

/// What clipping found.
#[derive(Clone, Copy, Debug)]
pub struct Clipped {
    /// The norm before clipping.
    pub norm: f64,
    /// What to multiply gradients with: 1, or less.
    pub scale: f64,
}

/// The factor that brings the Euclidean norm over all gradients to at most `max`; 0 turns clipping off. Not finite where a gradient is not:
/// the caller stops before it updates anything.
///
/// # Errors
/// None of the caller's making.
pub fn clip(grads: &Grads, max: f64) -> Result<Clipped> {
    let norm = grads.norm()?;
    Ok(Clipped { norm, scale: if max == 0.0 || norm <= max { 1.0 } else { max / norm } })
}
