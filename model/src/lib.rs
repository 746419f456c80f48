//! The Wan video diffusion transformer with its text and image encoders, its schedules and samplers, and checkpoints as
//! diffusers folders.
//!
//! Conventions of this crate: latents are `[b, c, f, h, w]`; a noise level `t` (or sigma) is in 0 to 1, with
//! `x_t = (1 - t) x0 + t noise`; the network predicts the velocity `v = noise - x0` and is told the time `1000 t`.

pub mod arch;
pub mod block_mask;
pub mod checkpoint;
pub mod clip;
pub mod config;
pub mod error;
pub mod extract;
pub mod guidance;
mod parameters;
pub mod sampler;
pub mod schedule;
mod streamed;
pub mod time;
pub mod umt5;
pub mod vae;
pub mod wan;

pub use arch::{ARCHITECTURES, Architecture};
pub use block_mask::BlockMask;
pub use checkpoint::Checkpoint;
pub use clip::ImageEncoder;
pub use config::WanConfig;
pub use error::{Error, Result};
pub use extract::extract;
pub use guidance::Guidance;
pub use schedule::{FewStep, Rule};
pub use streamed::{BlockDone, OnBlock, UNCOUNTED_BYTES};
pub use time::Time;
pub use umt5::TextEncoder;
pub use vae::{Vae, VaeConfig};
pub use wan::{Checkpointing, Inputs, Wan};
