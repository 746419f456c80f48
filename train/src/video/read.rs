//! Reading: which reader takes a path, and the limits that hold for all of them.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::format::row_of;
use super::frame::Frames;
use super::limits::check;
use super::{Cause, Clip, Error, Frame, Limits, ffmpeg, folder};

/// The frames of a file or folder, one at a time. All have the extents of the first. After an error there are no more.
pub struct FrameReader {
    path: PathBuf,
    limits: Limits,
    frames: Frames,
    seen: usize,
    extents: Option<[usize; 3]>,
    failed: bool,
}

impl FrameReader {
    /// Opens a video file, or a folder of PNG files in the natural order of their names (`2.png` before `10.png`).
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        let frames = open(path, limits).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
        Ok(Self { path: path.to_owned(), limits: *limits, frames, seen: 0, extents: None, failed: false })
    }

    fn check(&mut self, frame: &Frame) -> Result<(), Cause> {
        let extents = frame.extents();
        self.seen += 1;
        check("the number of frames", self.limits.frames as u64, self.seen as u64)?;
        let values = frame.pixels().len() as u64 * self.seen as u64;
        check("the number of values in all frames", self.limits.values, values)?;
        match *self.extents.get_or_insert(extents) {
            first if first == extents => Ok(()),
            first => Err(Cause::Clip(Box::new(Error::FrameSize { first, other: extents }))),
        }
    }
}

impl Iterator for FrameReader {
    type Item = Result<Frame, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = match self.frames.next() {
            Some(Ok(frame)) => self.check(&frame).map(|()| frame),
            Some(Err(cause)) => Err(cause),
            None if self.seen == 0 => Err(Cause::NoFrames),
            None => return None,
        };
        self.failed = next.is_err();
        Some(next.map_err(|cause| Error::Read { path: self.path.clone(), cause }))
    }
}

fn open(path: &Path, limits: &Limits) -> Result<Frames, Cause> {
    if path.is_dir() {
        return folder::read(path, limits);
    }
    // Opened even if `ffmpeg` is to read it: a missing file should be reported as one.
    let file = File::open(path)?;
    match row_of(path).and_then(|row| row.read) {
        Some(read) => read(BufReader::new(file), limits),
        None => ffmpeg::read(path, limits),
    }
}

/// Reads a whole clip.
///
/// # Errors
/// [`Error::Read`].
pub fn read(path: &Path, limits: &Limits) -> Result<Clip, Error> {
    let mut frames = Vec::new();
    for frame in FrameReader::open(path, limits)? {
        let frame = frame?;
        let bytes = (frames.len() as u64 + 1) * frame.pixels().len() as u64 * size_of::<f32>() as u64;
        limits.check_bytes(bytes).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
        frames.push(frame);
    }
    Clip::from_frames(&frames)
}

/// Reads the first frame of a picture or video: what image-to-video starts from.
///
/// # Errors
/// [`Error::Read`].
pub fn read_first_frame(path: &Path, limits: &Limits) -> Result<Frame, Error> {
    let first = FrameReader::open(path, limits)?.next();
    first.unwrap_or_else(|| Err(Error::Read { path: path.to_owned(), cause: Cause::NoFrames }))
}
