//! Writing: the header goes through the reader's own checks first, so that no file is written that could not be read.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::header::{METADATA, RawHeader};
use super::layout::Header;
use super::{Elements, Fault, Info, MAX_HEADER, PREFIX, StoredType};
use crate::files::{FileError, write_atomic};
use crate::{Result, Tensor};

/// Writes tensors and text to a file, crash-safe ([`write_atomic`]). The bytes depend on names, values and text only.
///
/// # Errors
/// Names that [`SafeTensors::open`](super::SafeTensors::open) refuses or that come twice, more tensors or a longer header
/// than it reads (nothing is written then); a failed write (the old file is as it was).
pub fn write<'t, N: Into<String>>(
    path: impl AsRef<Path>,
    entries: impl IntoIterator<Item = (N, &'t Tensor)>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let entries: Vec<(String, &Tensor)> = entries.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect();
    let info = |tensor: &Tensor| Info { dtype: tensor.dtype().into(), shape: tensor.shape() };
    let list = entries.iter().map(|(name, tensor)| (name.clone(), info(tensor))).collect();
    // A name that comes twice is refused by the plan, before this map is asked.
    let tensors: BTreeMap<&str, &Tensor> = entries.iter().map(|(name, tensor)| (name.as_str(), *tensor)).collect();
    write_streamed(path, list, metadata, &mut |name, elements| elements.push_tensor(tensors[name]))
}

/// Writes a file tensor by tensor, crash-safe as [`write()`]: `fill` is asked for the elements of each, in the file's own
/// order, so no more than it wants to is in memory. The bytes are those of [`write()`].
///
/// # Errors
/// As [`write()`]; what `fill` refuses; a tensor that it did not give all elements of. The old file is as it was then.
pub fn write_streamed(
    path: impl AsRef<Path>,
    entries: Vec<(String, Info)>,
    metadata: &BTreeMap<String, String>,
    fill: &mut dyn FnMut(&str, &mut Elements<'_>) -> Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let plan = Plan::new(entries, metadata, path)?;
    replace(path, |writer| plan.write_to(path, writer, fill))
}

/// [`write_atomic`] for a body that refuses for other reasons than the system's.
fn replace(path: &Path, body: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut refused = None;
    let written = write_atomic(path, |writer| {
        body(writer).map_err(|error| {
            refused = Some(error);
            io::Error::other("refused")
        })
    });
    refused.map_or(written, Err)
}

/// Everything about a file but its elements.
struct Plan {
    /// Length, JSON and padding.
    header: Vec<u8>,
    /// In file order.
    entries: Vec<(String, Info)>,
}

/// A tensor's member of the header.
#[derive(Serialize)]
struct Record<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

impl Plan {
    fn new(mut entries: Vec<(String, Info)>, metadata: &BTreeMap<String, String>, path: &Path) -> Result<Self> {
        entries.sort_by(|(a, x), (b, y)| rank(x.dtype).cmp(&rank(y.dtype)).then_with(|| a.cmp(b)));
        let header = header(&entries, metadata);
        let header = header.map_err(|fault| FileError::SafeTensors { path: path.to_owned(), fault })?;
        Ok(Plan { header, entries })
    }

    fn write_to(
        &self,
        path: &Path,
        writer: &mut dyn Write,
        fill: &mut dyn FnMut(&str, &mut Elements<'_>) -> Result<()>,
    ) -> Result<()> {
        writer.write_all(&self.header).map_err(FileError::io("write", path))?;
        for (name, info) in &self.entries {
            let mut elements = Elements::new(path, (name, *info), writer);
            fill(name, &mut elements)?;
            elements.finish()?;
        }
        Ok(writer.flush().map_err(FileError::io("write", path))?)
    }
}

/// Wide elements come first, so that all are aligned; the order among types is the format's own library's.
fn rank(dtype: StoredType) -> u8 {
    match dtype {
        StoredType::I64 => 0,
        StoredType::F32 => 1,
        StoredType::I32 => 2,
        StoredType::Bf16 => 3,
        StoredType::F16 => 4,
    }
}

/// The header's length, JSON and padding, if a reader would accept them.
fn header(entries: &[(String, Info)], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, Fault> {
    if let Some((name, _)) = entries.iter().find(|(name, _)| name == METADATA) {
        return Err(Fault::Name { name: name.clone() });
    }
    let mut json = header_json(entries, metadata).map_err(Fault::Json)?;
    json.resize(json.len().next_multiple_of(PREFIX), b' ');
    let len = json.len() as u64;
    if len > MAX_HEADER {
        return Err(Fault::HeaderTooLarge { len });
    }
    Header::check(RawHeader::parse(&json)?)?;
    json.splice(0..0, len.to_le_bytes());
    Ok(json)
}

fn header_json(entries: &[(String, Info)], metadata: &BTreeMap<String, String>) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut json);
    let mut members = serializer.serialize_map(None)?;
    if !metadata.is_empty() {
        members.serialize_entry(METADATA, metadata)?;
    }
    let mut begin = 0;
    for (name, info) in entries {
        let end = begin + info.bytes();
        let record = Record { dtype: info.dtype.name(), shape: info.shape.dims(), data_offsets: [begin, end] };
        members.serialize_entry(name, &record)?;
        begin = end;
    }
    members.end()?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Error};

    /// A disk with room for `left` more bytes.
    struct Full<'w> {
        inner: &'w mut dyn Write,
        left: usize,
    }

    impl Write for Full<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.left);
            if fits == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.left -= fits;
            self.inner.write(&bytes[..fits])
        }

        fn flush(&mut self) -> io::Result<()> {
            self.inner.flush()
        }
    }

    #[test]
    fn a_disk_full_at_any_byte_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let device = Device::cpu();
        let old = Tensor::full(&device, 1.0, [3]).unwrap();
        write(&path, [("w", &old)], &BTreeMap::new()).unwrap();
        let before = std::fs::read(&path).unwrap();

        let new = Tensor::full(&device, 2.0, [5]).unwrap();
        let info = Info { dtype: StoredType::F32, shape: new.shape() };
        let plan = Plan::new(vec![("w".to_owned(), info)], &BTreeMap::new(), &path).unwrap();
        let size = plan.header.len() + new.bytes();
        let room = |left| {
            let mut fill = |_: &str, elements: &mut Elements<'_>| elements.push_tensor(&new);
            replace(&path, |inner| plan.write_to(&path, &mut Full { inner, left }, &mut fill))
        };
        for left in 0..size {
            let failed = room(left);
            let cause = failed.unwrap_err();
            assert!(
                matches!(&cause, Error::File(FileError::Io { cause, .. }) if cause.kind() == io::ErrorKind::StorageFull)
            );
            assert_eq!(std::fs::read(&path).unwrap(), before, "room for {left} bytes");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        room(size).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), size);
    }
}
