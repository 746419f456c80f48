//! The file formats, one row each, and writing.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

use super::frame::Frames;
use super::{Cause, Clip, Error, FrameRate, Limits, gif, npy, png, save, y4m};

/// A file format that clips are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Animated GIF.
    Gif,
    /// Animated PNG.
    Apng,
    /// One PNG picture with all frames side by side.
    PngSheet,
    /// YUV4MPEG2: raw video that every video tool reads.
    Y4m,
    /// NumPy array.
    Npy,
    /// MP4 with H.264.
    Mp4,
}

type ReadFn = fn(BufReader<File>, &Limits) -> Result<Frames, Cause>;
type WriteFn = fn(&Clip, FrameRate, &mut dyn Write) -> Result<(), Cause>;

/// What is known about a format.
#[derive(Debug, Clone, Copy)]
pub struct FormatRow {
    /// The format.
    pub format: Format,
    /// Its file extension, in lower case.
    pub extension: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Its reader here; other files are read through `ffmpeg`.
    pub(crate) read: Option<ReadFn>,
    write: WriteFn,
}

/// Every format.
pub const FORMATS: &[FormatRow] = &[
    FormatRow {
        format: Format::Gif,
        extension: "gif",
        about: "animation, at most 256 colours a frame",
        read: Some(gif::read),
        write: gif::write,
    },
    FormatRow {
        format: Format::Apng,
        extension: "apng",
        about: "animation, exact",
        read: Some(png::read),
        write: png::write_animation,
    },
    FormatRow {
        format: Format::PngSheet,
        extension: "png",
        about: "one picture, frames side by side",
        read: Some(png::read),
        write: png::write_sheet,
    },
    FormatRow {
        format: Format::Y4m,
        extension: "y4m",
        about: "raw video for other tools",
        read: Some(y4m::read),
        write: y4m::write,
    },
    FormatRow {
        format: Format::Npy,
        extension: "npy",
        about: "NumPy array of floats [channels, frames, height, width]",
        read: Some(npy::read),
        write: npy::write,
    },
    FormatRow { format: Format::Mp4, extension: "mp4", about: "H.264 video", read: None, write: MP4_WRITER },
];

#[cfg(feature = "mp4")]
const MP4_WRITER: WriteFn = super::mp4::write;
#[cfg(not(feature = "mp4"))]
const MP4_WRITER: WriteFn = |_, _, _| {
    let instead = "rebuild with `--features mp4`, or write .y4m and convert it with ffmpeg";
    Err(Cause::Unsupported { feature: "MP4 in this build".to_owned(), instead })
};

impl Format {
    /// The format that a path's extension names, in upper or lower case.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`], which lists the extensions.
    pub fn of(path: &Path) -> Result<Self, Error> {
        known_row(path).map(|row| row.format)
    }
}

fn known_row(path: &Path) -> Result<&'static FormatRow, Error> {
    row_of(path).ok_or_else(|| Error::UnknownFormat {
        path: path.to_owned(),
        known: FORMATS.iter().map(|row| row.extension).collect(),
    })
}

/// The row that a path's extension names.
pub(crate) fn row_of(path: &Path) -> Option<&'static FormatRow> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    FORMATS.iter().find(|row| row.extension == extension)
}

/// Writes a clip in the format of the path's extension. An existing file is replaced at once and only on success.
///
/// # Errors
/// [`Error::UnknownFormat`] and [`Error::Write`].
pub fn write(path: &Path, clip: &Clip, rate: FrameRate) -> Result<(), Error> {
    let row = known_row(path)?;
    save::save(path, |out| (row.write)(clip, rate, out)).map_err(|cause| Error::Write { path: path.to_owned(), cause })
}
