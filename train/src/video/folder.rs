//! A folder of PNG files, one frame each.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::frame::Frames;
use super::limits::check;
use super::{Cause, Limits, png};

/// The PNG files of a folder in the natural order of their names, of each the first frame. Other files, and folders
/// within, are passed over.
pub(super) fn read(folder: &Path, limits: &Limits) -> Result<Frames, Cause> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png")) && path.is_file() {
            files.push(path);
            check("the number of frames", limits.frames as u64, files.len() as u64)?;
        }
    }
    files.sort_by_cached_key(|path| natural_key(&path.to_string_lossy()));
    let limits = *limits;
    Ok(Box::new(files.into_iter().map(move |path| {
        let mut frames = png::read(BufReader::new(File::open(path)?), &limits)?;
        frames.next().unwrap_or(Err(Cause::NoFrames))
    })))
}

/// Orders names as people count: runs of digits by their value.
pub(crate) fn natural_key(name: &str) -> Vec<(u128, String)> {
    let mut key = vec![(0_u128, String::new())];
    let mut digits = false;
    for c in name.chars() {
        if c.is_ascii_digit() && !digits {
            key.push((0, String::new()));
        }
        digits = c.is_ascii_digit();
        if let Some((number, text)) = key.last_mut() {
            match c.to_digit(10) {
                Some(d) if text.is_empty() => *number = number.saturating_mul(10).saturating_add(d.into()),
                _ => text.push(c),
            }
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_people_count() {
        let mut names = ["f10.png", "f9.png", "f1b2.png", "f1b10.png", "e11.png", "f010a.png"];
        names.sort_by_cached_key(|n| natural_key(n));
        assert_eq!(names, ["e11.png", "f1b2.png", "f1b10.png", "f9.png", "f10.png", "f010a.png"]);
    }
}
