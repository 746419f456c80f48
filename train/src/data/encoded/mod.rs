//! Encoded data sets: clips as the latents that a network sees, captions as the embeddings that it reads, computed once.
//!
//! A folder:
//!
//! ```text
//! encoded.json             the manifest; written last, so that a folder with one is complete
//! encoding.json            what is being encoded, while that goes on
//! null.safetensors         the embedding of the empty caption
//! texts/000000.safetensors the embedding of a caption, without the zeros that fill its last rows
//! clips/000000.safetensors a clip: `latents`, and what an image-to-video network needs, `image` and `channels`
//! ```
//!
//! Latents are normalised as the network sees them, `(z - mean) / std`. Files are written one by one, each as a whole, so
//! that an interrupted [`EncodedWriter`] goes on with what is there; they are mapped when a clip is drawn, so that a set
//! may be larger than memory.

mod card;
mod error;
mod fit;
mod form;
mod manifest;
mod set;
mod writer;

#[cfg(test)]
mod tests;

pub use card::{ENCODED_CARD, EncodedCard};
pub use error::{EncodedCause, Misfit};
pub use fit::fits;
pub use form::{Encoders, Form, ImageForm, StoredAs};
pub use set::{Encoded, EncodedClip};
pub use writer::{ClipTensors, EncodedWriter, NewClip};

use std::path::Path;

/// The manifest.
pub const MANIFEST: &str = "encoded.json";
/// What an interrupted writer goes on with.
const PLAN: &str = "encoding.json";
/// The embedding of the empty caption.
const NULL: &str = "null.safetensors";
/// The folder of captions, and that of clips.
const TEXTS: &str = "texts";
const CLIPS: &str = "clips";

/// Names of tensors.
const EMBEDDING: &str = "embedding";
const LATENTS: &str = "latents";
const IMAGE: &str = "image";
const CHANNELS: &str = "channels";

/// Names of texts beside the tensors.
const CAPTION: &str = "caption";
const NAME: &str = "name";
const SPLIT: &str = "split";

/// The most clips of a set: their list stays a file that is read at once.
pub const MAX_CLIPS: usize = 50_000;
/// The most elements of a tensor of a clip: 1 GiB as f32.
pub const MAX_ELEMENTS: usize = 1 << 28;
/// The longest caption or name of a clip, in bytes.
pub const MAX_TEXT: usize = 1 << 14;

/// Whether a folder is an encoded data set, complete or begun.
pub fn is_encoded(folder: &Path) -> bool {
    folder.join(MANIFEST).is_file() || folder.join(PLAN).is_file()
}
