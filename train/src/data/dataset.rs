//! A data set on disk: one folder with three files.
//!
//! | file | what it holds |
//! |---|---|
//! | `clips.npy` | samples 0 to 255, `u1`, `[clips, channels, frames, height, width]` |
//! | `captions.json` | of each clip its caption, its part, and where it came from |
//! | `manifest.json` | geometry, moments of the training clips, SHA-256 of the other two; written last |

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Error, Moments, Split};
use crate::video::save::save;
use crate::video::{Cause, Geometry, npy};

const CLIPS: &str = "clips.npy";
const CAPTIONS: &str = "captions.json";
const MANIFEST: &str = "manifest.json";
const VERSION: u32 = 1;

/// The largest manifest, and the largest of the other files, that is loaded.
const MANIFEST_BYTES: u64 = 1 << 16;
const FILE_BYTES: u64 = 8 << 30;

/// Where a clip came from and what it shows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The name of the source file.
    pub(crate) file: String,
    /// The source's frame that the clip begins with.
    pub(crate) first_frame: usize,
    /// Lower-case words.
    pub(crate) caption: String,
    /// The part.
    pub(crate) split: Split,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    geometry: Geometry,
    clips: usize,
    moments: Moments,
    clips_sha256: String,
    captions_sha256: String,
}

/// A data set in memory.
#[derive(Debug, Clone)]
pub(crate) struct Dataset {
    pub(crate) geometry: Geometry,
    pub(crate) moments: Moments,
    pub(crate) entries: Vec<Entry>,
    /// `[clips, channels, frames, height, width]`.
    pub(crate) samples: Vec<u8>,
}

/// Why a data set's folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetCause {
    /// The system said so.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Not what this program writes.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Written by another version of this program.
    #[error("it has version {got}, this program reads version {VERSION}")]
    Version {
        /// The version in the manifest.
        got: u32,
    },
    /// A file is not the one that the manifest was written for.
    #[error("its SHA-256 is not the one in the manifest: it was changed or damaged")]
    Digest,
    /// A file is larger than what is loaded.
    #[error("it is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The files contradict each other.
    #[error("{what} contradicts the manifest")]
    Contradiction {
        /// What differs.
        what: &'static str,
    },
    /// The array cannot be read or written.
    #[error(transparent)]
    Array(#[from] Cause),
}

/// Collects clips, and writes them as a data set.
#[derive(Debug)]
pub(crate) struct Writer {
    geometry: Geometry,
    entries: Vec<Entry>,
    samples: Vec<u8>,
}

impl Writer {
    /// A data set without clips.
    pub(crate) fn new(geometry: Geometry) -> Self {
        Self { geometry, entries: Vec::new(), samples: Vec::new() }
    }

    /// Adds a clip, `[channels, frames, height, width]`.
    pub(crate) fn push(&mut self, entry: Entry, samples: &[u8]) {
        self.entries.push(entry);
        self.samples.extend_from_slice(samples);
    }

    /// Creates the folder and writes the files.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        let moments = self.moments()?;
        std::fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.to_owned(), source })?;
        let Geometry { channels, frames, height, width } = self.geometry;
        let shape = [self.entries.len(), channels, frames, height, width];
        let captions = |out: &mut dyn Write| Ok(serde_json::to_writer_pretty(out, &self.entries)?);
        let manifest = Manifest {
            version: VERSION,
            geometry: self.geometry,
            clips: self.entries.len(),
            moments,
            clips_sha256: write_file(&folder.join(CLIPS), |out| Ok(npy::write_bytes(out, &shape, &self.samples)?))?,
            captions_sha256: write_file(&folder.join(CAPTIONS), captions)?,
        };
        write_file(&folder.join(MANIFEST), |out| Ok(serde_json::to_writer_pretty(out, &manifest)?))?;
        Ok(())
    }

    /// Moments of the training clips; of all, if all are held out.
    fn moments(&self) -> Result<Moments, Error> {
        let size = self.samples.len() / self.entries.len().max(1);
        let all_held_out = self.entries.iter().all(|e| e.split == Split::HeldOut);
        let mut histogram = [0_u64; 256];
        for (entry, samples) in self.entries.iter().zip(self.samples.chunks_exact(size.max(1))) {
            if all_held_out || entry.split == Split::Training {
                samples.iter().for_each(|&s| histogram[usize::from(s)] += 1);
            }
        }
        let n = histogram.iter().sum::<u64>().max(1) as f64;
        let mean = |power: i32| {
            let terms = histogram.iter().enumerate().map(|(s, &count)| count as f64 * (s as f64 / 255.0).powi(power));
            terms.sum::<f64>() / n
        };
        Moments::new(mean(1), mean(2))
    }
}

/// Writes a file and returns its SHA-256.
fn write_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<(), DatasetCause>) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let written = fill(&mut bytes).and_then(|()| save(path, |out| Ok(out.write_all(&bytes)?)));
    written.map_err(|cause| Error::Dataset { path: path.to_owned(), cause })?;
    Ok(digest(&bytes))
}

/// Whether a folder looks like a data set.
pub(crate) fn is_dataset(folder: &Path) -> bool {
    folder.join(MANIFEST).is_file()
}

/// Loads a data set, and checks every file against the manifest.
pub(crate) fn load(folder: &Path) -> Result<Dataset, Error> {
    let fails = |name: &str, cause| Error::Dataset { path: folder.join(name), cause };
    let manifest = read_limited(&folder.join(MANIFEST), MANIFEST_BYTES)?;
    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|e| fails(MANIFEST, e.into()))?;
    if manifest.version != VERSION {
        return Err(fails(MANIFEST, DatasetCause::Version { got: manifest.version }));
    }
    let checked = |name: &str, expected: &str| {
        let bytes = read_limited(&folder.join(name), FILE_BYTES)?;
        if digest(&bytes) == expected { Ok(bytes) } else { Err(fails(name, DatasetCause::Digest)) }
    };
    let captions = checked(CAPTIONS, &manifest.captions_sha256)?;
    let entries: Vec<Entry> = serde_json::from_slice(&captions).map_err(|e| fails(CAPTIONS, e.into()))?;
    let clips = checked(CLIPS, &manifest.clips_sha256)?;
    let Geometry { channels, frames, height, width } = manifest.geometry;
    let shape = [manifest.clips, channels, frames, height, width];
    manifest.geometry.pixels()?;
    let samples = npy::read_bytes(&clips, &shape).map_err(|cause| fails(CLIPS, cause.into()))?;
    if entries.len() != manifest.clips {
        return Err(fails(CAPTIONS, DatasetCause::Contradiction { what: "the number of clips" }));
    }
    Ok(Dataset { geometry: manifest.geometry, moments: manifest.moments, entries, samples })
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let fails = |cause| Error::Dataset { path: path.to_owned(), cause };
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(|e| fails(e.into()))?.take(limit.saturating_add(1));
    file.read_to_end(&mut bytes).map_err(|e| fails(e.into()))?;
    if bytes.len() as u64 > limit { Err(fails(DatasetCause::TooLarge { limit })) } else { Ok(bytes) }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
