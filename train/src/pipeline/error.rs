//! What a pipeline refuses, as data.

use std::path::PathBuf;

/// A request that a checkpoint's pipeline cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An extent that the networks do not divide.
    #[error("{extent} {got}: it must be {rule}; the nearest is {nearest}")]
    Extent {
        /// `frames`, `height` or `width`.
        extent: &'static str,
        /// What was asked for.
        got: usize,
        /// What there can be.
        rule: String,
        /// The nearest that there can be.
        nearest: usize,
    },
    /// An image where there must be none, or none where there must be one.
    #[error("{which}: {reason}")]
    Image {
        /// `image` or `last image`.
        which: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A part of the checkpoint that is needed and not there.
    #[error("{}: {reason}", path.display())]
    Part {
        /// Where it should be.
        path: PathBuf,
        /// What it is needed for.
        reason: &'static str,
    },
    /// Steps on the disk that a run cannot go on from.
    #[error("{}: it is a step of another run (another model, prompt, image, seed, sampler, device or extents), which was \
             interrupted: repeat that command, name another output, or remove the folder", path.display())]
    OtherRequest {
        /// The first of them.
        path: PathBuf,
    },
    /// The caller stopped it.
    #[error("stopped {phase} after {done} of {of}")]
    Interrupted {
        /// What was being done.
        phase: &'static str,
        /// Parts that were done.
        done: usize,
        /// Parts that there were to do.
        of: usize,
    },
    /// Networks that do not belong together.
    #[error("{}: {what} is {got}, that of {other} is {expected}", path.display())]
    Apart {
        /// The part.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it is.
        got: usize,
        /// The other part.
        other: &'static str,
        /// What it should be.
        expected: usize,
    },
}
