//! T5's tokenizer: a `tokenizer.json` of Hugging Face's `tokenizers`, as far as models of this family use it.
//!
//! Text is split at the added tokens, normalised, split into words, and each word into the most probable pieces of a
//! vocabulary. The crate `tokenizers` does the same for every kind of model; with the 256 thousand pieces of umt5 it
//! takes 600 MiB for it, more than the encoder does, and this 50 MiB while it reads the file. `tests/fixtures/tokenizer`
//! holds what that crate makes of a small vocabulary.

mod added;
mod charsmap;
mod normalizer;
mod unigram;
mod words;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flg_engine::FileError;
use serde::Deserialize;
use serde_json::Value;

use self::added::{Added, AddedToken, Part};
use self::normalizer::Normalizer;
use self::unigram::Unigram;
use self::words::Words;
use crate::{Error, Result};

/// The file, in the folder `tokenizer` of a pipeline.
pub const FILE: &str = "tokenizer.json";
/// The largest file that is read, in bytes. That of umt5 has 17 MB.
const MAX_FILE: u64 = 128 << 20;
/// What ends every prompt.
const END: &str = "</s>";

/// What is wrong with a `tokenizer.json`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No JSON of the expected form.
    #[error("tokenizer: {0}")]
    Json(#[from] serde_json::Error),
    /// A part of a kind that no tokenizer of this family has.
    #[error("tokenizer: {part} \"{kind}\" is not supported")]
    Unsupported {
        /// `model`, `normalizer`, `pre_tokenizer` or `added token`.
        part: &'static str,
        /// Its kind, in the file's words.
        kind: String,
    },
    /// A map of characters that is not one.
    #[error("tokenizer: precompiled_charsmap: {reason}")]
    Charsmap {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A vocabulary that cannot be used.
    #[error("tokenizer: vocabulary: {reason}")]
    Vocabulary {
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// A tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    added: Added,
    normalizer: Normalizer,
    words: Words,
    unigram: Unigram,
    end: usize,
}

#[derive(Deserialize)]
struct Json {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    model: unigram::Model,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// A file that cannot be read or is too large; [`Fault`]. Both name the file.
    pub fn read(path: &Path) -> Result<Tokenizer> {
        let text = read_bounded(path).map_err(flg_engine::Error::from)?;
        Tokenizer::from_json(&text).map_err(|fault| Error::Tokenizer(fault).in_file(path))
    }

    /// Reads the text of a `tokenizer.json`. Its truncation, padding and template are not looked at: they are T5's.
    ///
    /// # Errors
    /// What is no JSON, or of a kind that this family does not have.
    pub fn from_json(text: &[u8]) -> Result<Tokenizer, Fault> {
        let Json { added_tokens, normalizer, pre_tokenizer, model } = serde_json::from_slice(text)?;
        let normalizer = Normalizer::from_value(normalizer.as_ref())?;
        let words = Words::from_value(pre_tokenizer.as_ref())?;
        let unigram = Unigram::new(model)?;
        let added = Added::new(added_tokens, &normalizer)?;
        let end = added.id(END).or_else(|| unigram.id(END));
        let end = end.ok_or(Fault::Vocabulary { reason: "it has no </s>" })?;
        Ok(Tokenizer { added, normalizer, words, unigram, end })
    }

    /// The tokens of a text: at most `limit` (at least 1), the last of them `</s>`; what is too long loses its end.
    pub fn encode(&self, text: &str, limit: usize) -> Vec<usize> {
        let mut tokens = Vec::new();
        let mut first = true;
        for part in self.added.split_raw(text) {
            match part {
                Part::Token(id) => tokens.push(id),
                Part::Text(text) => self.encode_between(text, first, &mut tokens),
            }
            first = false;
        }
        tokens.truncate(limit.max(1) - 1);
        tokens.push(self.end);
        tokens
    }

    /// Adds the tokens of a text between two added tokens; `first` stands for the beginning of all text.
    fn encode_between(&self, text: &str, mut first: bool, tokens: &mut Vec<usize>) {
        let normalized = self.normalizer.normalize(text);
        for part in self.added.split_normalized(&normalized) {
            match part {
                Part::Token(id) => tokens.push(id),
                Part::Text(text) => {
                    for word in self.words.split(text, first) {
                        self.unigram.encode(&word, tokens);
                    }
                }
            }
            first = false;
        }
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, FileError> {
    let io = |action| move |cause| FileError::Io { action, path: path.to_owned(), cause };
    // Opening a pipe would wait for someone to write to it.
    if !std::fs::metadata(path).map_err(io("open"))?.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(io("open"))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io("read"))?;
    match bytes.len() as u64 {
        len if len > MAX_FILE => Err(FileError::TooLarge { path: path.to_owned(), len, limit: MAX_FILE }),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests;
