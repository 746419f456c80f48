//! Where clips and captions come from.

use super::range::count;
use super::{Error, Result};

/// The data set and its text table.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A built-in world (`digits`, `counter`), or the folder of an imported one or of an encoded data set.
    pub world: String,
    /// Seed of the table that turns words into embeddings. It belongs to a model like its weights do.
    pub text_seed: u64,
    /// Rows of a text embedding: the longest caption that fits, in words.
    pub words: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { world: "digits".to_owned(), text_seed: 0, words: 4 }
    }
}

impl DataConfig {
    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::Range`].
    pub fn check(&self) -> Result<()> {
        if self.world.is_empty() {
            return Err(Error::Range {
                key: "data.world".to_owned(),
                got: "empty".to_owned(),
                allowed: "the name of a world or a folder".to_owned(),
            });
        }
        count("data.text_seed", self.text_seed).within(0.0, i64::MAX as f64)?;
        count("data.words", self.words).within(1.0, 512.0)
    }
}
