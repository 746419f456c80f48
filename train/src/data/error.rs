//! What the data modules refuse, as data.

use super::Split;

/// A data set, caption or shape that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No built-in world has this name.
    #[error("no built-in world is called `{name}`; there are: {}", known.join(", "))]
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
    /// A clip could not be held, read or written.
    #[error(transparent)]
    Video(#[from] crate::video::Error),
}
