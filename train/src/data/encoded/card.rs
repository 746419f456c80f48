//! What a checkpoint says of the encoded data set that it was made with.

use std::path::{Path, PathBuf};

use flg_engine::files::{read_json, write_json};
use serde::{Deserialize, Serialize};

use super::{Encoded, Form};
use crate::Result;

/// The card's file in a checkpoint's folder.
pub const ENCODED_CARD: &str = "flg_encoded.json";

/// A set, by where it was and what identifies it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncodedCard {
    /// Its folder.
    pub folder: PathBuf,
    /// The hash of its manifest.
    pub sha256: String,
    /// Extents of its clips, and what made them.
    pub form: Form,
}

impl EncodedCard {
    /// The card of a set.
    pub fn of(set: &Encoded) -> Self {
        // The next stage may run elsewhere.
        let folder = set.folder().canonicalize().unwrap_or_else(|_| set.folder().to_owned());
        EncodedCard { folder, sha256: set.sha256().to_owned(), form: set.form().clone() }
    }

    /// Reads the card of a checkpoint's folder, or of the run that it belongs to; none if there is none.
    ///
    /// # Errors
    /// A file that is not a card.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        // A run's checkpoints, and the networks in them, lie at most three folders below the run's card.
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let mut paths = folder.ancestors().take(4).map(|folder| folder.join(ENCODED_CARD));
        paths.find(|path| path.is_file()).map(|path| Ok(read_json(path)?)).transpose()
    }

    /// Writes the card into a checkpoint's folder.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn write(&self, folder: &Path) -> Result<()> {
        Ok(write_json(folder.join(ENCODED_CARD), self)?)
    }
}
