//! From a prompt to frames with a published checkpoint: text encoder, transformer and autoencoder, one after the other,
//! each in no more memory than there is.

mod denoise;
mod error;
mod plan;
mod variant;

pub use denoise::{Denoising, Given, OnReached, Reached};
pub use error::Error;
pub use plan::{Phase, Residence};
pub use variant::{Enters, Extents, FRAMES, Variant};
