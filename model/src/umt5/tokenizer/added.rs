//! Tokens that stand in a text by name, `</s>` among them: they are found before anything else is split.

use serde::Deserialize;

use super::Fault;
use super::normalizer::Normalizer;

/// An added token, in the file's words.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct AddedToken {
    id: usize,
    content: String,
    /// Takes the white space in front of it along.
    #[serde(default)]
    lstrip: bool,
    /// Takes the white space behind it along.
    #[serde(default)]
    rstrip: bool,
    /// Is looked for in normalised text.
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    single_word: bool,
}

/// All added tokens.
#[derive(Debug)]
pub(super) struct Added {
    raw: Vec<AddedToken>,
    normalized: Vec<AddedToken>,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Token(usize),
    Text(&'a str),
}

impl Added {
    pub(super) fn new(tokens: Vec<AddedToken>, normalizer: &Normalizer) -> Result<Self, Fault> {
        if let Some(token) = tokens.iter().find(|token| token.single_word) {
            let kind = format!("{} (single_word)", token.content);
            return Err(Fault::Unsupported { part: "added token", kind });
        }
        let (mut normalized, mut raw): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|token| token.normalized);
        for token in &mut normalized {
            token.content = normalizer.normalize(&token.content);
        }
        for tokens in [&mut raw, &mut normalized] {
            tokens.retain(|token| !token.content.is_empty());
            // Of two that begin alike the longer one is meant.
            tokens.sort_by_key(|token| std::cmp::Reverse(token.content.len()));
        }
        Ok(Added { raw, normalized })
    }

    pub(super) fn id(&self, content: &str) -> Option<usize> {
        self.raw.iter().chain(&self.normalized).find(|token| token.content == content).map(|token| token.id)
    }

    /// Splits text as it was given.
    pub(super) fn split_raw<'a>(&self, text: &'a str) -> Vec<Part<'a>> {
        split(&self.raw, text)
    }

    /// Splits text behind the normaliser.
    pub(super) fn split_normalized<'a>(&self, text: &'a str) -> Vec<Part<'a>> {
        split(&self.normalized, text)
    }
}

/// The leftmost token of each place, the longest where there are several, and what lies between. No part is empty.
fn split<'a>(tokens: &[AddedToken], text: &'a str) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    let text_part = |text: &'a str| (!text.is_empty()).then_some(Part::Text(text));
    let (mut rest, mut at) = (text, 0);
    while let Some(here) = rest.get(at..).filter(|here| !here.is_empty()) {
        let Some(token) = tokens.iter().find(|token| here.starts_with(&token.content)) else {
            at += here.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        let (before, behind) = (&rest[..at], &here[token.content.len()..]);
        parts.extend(text_part(if token.lstrip { before.trim_end() } else { before }));
        parts.push(Part::Token(token.id));
        (rest, at) = (if token.rstrip { behind.trim_start() } else { behind }, 0);
    }
    parts.extend(text_part(rest));
    parts
}
