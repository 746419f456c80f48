//! Reading: files are mapped, checked once when opened, and copied out a tensor at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::{Mmap, MmapMut};

use super::elements::CHUNK;
use super::header::RawHeader;
use super::layout::{Header, Located};
use super::{Fault, MAX_HEADER, PREFIX, StoredType};
use crate::files::FileError;
use crate::files::json::open_regular;
use crate::{DType, Device, Result, Shape, Tensor};

/// Named tensors in one file, or in the shards of a folder.
///
/// Nothing but the headers is read before a tensor is asked for. The files must not be changed in place while they are
/// open (replacing them, as [`write`](super::write) does, is harmless): the system would end the process when a page is
/// touched that a file no longer has.
#[derive(Debug)]
pub struct SafeTensors {
    pub(super) files: Vec<Mapped>,
    /// By name: the file's place in `files`, and where in it.
    pub(super) tensors: BTreeMap<String, (usize, Located)>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// What a file says of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// How its elements are stored.
    pub dtype: StoredType,
    /// Its extents.
    pub shape: Shape,
}

impl Info {
    /// Bytes that the elements take in the file.
    pub fn bytes(&self) -> usize {
        self.shape.elements() * self.dtype.size()
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Mapped {
    path: PathBuf,
    pub(super) bytes: Mmap,
    /// Where the elements start: the end of the header.
    pub(super) data: usize,
    pub(super) behind: Behind,
}

/// What a mapping shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// A file, from which pages come back when they are touched again.
    File,
    /// Memory that has no other copy.
    Memory,
}

/// Elements of a tensor as they are stored.
pub(super) struct StoredElements<'a> {
    pub(super) name: &'a str,
    pub(super) file: &'a Mapped,
    pub(super) dtype: StoredType,
}

