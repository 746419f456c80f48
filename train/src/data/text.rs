//! From captions to text embeddings, without a trained text encoder.
//!
//! Each word has a fixed row of standard normals, drawn from the table's seed and the word's own letters. A row
//! therefore depends on neither the world nor the other words, and since [`normal`] gives the same bits under every
//! instruction set, the same caption has the same embedding on every machine.

use std::collections::BTreeMap;

use flg_kernels::normal::{self, Key};
use flg_kernels::{Out, Runtime};

use super::Error;
use super::draw::stable_hash;

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
    shape: TextShape,
    rows: BTreeMap<String, Vec<f32>>,
    null_row: Vec<f32>,
}

impl TextEncoder {
    /// An encoder for the words of `captions` under a table's `seed`.
    ///
    /// # Errors
    /// [`Error::TooManyWords`] if a caption does not fit `shape`.
    pub fn new<'c>(seed: u64, shape: TextShape, captions: impl IntoIterator<Item = &'c str>) -> Result<Self, Error> {
        let mut rows = BTreeMap::new();
        for caption in captions {
            for word in split(caption, shape)? {
                let row = row(seed, shape.dim, &word)?;
                rows.insert(word, row);
            }
        }
        Ok(Self { shape, rows, null_row: row(seed, shape.dim, NULL_WORD)? })
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
        self.rows.keys().map(String::as_str)
    }

    /// Embeds a caption. Upper and lower case are the same.
    ///
    /// # Errors
    /// [`Error::UnknownWord`] and [`Error::TooManyWords`].
    pub fn embed(&self, caption: &str) -> Result<Embedding, Error> {
        let mut embedding = Vec::with_capacity(self.shape.words * self.shape.dim);
        for word in split(caption, self.shape)? {
            let row = self.rows.get(&word).ok_or_else(|| Error::UnknownWord {
                word,
                caption: caption.to_owned(),
                vocabulary: self.rows.keys().cloned().collect(),
            })?;
            embedding.extend(row);
        }
        self.pad(&mut embedding);
        Ok(embedding)
    }

    /// Embeds the null caption: [`NULL_WORD`] in every place. Classifier-free guidance steers away from it.
    pub fn null(&self) -> Embedding {
        let mut embedding = Vec::new();
        self.pad(&mut embedding);
        embedding
    }

    fn pad(&self, embedding: &mut Embedding) {
        let missing = (self.shape.words * self.shape.dim).saturating_sub(embedding.len());
        embedding.extend(self.null_row.iter().cycle().take(missing));
    }
}

/// A word's row: the start of a stream that its letters name.
fn row(seed: u64, dim: usize, word: &str) -> Result<Vec<f32>, Error> {
    let mut row = vec![0.0; dim];
    let key = Key { seed, stream: stable_hash(word.as_bytes()) };
    normal::normal(&Runtime::portable(), normal::Args { out: Out::F32(&mut row), key, offset: 0 })?;
    Ok(row)
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
        assert_eq!(row[..2].iter().map(|v| v.to_bits()).collect::<Vec<_>>(), [3205296788, 1072792622]);
    }

    #[test]
    fn unknown_words_are_named() {
        let error = encoder(&["a 7 left"]).embed("a 8 left").unwrap_err();
        assert_eq!(error.to_string(), "unknown word `8` in caption `a 8 left`; the words are: 7 a left");
        let error = encoder(&[]).embed("one two three four").unwrap_err();
        assert!(matches!(error, Error::TooManyWords { max: 3, got: 4, .. }));
    }
}
