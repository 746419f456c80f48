//! Everything that changes weights, and everything around it: data, optimisers, the three stages, evaluation, reports
//! and the command line.
//!
//! | module | what it holds |
//! |---|---|
//! | [`audit`] | Stage I: what each block is worth |
//! | [`mod@bench`] | what `flg bench` times |
//! | [`cli`] | the command line |
//! | [`condition`] | what a network is told beside noisy latents |
//! | [`config`] | every switch of every stage, and the files they come from |
//! | [`data`] | worlds (built-in and imported), captions as embeddings, encoded data sets |
//! | [`demo`] | the whole pipeline, one stage after the other |
//! | [`export`] | what a stage leaves behind for the next one |
//! | [`generate`] | from captions to clips |
//! | [`eval`] | what clips are worth: accuracy, distances, motion, diversity, time |
//! | [`method`] | what an algorithm is: one step, and a state that can be saved |
//! | [`methods`] | flow matching, pruning, distillation |
//! | [`optim`] | AdamW, Muon, clipping, moving averages |
//! | [`rehearsal`] | what a command will hold in memory |
//! | [`pipeline`] | from a prompt to frames with a published checkpoint |
//! | [`report`] | `summary.json` and `report.html` |
//! | [`run`] | the run folder: checkpoints, metrics, guard |
//! | [`trainer`] | the loop around every method |
//! | [`video`] | clips of pixels, and the files they are read from and written to |

pub mod audit;
pub mod bench;
pub mod cli;
pub mod condition;
pub mod config;
pub mod data;
pub mod demo;
pub mod error;
pub mod eval;
pub mod export;
pub mod generate;
pub mod levels;
pub mod method;
pub mod methods;
pub mod optim;
pub mod perturb;
pub mod pipeline;
pub mod rehearsal;
pub mod report;
pub mod run;
pub mod task;
pub mod trainer;
pub mod video;

pub use error::{Error, Result};
