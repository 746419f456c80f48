//! What a run can be stopped by, as data.

use std::path::{Path, PathBuf};

/// Shorthand for this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A run folder that cannot be used, or a run that cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused an operation on the run folder.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The folder holds a run already.
    #[error("`{}` holds a run already: continue it with `--resume latest`, or choose another `--out`", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes to this folder.
    #[error("`{}` is in use by another process", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A folder of another stage.
    #[error("`{}` holds a run of `{got}`, not of `{expected}`", path.display())]
    OtherStage {
        /// The folder or checkpoint.
        path: PathBuf,
        /// The stage asked for.
        expected: String,
        /// The stage that it holds.
        got: String,
    },
    /// An input has other contents than when the run began.
    #[error("the {name} `{}` is not the one that this run began with", path.display())]
    OtherInput {
        /// What it is: `model`.
        name: String,
        /// Where it is.
        path: PathBuf,
    },
    /// `latest` names something that is no checkpoint.
    #[error("`{}` says `{}`, which is no checkpoint of this run", path.display(), target.escape_debug())]
    DanglingLatest {
        /// The pointer.
        path: PathBuf,
        /// What it says.
        target: String,
    },
    /// A checkpoint that lacks something, or has something that this method does not know.
    #[error("checkpoint `{}`: {what} {name}", path.display())]
    Contents {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong: `no tensor`, `unknown tensor`, `unknown table`.
        what: &'static str,
        /// The name at fault.
        name: String,
    },
    /// A checkpoint's tensor has another shape or type than the method's.
    #[error("checkpoint `{}`: {name} is {got}, expected {expected}", path.display())]
    Tensor {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Type and shape needed.
        expected: String,
        /// Type and shape found.
        got: String,
    },
    /// The metrics file lost lines that a checkpoint had seen.
    #[error("`{}` has {got} bytes, but the checkpoint was made when it had {expected}", path.display())]
    MetricsShort {
        /// The file.
        path: PathBuf,
        /// Bytes at the time of the checkpoint.
        expected: u64,
        /// Bytes now.
        got: u64,
    },
    /// The metrics file holds something else than metrics.
    #[error("`{}`, line {line}: not a line of metrics", path.display())]
    MetricsLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A method that does not log a loss.
    #[error("method `{method}` logged no `loss` at step {step}")]
    NoLoss {
        /// The method.
        method: &'static str,
        /// The step.
        step: u64,
    },
    /// Something that was measured is not a number.
    #[error("stopped at step {step}: {name} is {value}")]
    NotFinite {
        /// The step.
        step: u64,
        /// What was measured.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// The loss left its range.
    #[error("stopped at step {step}: the loss is {loss:.4e}, more than {factor} times its running median {median:.4e}")]
    Exploded {
        /// The step.
        step: u64,
        /// The loss.
        loss: f64,
        /// The median of the losses before.
        median: f64,
        /// The largest ratio allowed.
        factor: f64,
    },
    /// Weights that are not finite, found before they were saved.
    #[error("stopped at step {step}: {network} has values in {tensor} that are not finite")]
    BadWeights {
        /// Steps done.
        step: u64,
        /// The network or table.
        network: String,
        /// The tensor.
        tensor: String,
    },
}

impl Error {
    /// Whether arithmetic, and not a file or a request, stopped the run.
    pub fn is_numerical(&self) -> bool {
        matches!(self, Error::NotFinite { .. } | Error::Exploded { .. } | Error::BadWeights { .. })
    }

    /// For `map_err`: the system's answer with what was tried.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { action, path: path.to_owned(), source }
    }
}
