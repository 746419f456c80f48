//! From a folder of captioned clips to a data set: read, crop, resample, cut, split, write.

mod captions;
mod report;
mod resample;

pub use self::resample::fit;
pub use report::{ImportReport, ImportedFile, SkipReason, SkippedFile};

use std::path::{Path, PathBuf};

use self::captions::{Captions, is_text};
use super::dataset::{Entry, Writer};
use super::draw::stable_hash;
use super::{Error, Split};
use crate::video::{self, Channels, Clip, Frame, FrameReader, Geometry, Limits, natural_key};

/// How the frames of a source become the frames of clips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// One clip a file: frames spread evenly over the whole of it.
    Whole,
    /// Clips of every `step`-th frame, cut one after the other until the file ends.
    Windows {
        /// 1 keeps the source's speed, 2 doubles it.
        step: usize,
    },
}

/// What to import, and into what.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// The folder: video files, and folders of PNG frames, each with a caption in `captions.jsonl`, `captions.csv`, or
    /// a text file of the same name.
    pub source: PathBuf,
    /// The data set's folder, which must not exist yet.
    pub target: PathBuf,
    /// Extents of every clip.
    pub geometry: Geometry,
    /// How clips are cut.
    pub timing: Timing,
    /// The share of files held out from training, 0 to 1. Above 0 at least one file is held out, and below 1 at least
    /// one is not, as soon as there are two.
    pub held_out: f64,
    /// Limits for each source file.
    pub limits: Limits,
}

/// Imports a folder. A file that cannot be used is passed over and reported; clips of one file are all in one part.
///
/// # Errors
/// [`Error::TargetExists`], [`Error::NothingImported`] (with the report), [`Error::NoVariance`], [`Error::Dataset`] and
/// those of reading captions; [`Error::Video`] if `geometry` is not that of a clip.
pub fn import(request: &ImportRequest) -> Result<ImportReport, Error> {
    request.geometry.pixels()?;
    if request.target.exists() {
        return Err(Error::TargetExists { path: request.target.clone() });
    }
    let captions = Captions::open(&request.source)?;
    let files = clip_files(&request.source)?;
    let mut report = ImportReport { captions_without_file: captions.without_file(&files), ..Default::default() };
    let mut usable = Vec::new();
    for file in files {
        let outcome = match captions.of(&file)? {
            Some(caption) => clips_of(request, &file).map(|clips| (caption, clips)),
            None => Err(SkipReason::NoCaption),
        };
        match outcome {
            Ok((caption, clips)) => usable.push(Usable { file, caption, clips }),
            Err(reason) => report.skipped.push(SkippedFile { file, reason }),
        }
    }
    if usable.is_empty() {
        return Err(Error::NothingImported { folder: request.source.clone(), report: Box::new(report) });
    }
    report.imported = store(request, usable)?;
    Ok(report)
}

/// A file that has a caption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name in the folder.
    pub file: String,
    /// Its caption, as it is written.
    pub caption: String,
    /// The part that all of its clips belong to.
    pub split: Split,
}

/// The files of a folder that have a caption, and the names of those that have none. Nothing of them is read.
///
/// # Errors
/// A folder or a table of captions that cannot be read.
pub fn sources(folder: &Path, held_out_share: f64) -> Result<(Vec<Source>, Vec<String>), Error> {
    let captions = Captions::open(folder)?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for file in clip_files(folder)? {
        match captions.as_written(&file)? {
            Some(caption) => with.push((file, caption)),
            None => without.push(file),
        }
    }
    let held_out = held_out(with.iter().map(|(file, _)| file.clone()).collect(), held_out_share);
    let source = |(file, caption): (String, String)| {
        let split = if held_out.contains(&file) { Split::HeldOut } else { Split::Training };
        Source { file, caption, split }
    };
    Ok((with.into_iter().map(source).collect(), without))
}

/// A file's caption and quantised clips.
struct Usable {
    file: String,
    caption: String,
    clips: Vec<(usize, Vec<u8>)>,
}

fn store(request: &ImportRequest, usable: Vec<Usable>) -> Result<Vec<ImportedFile>, Error> {
    let held_out = held_out(usable.iter().map(|u| u.file.clone()).collect(), request.held_out);
    let mut writer = Writer::new(request.geometry);
    let mut imported = Vec::new();
    for Usable { file, caption, clips } in usable {
        let split = if held_out.contains(&file) { Split::HeldOut } else { Split::Training };
        imported.push(ImportedFile { file: file.clone(), caption: caption.clone(), clips: clips.len(), split });
        for (first_frame, samples) in clips {
            writer.push(Entry { file: file.clone(), first_frame, caption: caption.clone(), split }, &samples);
        }
    }
    writer.write(&request.target)?;
    Ok(imported)
}

/// The files to hold out: those whose names hash lowest, so that the choice does not follow the alphabet.
fn held_out(mut names: Vec<String>, share: f64) -> Vec<String> {
    names.sort_by_cached_key(|name| stable_hash(name.as_bytes()));
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let least = usize::from(share > 0.0 && names.len() > 1);
    let most = names.len() - usize::from(share < 1.0 && !names.is_empty());
    let count = ((share * names.len() as f64).round() as usize).clamp(least.min(most), most);
    names.truncate(count);
    names
}

/// The names in a folder that may be clips, in natural order.
fn clip_files(folder: &Path) -> Result<Vec<String>, Error> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in folder.read_dir().map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        if !is_text(&name) {
            names.push(name);
        }
    }
    names.sort_by_cached_key(|name| natural_key(name));
    Ok(names)
}

/// The clips of a file: the source frame that each begins with, and its samples `[channels, frames, height, width]`.
///
/// # Errors
/// A file that cannot be read, or is too short.
pub fn clips_of(request: &ImportRequest, file: &str) -> Result<Vec<(usize, Vec<u8>)>, SkipReason> {
    let Geometry { channels, frames: count, height, width } = request.geometry;
    let channels = if channels == 1 { Channels::Grey } else { Channels::Rgb };
    let mut frames = Vec::new();
    let path = request.source.join(file);
    for frame in FrameReader::open(&path, &request.limits)? {
        frames.push(resample::fit(&frame?.with_channels(channels), height, width));
        let bytes = (frames.len() * frames[0].pixels().len() * size_of::<f32>()) as u64;
        request.limits.check_bytes(bytes).map_err(|cause| video::Error::Read { path: path.clone(), cause })?;
    }
    let windows = windows(request.timing, count, frames.len())?;
    let clip = |window: &Vec<usize>| {
        let chosen: Vec<Frame> = window.iter().map(|&i| frames[i].clone()).collect();
        Ok((window[0], Clip::from_frames(&chosen)?.to_bytes()))
    };
    windows.iter().map(clip).collect()
}

/// The source frames of each clip of `count` frames, of a source that has `available`.
fn windows(timing: Timing, count: usize, available: usize) -> Result<Vec<Vec<usize>>, SkipReason> {
    let needed = match timing {
        Timing::Whole => count,
        Timing::Windows { step } => (count - 1).saturating_mul(step.max(1)).saturating_add(1),
    };
    if available < needed {
        return Err(SkipReason::TooShort { needed, got: available });
    }
    Ok(match timing {
        // The frame in the middle of each of `count` equal parts.
        Timing::Whole => vec![(0..count).map(|i| (2 * i + 1) * available / (2 * count)).collect()],
        Timing::Windows { step } => {
            let step = step.max(1);
            let starts = (0..=available - needed).step_by(count * step);
            starts.map(|start| (0..count).map(|i| start + i * step).collect()).collect()
        }
    })
}

#[cfg(test)]
mod tests;
