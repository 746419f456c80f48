//! Steps of a run on the disk, so that one that was interrupted, however abruptly, goes on behind the last of them.
//!
//! A solver may need what earlier steps predicted, each solver something else. So what is kept is the prediction of every
//! step, and a run that goes on takes the steps again from the first, with the predictions that are there: it comes to the
//! same bits as one that was never interrupted, and no network is asked twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flg_engine::safetensors::{self, SafeTensors};
use flg_engine::{Device, Tensor};
use flg_model::Result as ModelResult;
use sha2::{Digest, Sha256};

use super::Error;
use super::denoise::{Denoising, Given};
use crate::Result;
use crate::run::Error as RunError;

/// The tensor in a file.
const VELOCITY: &str = "velocity";
/// The text in a file's header that says what it is a step of.
const REQUEST: &str = "request";

/// The steps of one clip: files in a folder.
#[derive(Clone, Debug)]
pub struct Journal {
    folder: PathBuf,
    clip: usize,
    request: String,
    device: Device,
    /// Steps that were there when it was opened.
    known: usize,
}

impl Journal {
    /// The journal of a clip, with the steps of this run that are there.
    ///
    /// # Errors
    /// [`Error::OtherRequest`] where they are those of another run; files that cannot be read; the system's refusals.
    pub fn open(folder: &Path, clip: usize, denoising: &Denoising, given: &Given) -> Result<Journal> {
        let (device, request) = (given.noise.device().clone(), request(denoising, given)?);
        let mut journal = Journal { folder: folder.to_owned(), clip, request, device, known: 0 };
        fs::create_dir_all(folder).map_err(RunError::io("make", folder))?;
        while journal.path(journal.known).is_file() {
            let path = journal.path(journal.known);
            if SafeTensors::open(&path)?.metadata().get(REQUEST) != Some(&journal.request) {
                return Err(Error::OtherRequest { path }.into());
            }
            journal.known += 1;
        }
        Ok(journal)
    }

    /// Steps that were there when it was opened.
    pub fn known(&self) -> usize {
        self.known
    }

    /// What a step predicted, if it was there.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn recall(&self, step: usize) -> ModelResult<Option<Tensor>> {
        if step >= self.known {
            return Ok(None);
        }
        Ok(Some(SafeTensors::open(self.path(step))?.tensor_f32(VELOCITY, &self.device)?))
    }

    /// Keeps what a step predicted.
    ///
    /// # Errors
    /// The system's refusals.
    pub(super) fn record(&self, step: usize, velocity: &Tensor) -> ModelResult<()> {
        let texts = BTreeMap::from([(REQUEST.to_owned(), self.request.clone())]);
        Ok(safetensors::write(self.path(step), [(VELOCITY, velocity)], &texts)?)
    }

    /// Removes the steps of all clips, and the folder if nothing else is in it.
    pub fn remove(folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with("clip-") && name.ends_with(".safetensors")) {
                // A file that stays takes room, no more.
                let _ = fs::remove_file(entry.path());
            }
        }
        let _ = fs::remove_dir(folder);
    }

    fn path(&self, step: usize) -> PathBuf {
        self.folder.join(format!("clip-{:03}-step-{step:04}.safetensors", self.clip))
    }
}

/// A hash of all that the steps of a run depend on. Networks are known by their files' paths, sizes and times: reading
/// them takes as long as a step.
fn request(denoising: &Denoising, given: &Given) -> Result<String> {
    let Denoising { networks, boundary, skip, sampler, second_guidance, precision, key } = denoising;
    let mut hash = Sha256::new();
    hash.update(format!("{:?}", given.noise.device().runtime()));
    hash.update(format!("{boundary} {skip:?} {sampler:?} {second_guidance:?} {precision:?} {key:?}"));
    for network in networks {
        for file in files(network)? {
            let about = fs::metadata(&file).map_err(RunError::io("look at", &file))?;
            let path = file.canonicalize().unwrap_or(file);
            hash.update(format!("{} {} {:?}", path.display(), about.len(), about.modified().ok()));
        }
    }
    let Given { noise, text, null_text, image, beside, first_frame } = given;
    let optional = [image, beside, first_frame].map(Option::as_ref);
    for tensor in [Some(noise), Some(text), Some(null_text)].into_iter().chain(optional) {
        hash.update(format!("{:?}", tensor.map(|tensor| tensor.shape())));
        for value in tensor.map_or_else(|| Ok(Vec::new()), Tensor::values)? {
            hash.update(value.to_bits().to_le_bytes());
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The files of a network's folder, or the one file that it is, in a fixed order.
fn files(network: &Path) -> Result<Vec<PathBuf>> {
    if network.is_file() {
        return Ok(vec![network.to_owned()]);
    }
    let list = RunError::io("list", network);
    let mut files: Vec<PathBuf> = fs::read_dir(network).map_err(list)?.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    Ok(files)
}
