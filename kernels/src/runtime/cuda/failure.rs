//! What the driver refused, as data.

use std::fmt;

use super::Grid;

/// A call of the driver that failed, or that reported the failure of earlier work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The operation on whose behalf it was called; where the host waited, the last that was launched.
    pub op: &'static str,
    /// The driver's function.
    pub call: &'static str,
    /// Its answer, a code of `CUresult`.
    pub code: i32,
    /// What the driver says of the code.
    pub meaning: String,
    /// The kernel that was launched last, and how: a failure may be that of earlier work.
    pub launch: Option<(&'static str, Grid)>,
    /// What the compiler wrote about the PTX.
    pub log: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} answered {} ({})", self.op, self.call, self.code, self.meaning)?;
        if let Some((kernel, Grid { blocks, threads, shared_bytes })) = &self.launch {
            write!(f, ", last kernel {kernel}, {blocks:?} blocks of {threads:?} threads, {shared_bytes} shared bytes")?;
        }
        if self.log.is_empty() { Ok(()) } else { write!(f, "\n{}", self.log.trim_end()) }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        crate::Error::Cuda(Box::new(failure))
    }
}
