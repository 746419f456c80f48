//! Writing: the header goes through the reader's own checks first, so that no file is written that could not be read.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use flg_kernels::In;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::header::{METADATA, RawHeader};
use super::layout::Header;
use super::{Fault, MAX_HEADER, PREFIX, StoredType};
use crate::files::{FileError, write_atomic};
use crate::{Error, Result, Tensor};

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
    let path = path.as_ref();
    let plan = Plan::new(entries.into_iter().map(|(name, tensor)| (name.into(), tensor)), metadata, path)?;
    write_atomic(path, |writer| plan.write_to(writer))
}

/// Everything about a file but its elements.
struct Plan {
    /// Length, JSON and padding.
    header: Vec<u8>,
    /// In file order, each contiguous and on the host.
    tensors: Vec<Tensor>,
}

/// A tensor's member of the header.
#[derive(Serialize)]
struct Record<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

impl Plan {
    fn new<'t>(
        entries: impl Iterator<Item = (String, &'t Tensor)>,
        metadata: &BTreeMap<String, String>,
        path: &Path,
    ) -> Result<Self> {
        let contiguous = |(name, tensor): (String, &Tensor)| Ok((name, tensor.on_host()?.contiguous()?));
        let mut entries = entries.map(contiguous).collect::<Result<Vec<_>>>()?;
        entries.sort_by(|(a, x), (b, y)| rank(x).cmp(&rank(y)).then_with(|| a.cmp(b)));
        let header = header(&entries, metadata);
        let header = header.map_err(|fault| FileError::SafeTensors { path: path.to_owned(), fault })?;
        Ok(Plan { header, tensors: entries.into_iter().map(|(_, tensor)| tensor).collect() })
    }

    fn write_to(&self, writer: &mut dyn Write) -> io::Result<()> {
        writer.write_all(&self.header)?;
        for tensor in &self.tensors {
            writer.write_all(bytes(tensor).map_err(io::Error::other)?)?;
        }
        writer.flush()
    }
}

/// Wide elements come first, so that all are aligned; the order among types is the format's own library's.
fn rank(tensor: &Tensor) -> u8 {
    match StoredType::from(tensor.dtype()) {
        StoredType::I64 => 0,
        StoredType::F32 => 1,
        StoredType::I32 => 2,
        StoredType::Bf16 => 3,
        StoredType::F16 => 4,
    }
}

/// The header's length, JSON and padding, if a reader would accept them.
fn header(entries: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, Fault> {
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

fn header_json(entries: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut json);
    let mut members = serializer.serialize_map(None)?;
    if !metadata.is_empty() {
        members.serialize_entry(METADATA, metadata)?;
    }
    let mut begin = 0;
    for (name, tensor) in entries {
        let end = begin + tensor.bytes();
        let dtype = StoredType::from(tensor.dtype()).name();
        members.serialize_entry(name, &Record { dtype, shape: tensor.dims(), data_offsets: [begin, end] })?;
        begin = end;
    }
    members.end()?;
    Ok(json)
}

/// The elements of a contiguous tensor as they lie in memory.
fn bytes(tensor: &Tensor) -> Result<&[u8]> {
    match tensor.input()? {
        In::F32(x) => Ok(bytemuck::cast_slice(x)),
        In::Bf16(x) => Ok(bytemuck::cast_slice(x)),
        In::I32(x) => Ok(bytemuck::cast_slice(x)),
        other => Err(Error::DType { op: "safetensors::write", expected: tensor.dtype(), got: other.dtype() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

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
        let plan = Plan::new([("w".to_owned(), &new)].into_iter(), &BTreeMap::new(), &path).unwrap();
        let size = plan.header.len() + new.bytes();
        for left in 0..size {
            let failed = write_atomic(&path, |inner| plan.write_to(&mut Full { inner, left }));
            let cause = failed.unwrap_err();
            assert!(
                matches!(&cause, Error::File(FileError::Io { cause, .. }) if cause.kind() == io::ErrorKind::StorageFull)
            );
            assert_eq!(std::fs::read(&path).unwrap(), before, "room for {left} bytes");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        write_atomic(&path, |inner| plan.write_to(&mut Full { inner, left: size })).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), size);
    }
}
