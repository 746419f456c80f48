//! What can be wrong with a file, as data. Each message is one line that names the file and the cause.

use std::io;
use std::path::{Path, PathBuf};

use crate::safetensors::Fault;

/// A file that cannot be read, written or believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system refused an operation: a missing file, no permission, a full disk.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// A folder, pipe or device where a file is needed.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// A JSON file beyond the size that any honest one has.
    #[error("{}: {len} bytes of JSON; at most {limit} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        len: u64,
        /// The most that is read.
        limit: u64,
    },
    /// A file that is not the JSON it should be.
    #[error("{}: {}", path.display(), brief(&cause.to_string()))]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: serde_json::Error,
    },
    /// A member that a JSON object has twice.
    #[error("{}: member \"{}\" twice", path.display(), brief(name))]
    DuplicateMember {
        /// The file.
        path: PathBuf,
        /// The member.
        name: String,
    },
    /// A safetensors file that breaks a rule, or does not hold what was asked for.
    #[error("{}: {fault}", path.display())]
    SafeTensors {
        /// The file.
        path: PathBuf,
        /// The rule.
        fault: Fault,
    },
    /// A folder that holds no weights.
    #[error("{}: neither {}, {} nor an index (*{}) is there", path.display(), crate::safetensors::WEIGHTS, crate::safetensors::ENCODER_WEIGHTS, crate::safetensors::INDEX_SUFFIX)]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that holds weights more than once.
    #[error("{}: {} could all be the weights; keep one", path.display(), candidates.join(", "))]
    AmbiguousWeights {
        /// The folder.
        path: PathBuf,
        /// File names.
        candidates: Vec<String>,
    },
    /// A file that is not as its folder's manifest says. The path is that file's.
    #[error("{}: {fault}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The difference.
        fault: ManifestFault,
    },
}

/// How a file differs from its manifest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestFault {
    /// A manifest of another version of this format.
    #[error("manifest version {got}, expected {expected}")]
    Version {
        /// The version that is understood.
        expected: u32,
        /// The file's.
        got: u32,
    },
    /// An entry that does not name a file inside the folder.
    #[error("entry \"{}\" is not a relative path of plain names", brief(name))]
    EntryName {
        /// The entry.
        name: String,
    },
    /// A listed file that is not there (or is no regular file).
    #[error("listed in the manifest, but not there as a file")]
    Missing,
    /// Something that is neither a file nor a folder, or has a name that is not Unicode: a manifest cannot list it.
    #[error("a manifest lists only regular files with Unicode names")]
    Unlistable,
    /// Another size.
    #[error("{got} bytes, the manifest says {expected}")]
    Size {
        /// Listed size in bytes.
        expected: u64,
        /// Size now.
        got: u64,
    },
    /// Other contents.
    #[error("its contents changed: sha256 {got}, the manifest says {expected}")]
    Hash {
        /// Listed hash, lower-case hexadecimal.
        expected: String,
        /// Hash now.
        got: String,
    },
}

impl FileError {
    /// For `map_err`: the system's answer with what was tried.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
        move |cause| FileError::Io { action, path: path.to_owned(), cause }
    }
}

/// Text from a file as it may stand in a message: one line, no control characters, not megabytes of it.
pub(crate) fn brief(text: &str) -> String {
    const MOST: usize = 120;
    let mut shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push_str("...");
    }
    shown
}
