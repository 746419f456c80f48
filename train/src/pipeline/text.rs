//! Prompts, as the networks see them.

use flg_engine::{Device, Tensor};
use flg_model::umt5::TextEncoder;

use super::{OnPart, Parts};
use crate::Result;

pub use flg_model::umt5::ROWS as TEXT_ROWS;

/// The prompts of a run, with the one to go away from, and what encodes them.
#[derive(Debug)]
pub struct Prompts {
    encoder: std::cell::RefCell<TextEncoder>,
    texts: Vec<String>,
}

impl Prompts {
    /// Opens the text encoder of a checkpoint for prompts and a negative one.
    ///
    /// # Errors
    /// An encoder or a tokenizer that is not there, or not supported.
    pub fn open(parts: &Parts, prompts: &[String], negative: &str) -> Result<Prompts> {
        let [encoder, tokenizer] = parts.text()?;
        let encoder = TextEncoder::open(encoder, tokenizer)?.into();
        let texts = prompts.iter().cloned().chain([negative.to_owned()]).collect();
        Ok(Prompts { encoder, texts })
    }

    /// Embeddings `[1, rows, width]` of each prompt, and that of the negative one.
    ///
    /// # Errors
    /// Weights or a tokenizer that cannot be read; [`flg_model::Error::EncodingStopped`].
    pub fn encode(&self, device: &Device, on_part: &mut OnPart<'_>) -> Result<(Vec<Tensor>, Tensor)> {
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        let mut on_block = |done: flg_model::BlockDone<'_>| on_part(done.done, done.blocks);
        let all = self.encoder.borrow_mut().encode(&texts, device, &mut on_block)?;
        let one = |i: usize| -> Result<Tensor> { Ok(all.narrow(0, i, 1)?.contiguous()?) };
        let prompts = (0..texts.len() - 1).map(one).collect::<Result<_>>()?;
        Ok((prompts, one(texts.len() - 1)?))
    }

    /// The most bytes that encoding holds.
    ///
    /// # Errors
    /// A tokenizer that cannot be read.
    pub fn peak_bytes(&self) -> Result<usize> {
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        Ok(self.encoder.borrow_mut().peak_bytes(&texts)?)
    }
}
