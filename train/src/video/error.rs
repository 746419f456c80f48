//! What the clip type and its readers and writers refuse, as data.

use super::Geometry;

/// A clip that cannot be held, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An extent is zero.
    #[error("a clip of {geometry} has no pixels")]
    Empty {
        /// The extents asked for.
        geometry: Geometry,
    },
    /// The extents do not fit in memory addresses.
    #[error("a clip of {geometry} is too large for this machine's addresses")]
    TooLarge {
        /// The extents asked for.
        geometry: Geometry,
    },
    /// Neither greyscale nor RGB.
    #[error("a clip has 1 (greyscale) or 3 (RGB) channels, not {got}")]
    Channels {
        /// The channels asked for.
        got: usize,
    },
    /// The values do not fill the extents.
    #[error("a clip of {geometry} has {expected} pixels, got {got}")]
    Length {
        /// The extents.
        geometry: Geometry,
        /// Pixels that the extents ask for.
        expected: usize,
        /// Pixels given.
        got: usize,
    },
}
