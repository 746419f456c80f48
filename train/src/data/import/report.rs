//! What an import did, file by file.

use crate::data::Split;

/// What became of the files of a folder.
#[derive(Debug, Default)]
pub struct ImportReport {
    /// Files that are in the data set now.
    pub imported: Vec<ImportedFile>,
    /// Files that are not.
    pub skipped: Vec<SkippedFile>,
    /// Names in the table of captions that the folder does not hold.
    pub captions_without_file: Vec<String>,
}

/// A file that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedFile {
    /// Its name in the folder.
    pub file: String,
    /// Its caption, normalised.
    pub caption: String,
    /// Clips cut from it.
    pub clips: usize,
    /// The part they belong to.
    pub split: Split,
}

/// A file that was passed over.
#[derive(Debug)]
pub struct SkippedFile {
    /// Its name in the folder.
    pub file: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why a file was passed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// Nothing says what it shows.
    #[error("no caption: neither a line in captions.jsonl or captions.csv nor a text file beside it")]
    NoCaption,
    /// Fewer frames than a clip has.
    #[error("{got} frames, a clip needs {needed}")]
    TooShort {
        /// Source frames that a clip needs.
        needed: usize,
        /// Frames it has.
        got: usize,
    },
    /// It could not be read.
    #[error(transparent)]
    Unreadable(#[from] crate::video::Error),
}

impl std::fmt::Display for ImportReport {
    /// One line a file, then the sums.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for ImportedFile { file, caption, clips, split } in &self.imported {
            writeln!(f, "imported {file}: {clips} {split} clips, `{caption}`")?;
        }
        for SkippedFile { file, reason } in &self.skipped {
            writeln!(f, "skipped {file}: {reason}")?;
        }
        for file in &self.captions_without_file {
            writeln!(f, "missing {file}: it has a caption but is not there")?;
        }
        let clips: usize = self.imported.iter().map(|file| file.clips).sum();
        write!(f, "{clips} clips from {} files, {} files skipped", self.imported.len(), self.skipped.len())
    }
}
