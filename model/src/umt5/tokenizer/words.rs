//! Where pieces may not reach across: text becomes words, and a space becomes part of the word behind it.

use serde::Deserialize;
use serde_json::Value;

use super::Fault;
use super::normalizer::expect_kind;

/// Steps, one after the other.
#[derive(Debug)]
pub(super) struct Words(Vec<Step>);

#[derive(Debug)]
enum Step {
    /// Words are what white space separates; it is dropped.
    WhiteSpace,
    Metaspace(Metaspace),
}

/// A space, and the beginning, become a sign of their own, in front of which text is split.
#[derive(Debug)]
struct Metaspace {
    sign: char,
    prepend: Prepend,
    splits: bool,
}

/// Where a sign is put in front of text that does not begin with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Prepend {
    Always,
    First,
    Never,
}

/// A step in the file's words.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Json {
    Sequence {
        pretokenizers: Vec<Value>,
    },
    WhitespaceSplit,
    Metaspace {
        replacement: char,
        /// Of older files; false means never.
        add_prefix_space: Option<bool>,
        prepend_scheme: Option<Prepend>,
        split: Option<bool>,
    },
}

/// A word, and whether it stands at the beginning of all text.
type Word = (String, bool);

impl Words {
    pub(super) fn from_value(value: Option<&Value>) -> Result<Self, Fault> {
        let mut steps = Vec::new();
        if let Some(value) = value {
            push(&mut steps, value)?;
        }
        Ok(Words(steps))
    }

    /// The words of a text, which stands at the beginning of all text or not.
    pub(super) fn split(&self, text: &str, first: bool) -> Vec<String> {
        let mut words = vec![(text.to_owned(), first)];
        for step in &self.0 {
            words = words.iter().flat_map(|word| step.split(word)).collect();
        }
        words.into_iter().map(|(word, _)| word).collect()
    }
}

fn push(steps: &mut Vec<Step>, value: &Value) -> Result<(), Fault> {
    expect_kind("pre_tokenizer", value, &["Sequence", "WhitespaceSplit", "Metaspace"])?;
    steps.push(match Json::deserialize(value)? {
        Json::Sequence { pretokenizers } => return pretokenizers.iter().try_for_each(|value| push(steps, value)),
        Json::WhitespaceSplit => Step::WhiteSpace,
        Json::Metaspace { replacement: sign, add_prefix_space, prepend_scheme, split } => {
            let prepend = match add_prefix_space {
                Some(false) => Prepend::Never,
                _ => prepend_scheme.unwrap_or(Prepend::Always),
            };
            Step::Metaspace(Metaspace { sign, prepend, splits: split.unwrap_or(true) })
        }
    });
    Ok(())
}

impl Step {
    /// The words of a word; none is empty. What stood at the beginning of all text does so still if nothing in front of it
    /// was dropped.
    fn split(&self, (text, first): &Word) -> Vec<Word> {
        match self {
            Step::WhiteSpace => {
                let begins = !text.starts_with(char::is_whitespace);
                let words = text.split_whitespace().enumerate();
                words.map(|(i, word)| (word.to_owned(), *first && begins && i == 0)).collect()
            }
            Step::Metaspace(metaspace) => metaspace.split(text, *first),
        }
    }
}

impl Metaspace {
    fn split(&self, text: &str, first: bool) -> Vec<Word> {
        let mut text: String = text.chars().map(|c| if c == ' ' { self.sign } else { c }).collect();
        let prepends = self.prepend == Prepend::Always || self.prepend == Prepend::First && first;
        if prepends && !text.is_empty() && !text.starts_with(self.sign) {
            text.insert(0, self.sign);
        }
        let starts = text.char_indices().filter(|&(at, c)| at == 0 || self.splits && c == self.sign).map(|(at, _)| at);
        let starts: Vec<usize> = starts.collect();
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        starts.iter().zip(ends).map(|(&start, end)| (text[start..end].to_owned(), first && start == 0)).collect()
    }
}
