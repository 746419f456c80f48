//! T5's tokenizer: a `tokenizer.json`, as the crate `tokenizers` reads it.
//!
//! With the 256 thousand pieces of umt5 the crate holds about 600 MiB, so a tokenizer is read when prompts come, and gone
//! before weights are read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use flg_engine::FileError;

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
    /// The library cannot read it, or cannot use it.
    #[error("tokenizer: {0}")]
    Library(tokenizers::Error),
    /// The library gave up on it.
    #[error("tokenizer: the library panicked on it: {0}")]
    Panicked(String),
    /// It cannot end a prompt.
    #[error("tokenizer: its vocabulary has no </s>")]
    NoEnd,
}

/// A tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    library: tokenizers::Tokenizer,
    end: usize,
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
    /// What the library refuses; a vocabulary without `</s>`.
    pub fn from_json(text: &[u8]) -> Result<Tokenizer, Fault> {
        let mut library = survive(|| tokenizers::Tokenizer::from_bytes(text))?;
        library.with_truncation(None).map_err(Fault::Library)?.with_padding(None);
        let end = library.token_to_id(END).ok_or(Fault::NoEnd)? as usize;
        Ok(Tokenizer { library, end })
    }

    /// The tokens of a text: at most `limit` (at least 1), the last of them `</s>`; what is too long loses its end.
    ///
    /// # Errors
    /// A vocabulary that cannot spell the text.
    pub fn encode(&self, text: &str, limit: usize) -> Result<Vec<usize>, Fault> {
        let encoded = survive(|| self.library.encode_fast(text, false))?;
        let mut tokens: Vec<usize> = encoded.get_ids().iter().map(|&id| id as usize).collect();
        tokens.truncate(limit.max(1) - 1);
        tokens.push(self.end);
        Ok(tokens)
    }
}

/// Runs the library, which panics on some damaged files. What it was working on is not used afterwards.
fn survive<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Fault::Library),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(Fault::Panicked(text.unwrap_or_default()))
        }
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, FileError> {
    let io = |action| move |cause| FileError::Io { action, path: path.to_owned(), cause };
    // Opening a pipe would wait for someone to write to it.
    let file = std::fs::metadata(path).map_err(io("open"))?;
    if !file.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    if file.len() > MAX_FILE {
        return Err(FileError::TooLarge { path: path.to_owned(), len: file.len(), limit: MAX_FILE });
    }
    std::fs::read(path).map_err(io("read"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn file() -> Value {
        json!({
            "added_tokens": [],
            "normalizer": null,
            "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true },
            "post_processor": null,
            "decoder": null,
            "model": {
                "type": "Unigram",
                "unk_id": 0,
                "vocab": [["<unk>", 0.0], ["</s>", 0.0], ["▁a", -1.0], ["b", -2.0]],
            },
        })
    }

    fn read(value: &Value) -> Result<Tokenizer, Fault> {
        Tokenizer::from_json(value.to_string().as_bytes())
    }

    #[test]
    fn what_is_too_long_loses_its_end() {
        let tokenizer = read(&file()).unwrap();
        let encode = |limit| tokenizer.encode("abb a", limit).unwrap();
        assert_eq!(
            [encode(9), encode(4), encode(1), encode(0)],
            [vec![2, 3, 3, 2, 1], vec![2, 3, 3, 1], vec![1], vec![1]]
        );
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let changes = [
            ("/model/type", json!("Bigram")),
            ("/model/unk_id", json!(4)),
            ("/model/vocab", json!({})),
            ("/normalizer", json!({ "type": "Unknown" })),
            ("/normalizer", json!({ "type": "Precompiled", "precompiled_charsmap": "?" })),
        ];
        for (path, value) in changes {
            let mut file = file();
            *file.pointer_mut(path).unwrap() = value;
            let refused = read(&file).map(|_| ()).unwrap_err().to_string();
            assert!(refused.starts_with("tokenizer: "), "{path}: {refused}");
        }
        let mut endless = file();
        endless["model"]["vocab"][1][0] = json!("</t>");
        assert!(matches!(read(&endless), Err(Fault::NoEnd)));
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert!(Tokenizer::read(&path).unwrap_err().to_string().contains(FILE));
        assert!(Tokenizer::read(folder.path()).unwrap_err().to_string().contains("not a regular file"));
        std::fs::write(&path, "{}").unwrap();
        let refused = Tokenizer::read(&path).unwrap_err().to_string();
        assert!(refused.contains(FILE), "{refused}");
    }
}
