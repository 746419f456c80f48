//! Weights on disk: the [safetensors](https://github.com/huggingface/safetensors) format, read strictly, written
//! crash-safe.
//!
//! A file is eight bytes with the length of a JSON header, the header, and the elements. Checkpoints come from
//! strangers, and a header is easy to forge, so [`SafeTensors::open`] accepts less than the format's own library does:
//! each tensor is named once, starts where the one before it ends, and has exactly the bytes of its shape. What it
//! accepts is bounded ([`MAX_HEADER`], [`MAX_TENSORS`]), so no file can make it allocate more than a small multiple of
//! its own size.
//!
//! [`write()`] gives the same bytes for the same tensors, in whatever order they come: those that the format's own
//! library would write.

mod elements;
mod fault;
mod folder;
mod header;
mod layout;
mod partial;
mod reader;
mod shards;
mod stored;
mod writer;

pub use elements::Elements;
pub use fault::Fault;
pub use folder::{ENCODER_WEIGHTS, INDEX_SUFFIX, WEIGHTS};
pub use layout::{MAX_NAME, MAX_TENSORS};
pub use reader::{Info, SafeTensors};
pub use shards::{Contents, DEFAULT_SHARD, STEM, write_folder};
pub use stored::StoredType;
pub use writer::{write, write_streamed};

/// The longest header that is read or written, in bytes.
pub const MAX_HEADER: u64 = 16 << 20;

/// Bytes that say how long the header is.
const PREFIX: usize = 8;

#[cfg(target_endian = "big")]
compile_error!("safetensors files are little-endian, and elements are copied as they lie");
