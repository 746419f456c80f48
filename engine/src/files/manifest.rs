//! `MANIFEST.json`: the size and the sha256 of every file of a folder, written last.
//!
//! A folder with a manifest was written completely; one without was not. [`verify`] finds any later change of a listed
//! file, down to one bit. Files that the manifest does not list (a note somebody added, a crash's `.tmp-*`) are none of
//! its business.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::atomic::TEMPORARY_PREFIX;
use super::json::Pairs;
use super::{FileError, ManifestFault, read_json, sync_folder, write_json};
use crate::Result;

/// The manifest's file name.
pub const NAME: &str = "MANIFEST.json";

/// The version of the format.
const VERSION: u32 = 1;

/// Bytes that are hashed at a time.
const BUFFER: usize = 1 << 18;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest<Files> {
    version: u32,
    /// By path relative to the folder, with `/` between names.
    files: Files,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    size: u64,
    /// Lower-case hexadecimal.
    sha256: String,
}

/// Writes the manifest of a folder and everything below it. Each listed file is flushed to the disk first, so that the
/// manifest is never there without what it promises.
///
/// # Errors
/// Files that cannot be read; links, devices and names that are not Unicode, which a manifest cannot list; a failed
/// write.
pub fn write(folder: impl AsRef<Path>) -> Result<()> {
    let folder = folder.as_ref();
    let mut files = BTreeMap::new();
    list(folder, "", &mut files)?;
    write_json(folder.join(NAME), &Manifest { version: VERSION, files })
}

/// Checks every listed file of a folder, in the order of their names.
///
/// # Errors
/// The first file that is missing or differs ([`FileError::Manifest`], whose path is that file's); a manifest that is
/// missing or not a manifest.
pub fn verify(folder: impl AsRef<Path>) -> Result<()> {
    let folder = folder.as_ref();
    let path = folder.join(NAME);
    let manifest: Manifest<Pairs<Entry>> = read_json(&path)?;
    if manifest.version != VERSION {
        return Err(differs(path, ManifestFault::Version { expected: VERSION, got: manifest.version }));
    }
    let files = match manifest.files.into_map() {
        Ok(files) => files,
        Err(name) => return Err(FileError::DuplicateMember { path, name }.into()),
    };
    for (name, entry) in files {
        if !is_plain(&name) {
            return Err(differs(path, ManifestFault::EntryName { name }));
        }
        check(folder.join(&name), &entry)?;
    }
    Ok(())
}

fn check(path: PathBuf, expected: &Entry) -> Result<()> {
    let size = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        _ => return Err(differs(path, ManifestFault::Missing)),
    };
    // Sizes first: a truncated file of gigabytes need not be hashed.
    if size != expected.size {
        return Err(differs(path, ManifestFault::Size { expected: expected.size, got: size }));
    }
    let (_, got) = describe(&path)?;
    if got == *expected {
        return Ok(());
    }
    Err(differs(path, ManifestFault::Hash { expected: expected.sha256.clone(), got: got.sha256 }))
}

/// Lists what is in `folder`, whose path from the manifest's folder is `prefix`.
fn list(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Entry>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(FileError::io("list", folder))? {
        let entry = entry.map_err(FileError::io("list", folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(FileError::io("inspect", &path))?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(differs(path, ManifestFault::Unlistable));
        };
        let name = format!("{prefix}{name}");
        if name == NAME || entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            continue;
        }
        if kind.is_dir() {
            list(&path, &format!("{name}/"), files)?;
        } else if kind.is_file() && is_plain(&name) {
            let (file, described) = describe(&path)?;
            file.sync_all().map_err(FileError::io("flush", &path))?;
            files.insert(name, described);
        } else {
            return Err(differs(path, ManifestFault::Unlistable));
        }
    }
    sync_folder(folder)
}

/// Size and hash of a file's contents, read once.
fn describe(path: &Path) -> Result<(File, Entry)> {
    let mut file = File::open(path).map_err(FileError::io("open", path))?;
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = file.read(&mut buffer).map_err(FileError::io("read", path))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        size += read as u64;
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((file, Entry { size, sha256 }))
}

/// Whether joining `name` to a folder stays inside it, on every system.
fn is_plain(name: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    name.split('/').all(plain) && !name.contains(['\\', ':', '\0'])
}

fn differs(path: PathBuf, fault: ManifestFault) -> crate::Error {
    FileError::Manifest { path, fault }.into()
}
