//! What is done to text before it is split.

use serde::Deserialize;
use serde_json::Value;

use super::Fault;
use super::charsmap::Charsmap;

/// Steps, one after the other.
#[derive(Debug)]
pub(super) struct Normalizer(Vec<Step>);

#[derive(Debug)]
enum Step {
    Charsmap(Charsmap),
    Replace {
        from: String,
        to: String,
    },
    /// Two or more spaces become this.
    Spaces(String),
    Strip {
        left: bool,
        right: bool,
    },
}

/// A step in the file's words.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Json {
    Sequence { normalizers: Vec<Value> },
    Precompiled { precompiled_charsmap: String },
    Replace { pattern: Pattern, content: String },
    Strip { strip_left: bool, strip_right: bool },
}

#[derive(Deserialize)]
enum Pattern {
    String(String),
    Regex(String),
}

/// The one regular expression that converted SentencePiece models have.
const SPACES: &str = " {2,}";

/// The type of a part, where it is one of these.
pub(super) fn expect_kind(part: &'static str, value: &Value, known: &[&str]) -> Result<(), Fault> {
    match value["type"].as_str() {
        Some(kind) if known.contains(&kind) => Ok(()),
        other => Err(Fault::Unsupported { part, kind: other.unwrap_or("without a type").to_owned() }),
    }
}

impl Normalizer {
    pub(super) fn from_value(value: Option<&Value>) -> Result<Self, Fault> {
        let mut steps = Vec::new();
        if let Some(value) = value {
            push(&mut steps, value)?;
        }
        Ok(Normalizer(steps))
    }

    pub(super) fn normalize(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, step| step.apply(&text))
    }
}

fn push(steps: &mut Vec<Step>, value: &Value) -> Result<(), Fault> {
    expect_kind("normalizer", value, &["Sequence", "Precompiled", "Replace", "Strip"])?;
    steps.push(match Json::deserialize(value)? {
        Json::Sequence { normalizers } => return normalizers.iter().try_for_each(|value| push(steps, value)),
        Json::Precompiled { precompiled_charsmap } => Step::Charsmap(Charsmap::from_base64(&precompiled_charsmap)?),
        Json::Replace { pattern: Pattern::String(from), content: to } => Step::Replace { from, to },
        Json::Replace { pattern: Pattern::Regex(regex), content } if regex == SPACES => Step::Spaces(content),
        Json::Replace { pattern: Pattern::Regex(regex), .. } => {
            return Err(Fault::Unsupported { part: "normalizer", kind: format!("Replace of {regex}") });
        }
        Json::Strip { strip_left: left, strip_right: right } => Step::Strip { left, right },
    });
    Ok(())
}

impl Step {
    fn apply(&self, text: &str) -> String {
        match self {
            Step::Charsmap(map) => map.normalize(text),
            Step::Replace { from, to } => text.replace(from, to),
            Step::Spaces(to) => {
                let mut replaced = String::with_capacity(text.len());
                let mut rest = text;
                while let Some(at) = rest.find("  ") {
                    replaced.push_str(&rest[..at]);
                    replaced.push_str(to);
                    rest = rest[at..].trim_start_matches(' ');
                }
                replaced + rest
            }
            Step::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { text };
                (if *right { text.trim_end() } else { text }).to_owned()
            }
        }
    }
}
