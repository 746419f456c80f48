//! The pieces of a word: of all ways to cut it into pieces of the vocabulary, the one with the largest sum of
//! log-probabilities (Kudo, "Subword Regularization", 2018; Viterbi's algorithm over the ends of pieces).

use std::ops::Range;

use serde::Deserialize;

use super::Fault;

/// The model in the file's words.
#[derive(Deserialize)]
pub(super) struct Model {
    /// Absent in old files.
    #[serde(rename = "type")]
    kind: Option<String>,
    unk_id: Option<usize>,
    #[serde(default)]
    byte_fallback: bool,
    vocab: Vec<(String, f64)>,
}

/// A vocabulary, laid out for looking up all pieces that a text begins with: 40 bytes a piece.
#[derive(Debug)]
pub(super) struct Unigram {
    /// All pieces, one behind the other, in alphabetical order.
    text: String,
    /// Where each piece ends in it, in that order.
    ends: Vec<usize>,
    /// Number and log-probability of each, in that order.
    pieces: Vec<(usize, f64)>,
    unknown: usize,
    unknown_score: f64,
    /// The token of each byte, where characters that no piece has become bytes.
    bytes: Option<Box<[usize; 256]>>,
}

/// By so much less probable than the least probable piece is a character that no piece has.
const UNKNOWN_PENALTY: f64 = 10.0;

/// The best way to a place.
#[derive(Clone, Copy)]
struct Best {
    score: f64,
    start: usize,
    /// The last piece's number.
    id: usize,
}

impl Unigram {
    pub(super) fn new(model: Model) -> Result<Self, Fault> {
        let Model { kind, unk_id, byte_fallback, vocab } = model;
        if let Some(kind) = kind.filter(|kind| kind != "Unigram") {
            return Err(Fault::Unsupported { part: "model", kind });
        }
        let fault = |reason| Fault::Vocabulary { reason };
        let unknown = unk_id.filter(|&id| id < vocab.len()).ok_or(fault("it has no unknown token"))?;
        if vocab.iter().any(|(_, score)| !score.is_finite()) {
            return Err(fault("a score is not finite"));
        }
        let unknown_score = vocab.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min) - UNKNOWN_PENALTY;
        let mut order: Vec<usize> = (0..vocab.len()).filter(|&id| !vocab[id].0.is_empty()).collect();
        // Of two pieces that are equal the last one counts.
        order.sort_unstable_by(|&a, &b| vocab[a].0.cmp(&vocab[b].0).then(b.cmp(&a)));
        order.dedup_by(|b, a| vocab[*b].0 == vocab[*a].0);
        let mut unigram = Unigram {
            text: String::with_capacity(order.iter().map(|&id| vocab[id].0.len()).sum()),
            ends: Vec::with_capacity(order.len()),
            pieces: order.iter().map(|&id| (id, vocab[id].1)).collect(),
            unknown,
            unknown_score,
            bytes: None,
        };
        for id in order {
            unigram.text.push_str(&vocab[id].0);
            unigram.ends.push(unigram.text.len());
        }
        if byte_fallback {
            let tokens: Option<Vec<usize>> = (0..256).map(|byte| unigram.id(&format!("<0x{byte:02X}>"))).collect();
            unigram.bytes = tokens.and_then(|tokens| Some(Box::new(tokens.try_into().ok()?)));
        }
        Ok(unigram)
    }

    /// The number of a piece.
    pub(super) fn id(&self, piece: &str) -> Option<usize> {
        let last = self.beginnings(piece).last()?;
        (last.0 == piece.len()).then_some(self.pieces[last.1].0)
    }

    /// Adds the tokens of a word. Neighbouring characters that no piece has are one unknown token.
    pub(super) fn encode(&self, word: &str, tokens: &mut Vec<usize>) {
        let mut best: Vec<Option<Best>> = vec![None; word.len() + 1];
        for (start, c) in word.char_indices() {
            let so_far = if start == 0 { 0.0 } else { best[start].map_or(0.0, |best| best.score) };
            let mut single = false;
            for (len, piece) in self.beginnings(&word[start..]) {
                let (id, score) = self.pieces[piece];
                improve(&mut best[start + len], Best { score: so_far + score, start, id });
                single |= len == c.len_utf8();
            }
            if !single {
                let score = so_far + self.unknown_score;
                improve(&mut best[start + c.len_utf8()], Best { score, start, id: self.unknown });
            }
        }
        let first = tokens.len();
        let (mut end, mut unknown) = (word.len(), None::<Range<usize>>);
        while let Some(Best { start, id, .. }) = best[end].filter(|_| end > 0) {
            if id == self.unknown {
                unknown = Some(start..unknown.map_or(end, |range| range.end));
            } else {
                self.push_unknown(unknown.take().map(|range| &word[range]), tokens);
                tokens.push(id);
            }
            end = start;
        }
        self.push_unknown(unknown.map(|range| &word[range]), tokens);
        tokens[first..].reverse();
    }

    /// Adds the token of characters that no piece has, or those of their bytes, last first. They may make up the name of a
    /// piece, which is then meant.
    fn push_unknown(&self, text: Option<&str>, tokens: &mut Vec<usize>) {
        let Some(text) = text else { return };
        match (self.id(text), &self.bytes) {
            (Some(id), _) => tokens.push(id),
            (None, Some(bytes)) => tokens.extend(text.bytes().rev().map(|byte| bytes[usize::from(byte)])),
            (None, None) => tokens.push(self.unknown),
        }
    }

    /// Lengths and places of the pieces that a text begins with, the shortest first.
    fn beginnings(&self, text: &str) -> impl Iterator<Item = (usize, usize)> {
        let mut range = 0..self.pieces.len();
        let bytes = text.bytes().enumerate();
        let narrowed = bytes.map_while(move |(at, byte)| {
            // Pieces in the range agree up to `at`; those that end there come first, and have no byte there.
            let byte_of = |piece: usize| self.piece(piece).as_bytes().get(at).copied();
            let from = partition(range.clone(), |piece| byte_of(piece) < Some(byte));
            let to = partition(from..range.end, |piece| byte_of(piece) <= Some(byte));
            range = from..to;
            (from < to).then_some((at + 1, from))
        });
        narrowed.filter(|&(len, first)| self.piece(first).len() == len)
    }

    fn piece(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[at]]
    }
}

fn improve(place: &mut Option<Best>, candidate: Best) {
    if place.is_none_or(|best| candidate.score > best.score) {
        *place = Some(candidate);
    }
}

/// The first place of a range where `before` no longer holds; it holds up to there.
fn partition(range: Range<usize>, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
