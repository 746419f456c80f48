//! How much a file may ask for.

use super::Cause;

/// Limits against files that are hostile, or merely larger than anyone meant. A file that exceeds one is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most rows, and the most columns.
    pub side: usize,
    /// The most frames.
    pub frames: usize,
    /// The most values (pixels times channels) over all frames: a limit on time.
    pub values: u64,
    /// The most bytes of memory for a whole clip, or for a file that has to be loaded whole.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { side: 4096, frames: 20_000, values: 1 << 33, bytes: 1 << 30 }
    }
}

impl Limits {
    /// Refuses a frame that is too high or too wide.
    pub(crate) fn check_sides(&self, height: usize, width: usize) -> Result<(), Cause> {
        check("the height", self.side as u64, height as u64)?;
        check("the width", self.side as u64, width as u64)
    }

    /// Refuses memory beyond the limit.
    pub(crate) fn check_bytes(&self, bytes: u64) -> Result<(), Cause> {
        check("the memory needed, in bytes,", self.bytes, bytes)
    }
}

/// Refuses `got` beyond `limit`.
pub(crate) fn check(what: &'static str, limit: u64, got: u64) -> Result<(), Cause> {
    if got > limit { Err(Cause::Limit { what, limit, got }) } else { Ok(()) }
}
