//! Clips of pixels.

mod clip;
mod error;

pub use clip::{Clip, Geometry};
pub use error::Error;
