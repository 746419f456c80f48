//! What the clip type and its readers and writers refuse, as data.

use std::path::PathBuf;

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
    /// A clip of no frames.
    #[error("there are no frames")]
    NoFrames,
    /// The frames of a clip differ.
    #[error("a frame of {other:?} (channels, rows, columns) follows one of {first:?}")]
    FrameSize {
        /// Channels, rows and columns of the first frame.
        first: [usize; 3],
        /// Channels, rows and columns of the one that differs.
        other: [usize; 3],
    },
    /// A frame rate that no file can hold.
    #[error("frame rate `{given}` is not a positive number or fraction of at most 1000 a second")]
    FrameRate {
        /// What was given.
        given: String,
    },
    /// No writer goes by this extension.
    #[error("cannot tell the format of {path}: writable extensions are {}", known.join(", "))]
    UnknownFormat {
        /// The path.
        path: PathBuf,
        /// The extensions there are.
        known: Vec<&'static str>,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {cause}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Cause,
    },
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The system said so.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Not a GIF file, or a damaged one.
    #[error("GIF: {0}")]
    Gif(#[from] gif::DecodingError),
    /// The GIF encoder refused.
    #[error("GIF: {0}")]
    GifWrite(#[from] gif::EncodingError),
    /// Not a PNG file, or a damaged one.
    #[error("PNG: {0}")]
    Png(#[from] png::DecodingError),
    /// The PNG encoder refused.
    #[error("PNG: {0}")]
    PngWrite(#[from] png::EncodingError),
    /// Not a Y4M file, or a damaged one.
    #[error("Y4M: {0}")]
    Y4m(#[from] y4m::Error),
    /// The H.264 encoder refused.
    #[cfg(feature = "mp4")]
    #[error("H.264: {0}")]
    H264(#[from] openh264::Error),
    /// The MP4 muxer refused.
    #[cfg(feature = "mp4")]
    #[error("MP4: {0}")]
    Mp4(#[from] muxide::api::MuxerError),
    /// The file ends inside a frame.
    #[error("the file ends inside frame {frame}")]
    Truncated {
        /// The frame, from 0.
        frame: usize,
    },
    /// The file holds no frames.
    #[error("the file holds no frames")]
    NoFrames,
    /// A limit against hostile files was reached.
    #[error("{what} is {got}, more than the limit of {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What the file asks for.
        got: u64,
    },
    /// Well-formed, as far as one can tell, but not of a kind that is supported.
    #[error("{feature} is not supported; {instead}")]
    Unsupported {
        /// What is not supported.
        feature: String,
        /// What is.
        instead: &'static str,
    },
    /// Not well-formed.
    #[error("{what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The frames of a file cannot make a clip.
    #[error(transparent)]
    Clip(Box<Error>),
    /// `ffmpeg` is needed for this file and is not there.
    #[error("this format is read through `ffmpeg`, which is not installed (not on PATH)")]
    FfmpegMissing,
    /// `ffmpeg` gave up.
    #[error("ffmpeg: {message}")]
    Ffmpeg {
        /// The end of what it printed.
        message: String,
    },
}