impl SafeTensors {
    /// Opens one file and checks all of its header.
    ///
    /// # Errors
    /// [`FileError::Io`], and [`FileError::SafeTensors`] with the first rule that the file breaks.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::of_one(Mapped::open(path.as_ref())?))
    }

    /// Reads a file that a program carries inside itself; messages call it `path`.
    ///
    /// # Errors
    /// As [`SafeTensors::open`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Self> {
        Ok(Self::of_one(Mapped::copy(path.as_ref(), bytes)?))
    }

    fn of_one((file, header): (Mapped, Header)) -> Self {
        let tensors = header.tensors.into_iter().map(|(name, located)| (name, (0, located))).collect();
        SafeTensors { files: vec![file], tensors, metadata: header.metadata }
    }

    /// Names in alphabetical order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Type and shape of a tensor, if there is one of this name.
    pub fn info(&self, name: &str) -> Option<Info> {
        self.tensors.get(name).map(|(_, located)| located.info)
    }

    /// The text that accompanies the tensors (of the first shard).
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Copies a tensor to a device: F16 becomes f32, I64 becomes i32, other types stay. A dry device gets room for it, and
    /// nothing is read.
    ///
    /// # Errors
    /// A name that is not there; an integer that 32 bits cannot hold.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<Tensor> {
        let (file, Info { dtype, shape }, bytes) = self.find(name)?;
        StoredElements { name, file, dtype }.copy(bytes, shape, device)
    }

    /// [`SafeTensors::tensor`] for what must be numbers with a fraction: f32, or bf16 where that is stored.
    ///
    /// # Errors
    /// A name that is not there; integers.
    pub fn tensor_float(&self, name: &str, device: &Device) -> Result<Tensor> {
        let (file, Info { dtype, .. }, _) = self.find(name)?;
        file.expect_float(name, dtype)?;
        self.tensor(name, device)
    }

    /// Copies a tensor to a device as f32.
    ///
    /// # Errors
    /// A name that is not there; integers.
    pub fn tensor_f32(&self, name: &str, device: &Device) -> Result<Tensor> {
        self.tensor_float(name, device)?.cast(DType::F32)
    }

    /// Copies a tensor of weights to a device as f32 or bf16, rounding where the file is more precise.
    ///
    /// # Errors
    /// As [`SafeTensors::read_weights`]; a device that runs out of memory; a `dtype` of indices.
    pub fn weights(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let (_, Info { dtype: stored, shape }, bytes) = self.find(name)?;
        if let (DType::Bf16, StoredType::Bf16) = (dtype, stored) {
            let values: Vec<bf16> = bytemuck::pod_collect_to_vec(bytes);
            // Where one is not finite, the slower way finds it and says so.
            if values.iter().fold(true, |all, value| all & value.is_finite()) {
                return Tensor::from_bf16(device, values, shape);
            }
        }
        if dtype == DType::Bf16 {
            let mut values = Vec::with_capacity(shape.elements());
            self.read_weights(name, &mut |x| {
                values.extend(x.iter().map(|&x| bf16::from_f32(x)));
                Ok(())
            })?;
            return Tensor::from_bf16(device, values, shape);
        }
        let mut values = Vec::with_capacity(shape.elements());
        self.read_weights(name, &mut |x| {
            values.extend_from_slice(x);
            Ok(())
        })?;
        Tensor::from_vec(device, values, shape)?.cast(dtype)
    }

    /// Shows a tensor of weights as f32, a piece at a time in row-major order: no more than a piece is in memory.
    ///
    /// # Errors
    /// A name that is not there; integers; a value that is not finite ([`Fault::NotFinite`]); what `each` refuses.
    pub fn read_weights(&self, name: &str, each: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let (file, Info { dtype, .. }, bytes) = self.find(name)?;
        let mut values = Vec::new();
        for (piece, bytes) in bytes.chunks(CHUNK * dtype.size()).enumerate() {
            values.clear();
            // `as_chunks` and `from_le_bytes` copy, so that the mapping's alignment does not matter.
            let (halves, (words, _)) = (bytes.as_chunks().0, bytes.as_chunks());
            match dtype {
                StoredType::F32 => values.extend(words.iter().map(|&b| f32::from_le_bytes(b))),
                StoredType::Bf16 => values.extend(halves.iter().map(|&b| bf16::from_le_bytes(b).to_f32())),
                StoredType::F16 => values.extend(halves.iter().map(|&b| f16::from_le_bytes(b).to_f32())),
                StoredType::I32 | StoredType::I64 => {
                    return Err(file.error(Fault::NotFloat { name: name.to_owned(), dtype }).into());
                }
            }
            if !values.iter().fold(true, |all, value| all & value.is_finite()) {
                let at = values.iter().position(|value| !value.is_finite()).unwrap_or_default();
                let fault = Fault::NotFinite { name: name.to_owned(), index: piece * CHUNK + at, value: values[at] };
                return Err(file.error(fault).into());
            }
            each(&values)?;
        }
        Ok(())
    }

    /// The file that holds a tensor: that of its shard, if the weights are in several.
    pub fn path_of(&self, name: &str) -> Option<&Path> {
        self.tensors.get(name).map(|&(file, _)| self.files[file].path.as_path())
    }

    pub(super) fn find(&self, name: &str) -> Result<(&Mapped, Info, &[u8]), FileError> {
        let Some(&(file, located)) = self.tensors.get(name) else {
            return Err(self.files[0].error(Fault::UnknownTensor { name: name.to_owned() }));
        };
        let file = &self.files[file];
        let elements = &file.bytes[file.data..];
        // Opening checked that the last tensor ends where the file does, so both positions are inside it.
        Ok((file, located.info, &elements[located.begin as usize..located.end as usize]))
    }
}

impl Mapped {
    /// Maps a file and checks that it is exactly what its header describes.
    pub(super) fn open(path: &Path) -> Result<(Self, Header), FileError> {
        let file = open_regular(path)?;
        let faulty = |fault| FileError::SafeTensors { path: path.to_owned(), fault };
        let len = file.metadata().map_err(FileError::io("open", path))?.len();
        if len < PREFIX as u64 {
            return Err(faulty(Fault::Truncated { needed: PREFIX as u64, got: len }));
        }
        // SAFETY: the mapping is read-only and private to `Mapped`, which lends out bytes only to copy them. That nobody
        // changes the file in place meanwhile cannot be checked here: it is the documented condition of `SafeTensors`.
        let bytes = unsafe { Mmap::map(&file) }.map_err(FileError::io("map", path))?;
        let (data, header) = read_header(&bytes).map_err(faulty)?;
        Ok((Mapped { path: path.to_owned(), bytes, data, behind: Behind::File }, header))
    }

