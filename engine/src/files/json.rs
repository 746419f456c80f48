//! JSON files of bounded size, written crash-safe, and objects whose repeated members are seen.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{FileError, write_atomic};
use crate::Result;

/// The largest JSON file that is read, in bytes.
pub const MAX_JSON: u64 = 16 << 20;

/// The most members that a [`Pairs`] object may have.
const MAX_MEMBERS: usize = 200_000;

/// Reads a JSON file of at most [`MAX_JSON`] bytes.
///
/// # Errors
/// A file that cannot be read, is not regular, is too large, or is not a `T`.
pub fn read_json<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<T> {
    let path = path.as_ref();
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know, even of a file that grows while it is read.
    (&file).take(MAX_JSON + 1).read_to_end(&mut bytes).map_err(FileError::io("read", path))?;
    if bytes.len() as u64 > MAX_JSON {
        let len = file.metadata().map_or(bytes.len() as u64, |m| m.len());
        return Err(FileError::TooLarge { path: path.to_owned(), len, limit: MAX_JSON }.into());
    }
    let parsed = serde_json::from_slice(&bytes);
    Ok(parsed.map_err(|cause| FileError::Json { path: path.to_owned(), cause })?)
}

/// Writes indented JSON and a final newline, crash-safe.
///
/// # Errors
/// Those of [`write_atomic`]; a value that JSON cannot hold is reported as a failed write.
pub fn write_json(path: impl AsRef<Path>, value: &impl Serialize) -> Result<()> {
    write_atomic(path, |writer| {
        serde_json::to_writer_pretty(&mut *writer, value)?;
        writer.write_all(b"\n")
    })
}

/// Opens a regular file. Checked before opening: opening a pipe would wait for someone to write to it.
pub(crate) fn open_regular(path: &Path) -> Result<File, FileError> {
    let metadata = fs::metadata(path).map_err(FileError::io("open", path))?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    File::open(path).map_err(FileError::io("open", path))
}

/// The members of a JSON object in order, repeated ones included: a map would silently keep one of them.
#[derive(Debug)]
pub(crate) struct Pairs<V>(Vec<(String, V)>);

impl<V> Pairs<V> {
    /// The members by name, or the first name that comes twice.
    pub(crate) fn into_map(self) -> Result<BTreeMap<String, V>, String> {
        let mut map = BTreeMap::new();
        for (name, value) in self.0 {
            if map.contains_key(&name) {
                return Err(name);
            }
            map.insert(name, value);
        }
        Ok(map)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Members<V> {
            type Value = Pairs<V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Pairs<V>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    if members.len() == MAX_MEMBERS {
                        return Err(A::Error::custom(format_args!("an object of more than {MAX_MEMBERS} members")));
                    }
                    members.push(member);
                }
                Ok(Pairs(members))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_members_are_seen() {
        let pairs: Pairs<u8> = serde_json::from_str(r#"{"a": 1, "b": 2, "a": 1}"#).unwrap();
        assert_eq!(pairs.into_map().unwrap_err(), "a");
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        File::create(&path).unwrap().set_len(MAX_JSON + 1).unwrap();
        let error = read_json::<u8>(&path).unwrap_err().to_string();
        assert!(error.contains("x.json") && error.contains("16777217 bytes"), "{error}");
    }

    #[test]
    fn a_folder_is_not_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = read_json::<u8>(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
