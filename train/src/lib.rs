//! Everything that changes weights, and everything around it: data, optimisers, the three stages, evaluation, reports
//! and the command line.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | every switch of every stage, and the files they come from |
//! | [`data`] | worlds (built-in and imported), captions as embeddings |
//! | [`video`] | clips of pixels, and the files they are read from and written to |

pub mod config;
pub mod data;
pub mod video;