    /// Keeps a copy of a file that is in memory, and checks it as [`Mapped::open`] does.
    fn copy(path: &Path, bytes: &[u8]) -> Result<(Self, Header), FileError> {
        let faulty = |fault| FileError::SafeTensors { path: path.to_owned(), fault };
        let (data, header) = read_header(bytes).map_err(faulty)?;
        let mut copy = MmapMut::map_anon(bytes.len()).map_err(FileError::io("map", path))?;
        copy.copy_from_slice(bytes);
        let bytes = copy.make_read_only().map_err(FileError::io("map", path))?;
        Ok((Mapped { path: path.to_owned(), bytes, data, behind: Behind::Memory }, header))
    }

    pub(super) fn error(&self, fault: Fault) -> FileError {
        FileError::SafeTensors { path: self.path.clone(), fault }
    }

    pub(super) fn expect_float(&self, name: &str, dtype: StoredType) -> Result<(), FileError> {
        match dtype.loaded() {
            DType::I32 => Err(self.error(Fault::NotFloat { name: name.to_owned(), dtype })),
            _ => Ok(()),
        }
    }
}

impl StoredElements<'_> {
    /// Copies `bytes`, which hold the elements of `shape`.
    pub(super) fn copy(&self, bytes: &[u8], shape: Shape, device: &Device) -> Result<Tensor> {
        let StoredElements { name, file, dtype } = *self;
        if device.is_dry() {
            return Ok(Tensor::brought(device, shape, dtype.loaded()));
        }
        // `pod_collect_to_vec` and `from_le_bytes` copy, so that the mapping's alignment does not matter.
        match dtype {
            StoredType::F32 => Tensor::from_vec(device, bytemuck::pod_collect_to_vec(bytes), shape),
            StoredType::Bf16 => Tensor::from_bf16(device, bytemuck::pod_collect_to_vec(bytes), shape),
            StoredType::I32 => Tensor::from_indices(device, bytemuck::pod_collect_to_vec(bytes), shape),
            StoredType::F16 => {
                let (halves, _) = bytes.as_chunks();
                Tensor::from_vec(device, halves.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(), shape)
            }
            StoredType::I64 => {
                let narrow = |&bytes| {
                    let value = i64::from_le_bytes(bytes);
                    i32::try_from(value).map_err(|_| Fault::IntegerRange { name: name.to_owned(), value })
                };
                let (integers, _) = bytes.as_chunks();
                let values = integers.iter().map(narrow).collect::<Result<_, Fault>>();
                Tensor::from_indices(device, values.map_err(|fault| file.error(fault))?, shape)
            }
        }
    }
}

/// The checked header of a whole file, and where the elements start.
fn read_header(file: &[u8]) -> Result<(usize, Header), Fault> {
    let got = file.len() as u64;
    let Some((prefix, rest)) = file.split_first_chunk::<PREFIX>() else {
        return Err(Fault::Truncated { needed: PREFIX as u64, got });
    };
    let len = u64::from_le_bytes(*prefix);
    if len > MAX_HEADER {
        return Err(Fault::HeaderTooLarge { len });
    }
    if !len.is_multiple_of(PREFIX as u64) {
        return Err(Fault::HeaderUnaligned { len });
    }
    let Some((json, elements)) = rest.split_at_checked(len as usize) else {
        return Err(Fault::Truncated { needed: PREFIX as u64 + len, got });
    };
    let header = Header::check(RawHeader::parse(json)?)?;
    let data = PREFIX + json.len();
    let expected = (data as u64).saturating_add(header.data_len);
    match elements.len() as u64 {
        n if n < header.data_len => Err(Fault::Truncated { needed: expected, got }),
        n if n > header.data_len => Err(Fault::TrailingBytes { expected, got }),
        _ => Ok((data, header)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_memory_is_the_file_on_disk() {
        let device = Device::cpu();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let tensor = Tensor::from_vec(&device, vec![1.0, -2.0, 3.5], [3]).unwrap();
        super::super::write(&path, [("x", &tensor)], &BTreeMap::new()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = SafeTensors::from_bytes("inside", &bytes).unwrap();
        assert_eq!(file.tensor("x", &device).unwrap().to_vec(), tensor.to_vec());
        for len in [0, 7, bytes.len() - 1] {
            let refused = SafeTensors::from_bytes("inside", &bytes[..len]).unwrap_err();
            assert!(refused.to_string().starts_with("inside: "), "{refused}");
        }
    }
}
