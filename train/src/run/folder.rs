//! The run folder and its small files.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use flg_engine::files::{read_json, write_atomic, write_json};
use serde::{Deserialize, Serialize};

use super::{Checkpoints, Environment, Error};
use crate::Result;
use crate::config::Config;

const CONFIG: &str = "config.resolved.toml";
const RECORD: &str = "run.json";
const ENVIRONMENT: &str = "env.json";
const LOG: &str = "log.jsonl";
const METRICS: &str = "metrics.jsonl";
const CHECKPOINTS: &str = "checkpoints";
const MODEL: &str = "model";
const LOCK: &str = ".lock";

/// What a run was started for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The stage: `train`, `prune`, `distill`.
    pub stage: String,
    /// Inputs by name.
    pub inputs: BTreeMap<String, Input>,
}

/// A file or folder that a run reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Where it was.
    pub path: PathBuf,
    /// What identifies its contents, in hexadecimal.
    pub sha256: String,
}

/// A folder that this process alone writes to.
#[derive(Debug)]
pub struct RunFolder {
    root: PathBuf,
    /// Held open: the system drops the lock with it, however the process ends.
    _lock: File,
}

impl RunFolder {
    /// Opens a run folder, which is made if need be, and locks it against other processes.
    ///
    /// # Errors
    /// [`Error::Locked`], and the system's refusals.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let checkpoints = root.join(CHECKPOINTS);
        fs::create_dir_all(&checkpoints).map_err(Error::io("make", &checkpoints))?;
        let path = root.join(LOCK);
        let open = OpenOptions::new().create(true).append(true).open(&path);
        let lock = open.map_err(Error::io("open", &path))?;
        if !try_lock(&lock).map_err(Error::io("lock", &path))? {
            return Err(Error::Locked { path: root.to_owned() });
        }
        Ok(RunFolder { root: root.to_owned(), _lock: lock })
    }

    /// Errors if there is a run in the folder, whole or begun.
    ///
    /// # Errors
    /// [`Error::Occupied`].
    pub fn require_empty(&self) -> Result<(), Error> {
        if [CONFIG, RECORD, METRICS].iter().any(|name| self.root.join(name).exists()) {
            return Err(Error::Occupied { path: self.root.clone() });
        }
        Ok(())
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of what each step measured.
    pub fn metrics(&self) -> PathBuf {
        self.root.join(METRICS)
    }

    /// Where the stage puts the network that it made.
    pub fn model(&self) -> PathBuf {
        self.root.join(MODEL)
    }

    /// Where the run can go on.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.root.join(CHECKPOINTS))
    }

    /// The text of the configuration that the run began with, if it got that far.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn config_text(&self) -> Result<Option<String>, Error> {
        let path = self.root.join(CONFIG);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(Error::io("read", &path)(cause)),
        }
    }

    /// What the run was started for, if it got that far.
    ///
    /// # Errors
    /// A file that is not such a record.
    pub fn record(&self) -> Result<Option<Record>> {
        let path = self.root.join(RECORD);
        if path.exists() { Ok(Some(read_json(path)?)) } else { Ok(None) }
    }

    /// Writes down what the run is about to do, and where.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn describe(&self, config: &Config, record: &Record, environment: &Environment) -> Result<()> {
        let text = config.to_toml();
        write_json(self.root.join(RECORD), record)?;
        write_json(self.root.join(ENVIRONMENT), environment)?;
        Ok(write_atomic(self.root.join(CONFIG), |out| out.write_all(text.as_bytes()))?)
    }

    /// Seconds of a step of the latest part of the run, if that came to its end.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn seconds_per_step(&self) -> Result<Option<f64>, Error> {
        let path = self.root.join(LOG);
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let lines: Vec<serde_json::Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let last = |event: &str| lines.iter().rposition(|line| line["event"] == event);
        let (Some(begin), Some(end)) = (last("started"), last("finished")) else { return Ok(None) };
        let difference = |key: &str| Some(lines[end][key].as_f64()? - lines[begin][key].as_f64()?);
        let found = difference("time").zip(difference("step")).filter(|&(time, steps)| time >= 0.0 && steps > 0.0);
        Ok(found.map(|(time, steps)| time / steps))
    }

    /// Adds a line to the log, with the time of day.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn log(&self, event: &str, step: u64, detail: &str) -> Result<(), Error> {
        let path = self.root.join(LOG);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
        let line = serde_json::json!({ "time": now, "event": event, "step": step, "detail": detail });
        let open = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = open.map_err(Error::io("open", &path))?;
        file.write_all(format!("{line}\n").as_bytes()).map_err(Error::io("write", &path))
    }
}

/// Whether this process got the lock. Where files cannot be locked everyone gets it.
#[cfg(unix)]
fn try_lock(file: &File) -> std::io::Result<bool> {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open as long as `file` is borrowed, and `flock` touches no memory of ours.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match std::io::Error::last_os_error() {
        cause if cause.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
        cause if cause.raw_os_error() == Some(libc::ENOLCK) || cause.raw_os_error() == Some(libc::ENOSYS) => Ok(true),
        cause => Err(cause),
    }
}

#[cfg(not(unix))]
fn try_lock(_file: &File) -> std::io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_for_one_process_and_one_run() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("runs/a");
        let folder = RunFolder::open(&root).unwrap();
        folder.require_empty().unwrap();
        #[cfg(unix)]
        assert!(matches!(RunFolder::open(&root), Err(Error::Locked { .. })));

        let record = Record { stage: "train".to_owned(), inputs: BTreeMap::new() };
        folder.describe(&Config::default(), &record, &Environment::here("test")).unwrap();
        assert!(matches!(folder.require_empty(), Err(Error::Occupied { .. })));
        drop(folder);
        let folder = RunFolder::open(&root).unwrap();
        assert_eq!(folder.record().unwrap(), Some(record));
        assert_eq!(folder.config_text().unwrap().unwrap(), Config::default().to_toml());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(RunFolder::open(&path).unwrap_err().to_string().contains("file/checkpoints"));
    }
}
