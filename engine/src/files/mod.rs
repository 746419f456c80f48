//! Files that survive a crash, and the proof that they did.
//!
//! A checkpoint is written once and believed for weeks. So every file appears under its name complete or not at all
//! ([`write_atomic`]), a folder of files is complete exactly when its [`manifest`] is there, and the manifest's hashes
//! tell a later reader which file a disk or a copy has damaged.

pub mod atomic;
pub mod error;
pub mod json;
pub mod manifest;

pub use atomic::{sync_folder, write_atomic};
pub use error::{FileError, ManifestFault};
pub use json::{read_json, write_json};
