//! Everything that changes weights, and everything around it: data, optimisers, the three stages, evaluation, reports
//! and the command line.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | every switch of every stage, and the files they come from |
//! | [`data`] | worlds (built-in and imported), captions as embeddings |
//! | [`method`] | what an algorithm is: one step, and a state that can be saved |
//! | [`run`] | the run folder: checkpoints, metrics, guard |
//! | [`trainer`] | the loop around every method |
//! | [`video`] | clips of pixels, and the files they are read from and written to |

pub mod config;
pub mod data;
pub mod error;
pub mod method;
pub mod run;
pub mod trainer;
pub mod video;

pub use error::{Error, Result};
