//! Checkpoints that commands read.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest, Sha256};

use super::exit::BadInput;
use crate::data::Card;
use crate::run::{Checkpoints, Input};

pub use flg_model::Checkpoint;

/// The checkpoint that a path stands for: a folder itself, the `model` of a run, what `latest` names, or a single
/// `.safetensors` file.
///
/// # Errors
/// A path with no folder behind it.
pub fn checkpoint_folder(path: &Path) -> anyhow::Result<PathBuf> {
    let made = path.join("model");
    if made.join(flg_model::checkpoint::INDEX).is_file() {
        return Ok(made);
    }
    let single = path.extension().is_some_and(|extension| extension == "safetensors") && path.is_file();
    if path.is_dir() || single {
        // An expert is known by the name of its folder, which `.` does not say.
        let named = || path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()));
        return if path.file_name().is_some() { Ok(path.to_owned()) } else { named() };
    }
    if let Some(checkpoints) = path.parent().filter(|_| path.file_name().is_some_and(|name| name == "latest"))
        && let Some(latest) = Checkpoints::new(checkpoints).latest()?
    {
        return Ok(latest);
    }
    let what = if path.exists() { "is not a folder" } else { "does not exist" };
    Err(BadInput(format!("checkpoint `{}` {what}", path.display())).into())
}

/// The data card of a checkpoint, without which captions mean nothing.
///
/// # Errors
/// A checkpoint without one.
pub fn card(folder: &Path) -> anyhow::Result<Card> {
    let missing = || {
        let what = "has no flg_data.json: it was not made by `flg train`, so its captions and scale are not known";
        BadInput(format!("checkpoint `{}` {what}", folder.display()))
    };
    Ok(Card::read(folder)?.ok_or_else(missing)?)
}

/// A checkpoint as an input of a run: its weights identify it.
///
/// # Errors
/// Files that cannot be read.
pub fn identify(folder: &Path) -> anyhow::Result<Input> {
    let transformer = folder.join("transformer");
    let weights = if transformer.is_dir() { transformer } else { folder.to_owned() };
    let list = |error| format!("cannot list `{}`: {error}", weights.display());
    let entries = weights.read_dir().map_err(|e| BadInput(list(e)))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    files.sort();
    hash_of(folder, &files)
}

/// A file as an input of a run.
///
/// # Errors
/// One that cannot be read.
pub fn identify_file(path: &Path) -> anyhow::Result<Input> {
    hash_of(path, &[path.to_owned()])
}

fn hash_of(path: &Path, files: &[PathBuf]) -> anyhow::Result<Input> {
    let mut hash = Sha256::new();
    for file in files {
        let copied = File::open(file).and_then(|mut file| io::copy(&mut file, &mut Hasher(&mut hash)));
        copied.with_context(|| format!("cannot read `{}`", file.display()))?;
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Input { path: path.to_owned(), sha256 })
}

/// Takes what is written to it into a hash.
struct Hasher<'a>(&'a mut Sha256);

impl Write for Hasher<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
