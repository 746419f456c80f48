//! What a kernel refuses, as data.

use crate::DType;

/// Shorthand for this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A caller's mistake, found by a kernel's `check` before anything is written, or a device's failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operand does not have the number of elements that the extents ask for.
    #[error("{op}: operand `{operand}` has {got} elements, its extents ask for {expected}")]
    Length {
        /// The kernel.
        op: &'static str,
        /// The field of its argument struct.
        operand: &'static str,
        /// Elements that the extents ask for.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// An operand has a type that the kernel does not take there.
    #[error("{op}: operand `{operand}` is {got}, expected {expected}")]
    DType {
        /// The kernel.
        op: &'static str,
        /// The field of its argument struct.
        operand: &'static str,
        /// What the kernel takes.
        expected: DType,
        /// What it was given.
        got: DType,
    },
    /// An extent or a scalar is outside the kernel's domain (an odd head width for RoPE, an index past the end).
    #[error("{op}: `{what}` is {got}, expected {expected}")]
    Domain {
        /// The kernel.
        op: &'static str,
        /// The extent or scalar.
        what: &'static str,
        /// The domain, in words.
        expected: &'static str,
        /// The value.
        got: i64,
    },
    /// An operand lies in the host's memory and the kernel computes on a GPU, or the other way round.
    #[error("{op}: operand `{operand}` is on another device than the one that computes")]
    Place {
        /// The kernel.
        op: &'static str,
        /// The field of its argument struct.
        operand: &'static str,
    },
    /// The driver of a GPU refused a call, or reported that earlier work failed.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Cuda(Box<crate::runtime::cuda::Failure>),
    /// The product of extents does not fit in memory addresses.
    #[error("{op}: the extents overflow")]
    Overflow {
        /// The kernel.
        op: &'static str,
    },
}
