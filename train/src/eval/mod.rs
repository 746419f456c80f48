//! What clips are worth: caption accuracy by a recogniser trained on real clips, distances in its features, motion,
//! diversity, and measured time, with intervals.
//!
//! An [`Evaluator`] fixes captions, noise, real clips and bootstrap resamples; every way of sampling becomes a [`Row`]
//! on the same ones, and [`table()`] prints them. Clips are judged as they are shown: as pixels within 0 to 1.

pub mod architecture;
mod bundled;
pub mod diversity;
mod error;
mod evaluator;
mod features;
mod figures;
pub mod frechet;
pub mod kernel_distance;
pub mod motion;
mod network;
mod prompts;
mod row;
mod spectrum;
mod table;
mod timing;
mod training;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use evaluator::{Evaluator, OnProgress};
pub use figures::Figures;
pub use network::{EvalNetwork, Seen};
pub use row::{Condition, Cost, Row, SamplerSpec};
pub use table::{differences, table};
pub use training::Accuracy;
