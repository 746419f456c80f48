//! Replacing a file so that a crash, a full disk or a lost process leaves the old contents or the new, never a mix.
//!
//! The contents go to a temporary file in the same folder, which is flushed to the disk, then renamed over the target;
//! then the folder is flushed, because a rename that only memory knows is lost with the power. A process that dies on
//! the way leaves a file named `.tmp-*`: readers never look at it, and the next write to the same target replaces it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::FileError;
use crate::Result;

/// Names of unfinished files start with this.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Bytes that are gathered before the system is called.
const BUFFER: usize = 1 << 20;

/// Makes the file at `path` hold what `fill` writes, or leaves it as it was.
///
/// The new file has the permissions that the process gives to any new file (its umask). One writer a path at a time:
/// the temporary name is derived from the target's.
///
/// # Errors
/// [`FileError::Io`] where the system refuses a step or `fill` does; the old file is then untouched and the temporary
/// file removed. Only where flushing the *folder* fails is the new file there already, though perhaps not for good.
pub fn write_atomic(path: impl AsRef<Path>, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let path = path.as_ref();
    let temporary = Temporary::beside(path)?;
    temporary.write(fill).map_err(FileError::io("write", path))?;
    temporary.rename_to(path)?;
    sync_folder(folder_of(path))
}

/// Flushes a folder's list of files to the disk, so that files made, renamed or removed in it stay so.
///
/// # Errors
/// [`FileError::Io`]. On systems other than Unix folders cannot be flushed; there this only checks that it is there.
pub fn sync_folder(folder: impl AsRef<Path>) -> Result<()> {
    let folder = folder.as_ref();
    let flushed = if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all())
    } else {
        fs::metadata(folder).map(drop)
    };
    Ok(flushed.map_err(FileError::io("flush folder", folder))?)
}

/// The folder that a file is in; `.` for a bare name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// An unfinished file; removed when dropped.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn beside(target: &Path) -> Result<Self, FileError> {
        let nameless = || io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a file name");
        let name = target.file_name().ok_or_else(nameless).map_err(FileError::io("write", target))?;
        let mut hidden = OsString::from(TEMPORARY_PREFIX);
        hidden.push(name);
        Ok(Temporary { path: folder_of(target).join(hidden) })
    }

    fn write(&self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        // What a crash left is removed, not truncated: it might be a link to something else.
        match fs::remove_file(&self.path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        let mut writer = BufWriter::with_capacity(BUFFER, File::create_new(&self.path)?);
        fill(&mut writer)?;
        writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    fn rename_to(self, target: &Path) -> Result<(), FileError> {
        fs::rename(&self.path, target).map_err(FileError::io("rename the new file to", target))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename nothing has this name. After a failure the failure is what the caller must hear of; a file
        // that cannot even be removed is replaced by the next write.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_failing_writer_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        write_atomic(&path, |w| w.write_all(b"old")).unwrap();
        let full = |w: &mut dyn Write| {
            w.write_all(b"half of the new")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        };
        let error = write_atomic(&path, full).unwrap_err().to_string();
        assert!(error.contains("x.bin") && error.contains("no storage space"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["x.bin"]);
    }

    #[test]
    fn a_panicking_writer_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        write_atomic(&path, |w| w.write_all(b"old")).unwrap();
        let panics = || write_atomic(&path, |_| panic!("the writer's own bug"));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["x.bin"]);
    }

    #[test]
    fn what_a_crash_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        fs::write(folder.path().join(".tmp-x.bin"), vec![7; 1000]).unwrap();
        write_atomic(&path, |w| w.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["x.bin"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_planted_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        fs::write(&precious, b"keep").unwrap();
        std::os::unix::fs::symlink(&precious, folder.path().join(".tmp-x.bin")).unwrap();
        write_atomic(folder.path().join("x.bin"), |w| w.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&precious).unwrap(), b"keep");
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        File::create(folder.path().join("plain")).unwrap();
        write_atomic(folder.path().join("ours"), |w| w.write_all(b"x")).unwrap();
        assert_eq!(mode("ours"), mode("plain"));
    }

    #[test]
    fn a_missing_folder_or_name_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomic(folder.path().join("no/x.bin"), |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("no/x.bin"), "{error}");
        let error = write_atomic("/", |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("file name"), "{error}");
    }
}
