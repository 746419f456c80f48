//! The manifest: every caption and clip of a finished set, with the size and hash of its file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CLIPS, EncodedCause, Form, MAX_CLIPS, MAX_TEXT, NULL, TEXTS};
use crate::data::Split;

/// Version of the layout.
pub(super) const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub version: u32,
    pub form: Form,
    pub null: FileEntry,
    pub captions: Vec<CaptionEntry>,
    pub clips: Vec<ClipEntry>,
}

/// A file of the set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    /// Below the set's folder, with `/` between names.
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaptionEntry {
    pub text: String,
    pub file: FileEntry,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClipEntry {
    /// What the writer called it.
    pub name: String,
    /// Position in the captions.
    pub caption: usize,
    pub split: Split,
    pub file: FileEntry,
}

impl Manifest {
    /// Every rule that needs no other file.
    pub fn check(&self) -> Result<(), EncodedCause> {
        if self.version != VERSION {
            return Err(EncodedCause::Version { expected: VERSION, got: self.version });
        }
        self.form.check()?;
        if self.clips.len() > MAX_CLIPS || self.captions.len() > MAX_CLIPS {
            return Err(EncodedCause::TooMany);
        }
        for file in self.files() {
            file.check_place()?;
        }
        let captions = self.captions.len();
        for ClipEntry { name, caption, .. } in &self.clips {
            if *caption >= captions {
                return Err(EncodedCause::Caption { clip: name.clone(), caption: *caption, captions });
            }
        }
        once(self.captions.iter().map(|caption| caption.text.as_str()))?;
        once(self.clips.iter().map(|clip| clip.name.as_str()))?;
        once(self.files().map(|file| file.file.as_str()))
    }

    /// Every file of the set.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        let captions = self.captions.iter().map(|caption| &caption.file);
        std::iter::once(&self.null).chain(captions).chain(self.clips.iter().map(|clip| &clip.file))
    }
}

impl FileEntry {
    /// The entry of a file that is there.
    pub fn of(folder: &Path, file: String) -> Result<Self, EncodedCause> {
        let (bytes, sha256) = hash(&folder.join(&file))?;
        Ok(FileEntry { file, bytes, sha256 })
    }

    /// Only names that the writer gives: nothing outside of the set's folder.
    fn check_place(&self) -> Result<(), EncodedCause> {
        let plain = |name: &str| {
            let stem = name.strip_suffix(".safetensors").unwrap_or("");
            !stem.is_empty() && stem.len() <= 20 && stem.bytes().all(|byte| byte.is_ascii_digit())
        };
        let known = match self.file.split_once('/') {
            None => self.file == NULL,
            Some((folder, name)) => [TEXTS, CLIPS].contains(&folder) && plain(name),
        };
        if known { Ok(()) } else { Err(EncodedCause::Outside { file: self.file.clone() }) }
    }

    /// Whether the file is there and as long as it was.
    pub fn check_size(&self, folder: &Path) -> Result<(), EncodedCause> {
        let path = folder.join(&self.file);
        let got = std::fs::metadata(&path).map_err(io("inspect", &path))?.len();
        if got == self.bytes { Ok(()) } else { Err(EncodedCause::Size { expected: self.bytes, got }) }
    }

    /// Whether it is the file that was written.
    pub fn check_contents(&self, folder: &Path) -> Result<(), EncodedCause> {
        self.check_size(folder)?;
        let (_, sha256) = hash(&folder.join(&self.file))?;
        if sha256 == self.sha256 { Ok(()) } else { Err(EncodedCause::Digest) }
    }
}

/// A text that may be stored.
pub(super) fn check_text(text: &str) -> Result<(), EncodedCause> {
    let len = text.len();
    if len > MAX_TEXT { Err(EncodedCause::LongText { len }) } else { Ok(()) }
}

fn once<'n>(names: impl Iterator<Item = &'n str>) -> Result<(), EncodedCause> {
    let mut seen = BTreeSet::new();
    for name in names {
        check_text(name)?;
        if !seen.insert(name) {
            return Err(EncodedCause::Twice { name: name.to_owned() });
        }
    }
    Ok(())
}

/// Length and SHA-256 of a file.
pub(super) fn hash(path: &Path) -> Result<(u64, String), EncodedCause> {
    let mut file = File::open(path).map_err(io("open", path))?;
    let (mut hash, mut buffer, mut bytes) = (Sha256::new(), vec![0; 1 << 18], 0);
    loop {
        let read = file.read(&mut buffer).map_err(io("read", path))?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        hash.update(&buffer[..read]);
    }
    Ok((bytes, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// A refusal of the system.
pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> EncodedCause {
    let path = path.to_owned();
    move |cause| EncodedCause::Engine(flg_engine::FileError::Io { action, path, cause }.into())
}
