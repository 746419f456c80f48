//! What the data modules refuse, as data.

use std::path::PathBuf;

use super::encoded::{EncodedCause, Misfit};
use super::{DatasetCause, ImportReport, Split};

/// A data set, caption or shape that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither a built-in world nor a data set.
    #[error("`{name}` is neither a built-in world ({}) nor the folder of a data set", known.join(", "))]
    UnknownWorld {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<&'static str>,
    },
    /// A world has no clips in a part.
    #[error("world `{world}` has no clips in its {split} part")]
    EmptySplit {
        /// The world.
        world: String,
        /// The part.
        split: Split,
    },
    /// A caption uses a word that the world does not know.
    #[error("unknown word `{word}` in caption `{caption}`; the words are: {}", vocabulary.join(" "))]
    UnknownWord {
        /// The word.
        word: String,
        /// The whole caption.
        caption: String,
        /// Every known word.
        vocabulary: Vec<String>,
    },
    /// A caption has more words than the text encoder has places.
    #[error("caption `{caption}` has {got} words; at most {max} fit")]
    TooManyWords {
        /// The caption.
        caption: String,
        /// Words that fit.
        max: usize,
        /// Words it has.
        got: usize,
    },
    /// Pixels do not vary, so that they cannot be scaled to unit variance.
    #[error("the pixels have mean {mean} and no variance: there is nothing to learn in them")]
    NoVariance {
        /// Their common value.
        mean: f64,
    },
    /// The embeddings could not be computed.
    #[error(transparent)]
    Kernel(#[from] flg_kernels::Error),
    /// A folder has two tables of captions, which may disagree.
    #[error("{folder} has both captions.jsonl and captions.csv: keep one")]
    TwoCaptionTables {
        /// The folder.
        folder: PathBuf,
    },
    /// A line of a table of captions is wrong.
    #[error("{path}, line {line}: {why}")]
    CaptionLine {
        /// The table.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A data set is never written over something.
    #[error("{path} exists already: choose another name or remove it first")]
    TargetExists {
        /// What exists.
        path: PathBuf,
    },
    /// No file of a folder could be used.
    #[error("nothing in {folder} could be imported:\n{report}")]
    NothingImported {
        /// The folder.
        folder: PathBuf,
        /// Why, file by file.
        report: Box<ImportReport>,
    },
    /// A data set's file cannot be read or written.
    #[error("{path}: {cause}")]
    Dataset {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: DatasetCause,
    },
    /// An encoded data set, or a file of one, cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Encoded {
        /// The file, or the set's folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: EncodedCause,
    },
    /// An encoded data set is not for this network.
    #[error("data set `{}` is not for this network: {cause}", folder.display())]
    Misfit {
        /// The set.
        folder: PathBuf,
        /// Why.
        #[source]
        cause: Misfit,
    },
    /// Something that needs pixels was asked of a set of latents.
    #[error("data set `{}` holds latents, and {what} needs pixels", folder.display())]
    NoPixels {
        /// The set.
        folder: PathBuf,
        /// What was asked for.
        what: &'static str,
    },
    /// A folder cannot be listed or made.
    #[error("{path}: {source}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A clip could not be held, read or written.
    #[error(transparent)]
    Video(#[from] crate::video::Error),
}
