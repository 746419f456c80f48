//! From captions to text embeddings, without a trained text encoder.
//!
//! Each word has a fixed random row, drawn from the table's seed and the word's own letters. A row therefore depends on
//! neither the world nor the other words, and the same caption has the same embedding on every machine. Models that come
//! with a text encoder of their own do not use this table.

use std::collections::BTreeSet;

use super::Error;
use super::draw::{Draws, SampleKey, stable_hash};

/// The word that fills the places after a caption's last word, and every place of the null caption.
///
/// No caption can contain it: captions are split at spaces.
pub const NULL_WORD: &str = "<empty>";

/// Extents of a text embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextShape {
    /// Places for words; shorter captions are padded with [`NULL_WORD`].
    pub words: usize,
    /// Width of a word's row.
    pub dim: usize,
}

/// An embedded caption, `[words, dim]`.
pub type Embedding = Vec<f32>;

/// Embeds the captions of a world, and refuses words that the world does not have.
#[derive(Debug, Clone)]
pub struct TextEncoder {
    seed: u64,
    shape: TextShape,
    vocabulary: BTreeSet<String>,
}

impl TextEncoder {
    /// An encoder for the words of `captions` under a table's `seed`.
    ///
    /// # Errors
    /// [`Error::TooManyWords`] if a caption does not fit `shape`.
    pub fn new<'c>(seed: u64, shape: TextShape, captions: impl IntoIterator<Item = &'c str>) -> Result<Self, Error> {
        let mut vocabulary = BTreeSet::new();
        for caption in captions {
            vocabulary.extend(split(caption, shape)?);
        }
        Ok(Self { seed, shape, vocabulary })
    }

    /// The most words in any of `captions`: the smallest [`TextShape::words`] that holds them all.
    pub fn longest<'c>(captions: impl IntoIterator<Item = &'c str>) -> usize {
        captions.into_iter().map(|c| c.split_whitespace().count()).max().unwrap_or(0)
    }

    /// Extents of every embedding.
    pub fn shape(&self) -> TextShape {
        self.shape
    }

    /// The words, in alphabetical order.
    pub fn vocabulary(&self) -> impl Iterator<Item = &str> {
        self.vocabulary.iter().map(String::as_str)
    }

    /// Embeds a caption. Upper and lower case are the same.
    ///
    /// # Errors
    /// [`Error::UnknownWord`] and [`Error::TooManyWords`].
    pub fn embed(&self, caption: &str) -> Result<Embedding, Error> {
        let words = split(caption, self.shape)?;
        if let Some(word) = words.iter().find(|w| !self.vocabulary.contains(*w)) {
            return Err(Error::UnknownWord {
                word: word.clone(),
                caption: caption.to_owned(),
                vocabulary: self.vocabulary.iter().cloned().collect(),
            });
        }
        Ok(self.rows(words.iter().map(String::as_str)))
    }

    /// Embeds the null caption: [`NULL_WORD`] in every place. Classifier-free guidance steers away from it.
    pub fn null(&self) -> Embedding {
        self.rows([])
    }

    fn rows<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Embedding {
        let padding = std::iter::repeat(NULL_WORD);
        words.into_iter().chain(padding).take(self.shape.words).flat_map(|word| self.row(word)).collect()
    }

    fn row(&self, word: &str) -> impl Iterator<Item = f32> {
        let key = SampleKey { seed: self.seed, stream: 0, index: stable_hash(word.as_bytes()) };
        let mut draws = Draws::new("word", key);
        (0..self.shape.dim).map(move |_| draws.normal())
    }
}

fn split(caption: &str, shape: TextShape) -> Result<Vec<String>, Error> {
    let words: Vec<String> = caption.split_whitespace().map(str::to_lowercase).collect();
    if words.len() > shape.words {
        return Err(Error::TooManyWords { caption: caption.to_owned(), max: shape.words, got: words.len() });
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: TextShape = TextShape { words: 3, dim: 5 };

    fn encoder(captions: &[&str]) -> TextEncoder {
        TextEncoder::new(11, SHAPE, captions.iter().copied()).unwrap()
    }

    #[test]
    fn a_row_depends_on_the_word_alone() {
        let (a, b) = (encoder(&["red ball"]), encoder(&["a ball", "other"]));
        let (in_a, in_b) = (a.embed("Red BALL").unwrap(), b.embed("ball").unwrap());
        assert_eq!(in_a.len(), 15);
        assert_eq!(in_a[5..10], in_b[..5]);
        assert_ne!(in_a[..5], in_a[5..10]);
        // The padding and the null caption are the same word.
        assert_eq!(in_b[5..], a.null()[5..]);
        assert_eq!(a.null()[..5], a.null()[10..]);
    }

    #[test]
    fn the_table_is_pinned() {
        // Checkpoints depend on these bits: a change here makes every trained model deaf.
        let row = encoder(&["left"]).embed("left").unwrap();
        assert_eq!(row[..2].iter().map(|v| v.to_bits()).collect::<Vec<_>>(), [1068833765, 3205101837]);
    }

    #[test]
    fn unknown_words_are_named() {
        let error = encoder(&["a 7 left"]).embed("a 8 left").unwrap_err();
        assert_eq!(error.to_string(), "unknown word `8` in caption `a 8 left`; the words are: 7 a left");
        let error = encoder(&[]).embed("one two three four").unwrap_err();
        assert!(matches!(error, Error::TooManyWords { max: 3, got: 4, .. }));
    }
}
