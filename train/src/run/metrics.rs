//! `metrics.jsonl`: one JSON object a step, and nothing that depends on the clock.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Error, Result};
use crate::method::Metrics;

/// The file, open at its end.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl MetricsFile {
    /// Opens the file and keeps its first `bytes` bytes: those of the steps before a checkpoint. 0 starts anew.
    ///
    /// # Errors
    /// [`Error::MetricsShort`] if there are fewer; the system's refusals.
    pub fn open_at(path: &Path, bytes: u64) -> Result<Self> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(Error::io("open", path))?;
        let got = file.metadata().map_err(Error::io("inspect", path))?.len();
        if got < bytes {
            return Err(Error::MetricsShort { path: path.to_owned(), expected: bytes, got });
        }
        file.set_len(bytes).map_err(Error::io("cut", path))?;
        file.seek(SeekFrom::End(0)).map_err(Error::io("open", path))?;
        Ok(MetricsFile { path: path.to_owned(), file, bytes })
    }

    /// The losses of all lines, in order.
    ///
    /// # Errors
    /// [`Error::MetricsLine`] for a line that this type did not write.
    pub fn losses(&mut self) -> Result<Vec<f64>> {
        let mut text = String::new();
        self.file.seek(SeekFrom::Start(0)).map_err(Error::io("read", &self.path))?;
        self.file.read_to_string(&mut text).map_err(Error::io("read", &self.path))?;
        let loss = |(i, line): (usize, &str)| {
            let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
            let loss = value.and_then(|value| value.get("loss")?.as_f64());
            loss.ok_or_else(|| Error::MetricsLine { path: self.path.clone(), line: i + 1 })
        };
        text.lines().enumerate().map(loss).collect()
    }

    /// Adds the line of a step.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn append(&mut self, step: u64, metrics: &Metrics) -> Result<()> {
        let mut object = serde_json::Map::new();
        object.insert("step".to_owned(), step.into());
        object.extend(metrics.iter().map(|&(name, value)| (name.to_owned(), value.into())));
        let mut line = serde_json::Value::Object(object).to_string();
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(Error::io("write", &self.path))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Bytes written so far, all of them flushed to the disk: what a checkpoint records.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn flushed(&mut self) -> Result<u64> {
        self.file.sync_data().map_err(Error::io("flush", &self.path))?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_file_has_the_bytes_of_one_that_never_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let line = |file: &mut MetricsFile, step| file.append(step, &vec![("loss", 0.1 * step as f64), ("lr", 1e-3)]);

        let mut file = MetricsFile::open_at(&path, 0).unwrap();
        (0..3).for_each(|step| line(&mut file, step).unwrap());
        let at_three = file.flushed().unwrap();
        (3..5).for_each(|step| line(&mut file, step).unwrap());
        let whole = std::fs::read(&path).unwrap();

        // A torn last line, as after a crash.
        file.file.write_all(b"{\"step\": 5, \"lo").unwrap();
        let mut file = MetricsFile::open_at(&path, at_three).unwrap();
        assert_eq!(file.losses().unwrap(), [0.0, 0.1, 0.2]);
        (3..5).for_each(|step| line(&mut file, step).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn lost_lines_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        assert!(matches!(MetricsFile::open_at(&path, 1), Err(Error::MetricsShort { expected: 1, got: 0, .. })));
        std::fs::write(&path, "{\"loss\": 1}\nnonsense\n").unwrap();
        let error = MetricsFile::open_at(&path, 21).unwrap().losses().unwrap_err();
        assert!(matches!(error, Error::MetricsLine { line: 2, .. }), "{error}");
    }
}
