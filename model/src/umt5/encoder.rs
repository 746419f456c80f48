//! Prompts in, text embeddings out: a tokenizer, and an encoder that runs once.

use std::fs;
use std::path::{Path, PathBuf};

use flg_engine::{Device, FileError, Tensor};

use super::tokenizer::{FILE, Tokenizer};
use super::{Umt5, clean};
use crate::streamed::OnBlock;
use crate::{Error, Result};

/// Rows of a text embedding: tokens of a prompt at most, its end included.
pub const ROWS: usize = 512;

/// The text encoder of a pipeline. Neither tokenizer nor weights are held between prompts.
#[derive(Debug)]
pub struct TextEncoder {
    umt5: Umt5,
    tokenizer: PathBuf,
}

impl TextEncoder {
    /// Opens the folders `text_encoder` and `tokenizer` of a pipeline.
    ///
    /// # Errors
    /// As [`Umt5::open`]; a folder without `tokenizer.json`.
    pub fn open(text_encoder: impl AsRef<Path>, tokenizer: impl AsRef<Path>) -> Result<TextEncoder> {
        let (umt5, tokenizer) = (Umt5::open(text_encoder)?, tokenizer.as_ref().join(FILE));
        // It is read when it is needed: with a vocabulary of 256 thousand pieces it holds 600 MiB.
        let found = fs::metadata(&tokenizer);
        let io = |cause| FileError::Io { action: "open", path: tokenizer.clone(), cause };
        if !found.map_err(io).map_err(flg_engine::Error::from)?.is_file() {
            return Err(flg_engine::Error::from(FileError::NotAFile { path: tokenizer }).into());
        }
        Ok(TextEncoder { umt5, tokenizer })
    }

    /// The network.
    pub fn umt5(&self) -> &Umt5 {
        &self.umt5
    }

    /// The tokens of each prompt, cleaned: at most [`ROWS`], the last of them `</s>`.
    ///
    /// # Errors
    /// A `tokenizer.json` that cannot be read or is not supported; names the file.
    pub fn tokens(&self, prompts: &[&str]) -> Result<Vec<Vec<usize>>> {
        let tokenizer = Tokenizer::read(&self.tokenizer)?;
        let encode = |prompt: &&str| {
            let tokens = tokenizer.encode(&clean(prompt), ROWS);
            tokens.map_err(|fault| Error::Tokenizer(fault).in_file(&self.tokenizer))
        };
        prompts.iter().map(encode).collect()
    }

    /// Text embeddings f32 `[prompts, 512, d_model]`: rows of a prompt's tokens, and zeros behind them, as the pipeline's
    /// `prompt_embeds`. All prompts go through a block together, so a conditional and a negative one cost reading the
    /// weights once.
    ///
    /// # Errors
    /// As [`TextEncoder::tokens`] and [`Umt5::forward`].
    pub fn encode(&mut self, prompts: &[&str], device: &Device, on_block: &mut OnBlock<'_>) -> Result<Tensor> {
        let tokens = self.tokens(prompts)?;
        let rows = self.umt5.forward(&tokens, device, on_block)?;
        let width = self.umt5.config().d_model;
        let mut all = Tensor::zeros(device, [prompts.len() * ROWS, width])?;
        for (prompt, rows) in rows.iter().enumerate() {
            all.overwrite(0, prompt * ROWS, rows)?;
        }
        Ok(all.reshape([prompts.len(), ROWS, width])?)
    }

    /// The most bytes that encoding these prompts holds at once on the host: [`Umt5::peak_bytes`] and the result.
    ///
    /// # Errors
    /// As [`TextEncoder::tokens`].
    pub fn peak_bytes(&mut self, prompts: &[&str]) -> Result<usize> {
        let lengths: Vec<usize> = self.tokens(prompts)?.iter().map(Vec::len).collect();
        let result = prompts.len() * ROWS * self.umt5.config().d_model * size_of::<f32>();
        Ok(self.umt5.peak_bytes(&lengths)? + result)
    }
}
