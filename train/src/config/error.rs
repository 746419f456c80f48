//! What a configuration can get wrong, as data.

use std::path::PathBuf;

/// Shorthand for this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A layer is not TOML.
    #[error("{layer} is not valid TOML")]
    Syntax {
        /// The file, preset or override.
        layer: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key that no stage knows.
    #[error("{layer}: there is no `{key}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey {
        /// The file, preset or override.
        layer: String,
        /// The dotted key.
        key: String,
        /// The known dotted key that is spelt most like it, if one is close.
        nearest: Option<String>,
    },
    /// A table where a value belongs, or the reverse.
    #[error("{layer}: `{key}` takes a value of type {expected}, not {got}")]
    Kind {
        /// The file, preset or override.
        layer: String,
        /// The dotted key.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// What was given.
        got: &'static str,
    },
    /// A value of the wrong type, or a name that a switch does not have.
    #[error("{layer}: bad value for `{key}`")]
    Value {
        /// The file, preset or override.
        layer: String,
        /// The dotted key.
        key: String,
        /// What would fit.
        source: Box<toml::de::Error>,
    },
    /// A number outside its range.
    #[error("`{key}` is {got}; it must be {allowed}")]
    Range {
        /// The dotted key.
        key: String,
        /// The value.
        got: String,
        /// What would fit.
        allowed: String,
    },
    /// An override without `=`.
    #[error("`--set {text}` is not of the form key=value")]
    NoEquals {
        /// What was typed.
        text: String,
    },
    /// No preset has this name.
    #[error("no preset is called `{name}`; there are: {known}")]
    UnknownPreset {
        /// The name asked for.
        name: String,
        /// Those there are.
        known: String,
    },
}
