//! From a prompt to frames with a published checkpoint: text encoder, transformer and autoencoder, one after the other,
//! each in no more memory than there is.

mod decode;
mod denoise;
mod encode;
mod error;
mod image;
mod journal;
mod latents;
mod parts;
mod plan;
mod text;
mod tiles;
mod variant;

pub use decode::{Pixels, View};
pub use denoise::{Denoising, Given, OnReached, Reached};
pub use encode::{Doing, Encoding};
pub use error::Error;
pub use image::{ImageConditions, Images, OnPart};
pub use journal::Journal;
pub use latents::Latents;
pub use parts::Parts;
pub use plan::{Phase, Residence, Views, phases};
pub use text::{Prompts, TEXT_ROWS};
pub use variant::{Enters, Extents, FRAMES, Variant};
