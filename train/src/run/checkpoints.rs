//! The checkpoints of a run: names, the newest one, and how many are kept.

use std::fs;
use std::path::{Path, PathBuf};

use flg_engine::files::atomic::TEMPORARY_PREFIX;
use flg_engine::files::{manifest, sync_folder, write_atomic};

use super::checkpoint::{self, Position};
use super::{Error, Result as RunResult};
use crate::Result;
use crate::method::Method;

const LATEST: &str = "latest";
const PREFIX: &str = "step-";

/// A checkpoint that was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Where it was made.
    pub position: Position,
    /// Whether it is this run's, and need not be saved again.
    pub owned: bool,
}

/// The folder of checkpoints.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    root: PathBuf,
}

impl Checkpoints {
    /// Those in a folder, which need not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Checkpoints { root: root.into() }
    }

    /// The folder of the checkpoint after `step` steps.
    pub fn path(&self, step: u64) -> PathBuf {
        self.root.join(format!("{PREFIX}{step:08}"))
    }

    /// The newest complete checkpoint, if there is one.
    ///
    /// # Errors
    /// A pointer that does not name a checkpoint: only something other than this program leaves that behind.
    pub fn latest(&self) -> RunResult<Option<PathBuf>> {
        let pointer = self.root.join(LATEST);
        let text = match fs::read_to_string(&pointer) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Error::io("read", &pointer)(cause)),
        };
        let dangling = |target: &str| Error::DanglingLatest { path: pointer.clone(), target: target.to_owned() };
        let step = step_of(text.trim_end()).ok_or_else(|| dangling(&text))?;
        let target = self.path(step);
        if target.join(manifest::NAME).is_file() { Ok(Some(target)) } else { Err(dangling(&text)) }
    }

    /// Saves a method. When this returns, the checkpoint is on the disk and `latest` names it.
    ///
    /// # Errors
    /// Weights that are not finite; the system's refusals. `latest` then names what it named before.
    pub fn save(&self, method: &dyn Method, position: Position) -> Result<PathBuf> {
        let target = self.path(position.step);
        let unfinished = self.hidden(&target);
        remove(&unfinished)?;
        fs::create_dir_all(&unfinished).map_err(Error::io("make", &unfinished))?;
        let written = checkpoint::write(&unfinished, method, position);
        if let Err(error) = written {
            // The first error is the one to report; what cannot be removed now is removed by the next save.
            let _ = remove(&unfinished);
            return Err(error);
        }
        // A checkpoint of this step is there only if the run went back behind it, and then `latest` names an earlier one.
        self.discard(&target)?;
        fs::rename(&unfinished, &target).map_err(Error::io("rename the new folder to", &target))?;
        sync_folder(&self.root)?;
        self.point_to(&target)?;
        Ok(target)
    }

    /// Fills a method with the checkpoint at `path`, here or elsewhere. If it is one of these, it is the latest now.
    ///
    /// # Errors
    /// A checkpoint that is incomplete, damaged, of another method, or of other networks.
    pub fn load(&self, path: &Path, method: &mut dyn Method) -> Result<Loaded> {
        let position = checkpoint::read(path, method)?;
        if self.owns(path) {
            self.point_to(path)?;
            return Ok(Loaded { position, owned: true });
        }
        // The lines of another run stay with it.
        Ok(Loaded { position: Position { metrics_bytes: 0, ..position }, owned: false })
    }

    fn owns(&self, path: &Path) -> bool {
        let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
        parent.is_some() && parent == self.root.canonicalize().ok()
    }

    /// Removes what a crash left, and of the checkpoints up to `step` all but the newest `keep`.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn trim(&self, keep: usize, step: u64) -> RunResult<()> {
        let mut steps = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(Error::io("list", &self.root))? {
            let entry = entry.map_err(Error::io("list", &self.root))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(TEMPORARY_PREFIX) {
                remove(&entry.path())?;
            }
            steps.extend(step_of(&name).filter(|&s| s <= step));
        }
        steps.sort_unstable();
        let old = steps.len().saturating_sub(keep);
        steps[..old].iter().try_for_each(|&step| self.discard(&self.path(step)))
    }

    fn point_to(&self, path: &Path) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(write_atomic(self.root.join(LATEST), |out| writeln!(out, "{name}"))?)
    }

    /// The name of a folder that is not, or no longer, a checkpoint.
    fn hidden(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.root.join(format!("{TEMPORARY_PREFIX}{name}"))
    }

    /// Removes a checkpoint so that at no moment half of it goes by its name.
    fn discard(&self, path: &Path) -> RunResult<()> {
        if !path.exists() {
            return Ok(());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let hidden = self.root.join(format!("{TEMPORARY_PREFIX}old-{name}"));
        remove(&hidden)?;
        fs::rename(path, &hidden).map_err(Error::io("rename", path))?;
        remove(&hidden)
    }
}

/// The step of a checkpoint's folder name.
fn step_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    let plain = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// Removes a file or folder if it is there.
fn remove(path: &Path) -> RunResult<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(cause),
    };
    gone.map_err(Error::io("remove", path))
}
