//! What the engine refuses, as data.

use crate::{DType, Shape};

/// Shorthand for this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A caller's mistake.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two shapes that an operation cannot bring together.
    #[error("{op}: shape {got}, expected {expected}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// What it needs.
        expected: Shape,
        /// What it was given.
        got: Shape,
    },
    /// A number of elements that does not fill a shape.
    #[error("{op}: {got} elements do not fill shape {shape}")]
    Elements {
        /// The operation.
        op: &'static str,
        /// The shape.
        shape: Shape,
        /// Elements given.
        got: usize,
    },
    /// A dimension or a range that a shape does not have.
    #[error("{op}: index {index} is outside shape {shape}")]
    Index {
        /// The operation.
        op: &'static str,
        /// The shape.
        shape: Shape,
        /// What was asked for.
        index: usize,
    },
    /// More dimensions than a [`Shape`] holds.
    #[error("a shape of {got} dimensions: at most {} are supported", Shape::MAX_RANK)]
    Rank {
        /// Dimensions asked for.
        got: usize,
    },
    /// An element type that an operation does not take.
    #[error("{op}: element type {got}, expected {expected}")]
    DType {
        /// The operation.
        op: &'static str,
        /// What it needs.
        expected: DType,
        /// What it was given.
        got: DType,
    },
    /// A strided view where the elements must lie in order.
    #[error("{op}: shape {shape} is a strided view; make it contiguous first")]
    Strided {
        /// The operation.
        op: &'static str,
        /// Its shape.
        shape: Shape,
    },
    /// A variable of another context's tape.
    #[error("{op}: a variable of another context; pass its value instead")]
    ForeignVar {
        /// The operation.
        op: &'static str,
    },
    /// `backward` while a context made by `through` still holds the tape.
    #[error("backward: another context still records on this tape")]
    ContextInUse,
    /// `backward` of something that nothing recorded leads to.
    #[error("backward: the value does not depend on any parameter or watched input")]
    NotRecorded,
    /// Two parameters of one name.
    #[error("parameter `{name}` exists already")]
    DuplicateParam {
        /// The name.
        name: String,
    },
    /// A parameter that the store does not have.
    #[error("no parameter is named `{name}`")]
    UnknownParam {
        /// The name.
        name: String,
    },
    /// Stores, gradients or averages of different networks.
    #[error("{op}: {got} parameters, expected {expected}")]
    ParamCount {
        /// The operation.
        op: &'static str,
        /// Parameters of the one.
        expected: usize,
        /// Parameters of the other.
        got: usize,
    },
    /// A file that cannot be read, written or believed.
    #[error(transparent)]
    File(#[from] crate::files::FileError),
    /// A GPU in a build that has no kernels for one.
    #[error("cuda:{ordinal}: this build has no support for GPUs; build it with --features cuda")]
    NoCuda {
        /// The GPU that was asked for.
        ordinal: u32,
    },
    /// A kernel's own check failed, or a device did.
    #[error(transparent)]
    Kernel(#[from] flg_kernels::Error),
}
