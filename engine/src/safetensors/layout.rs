//! The checks that turn what a header says into where elements lie.

use std::collections::BTreeMap;

use super::header::{METADATA, RawHeader, RawTensor};
use super::{Fault, Info, StoredType};
use crate::Shape;

/// The most tensors of one file.
pub const MAX_TENSORS: usize = 100_000;

/// The longest name of a tensor, in bytes.
pub const MAX_NAME: usize = 512;

/// A header that has been checked.
#[derive(Debug)]
pub(crate) struct Header {
    /// By name.
    pub tensors: BTreeMap<String, Located>,
    pub metadata: BTreeMap<String, String>,
    /// Bytes that all elements take.
    pub data_len: u64,
}

/// A tensor and its bytes, counted from the end of the header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located {
    pub info: Info,
    pub begin: u64,
    pub end: u64,
}

impl Header {
    /// Checks every rule that does not need the file's size.
    pub(crate) fn check(raw: RawHeader) -> Result<Self, Fault> {
        if raw.count > MAX_TENSORS {
            return Err(Fault::TooManyTensors { got: raw.count });
        }
        let metadata = unique_metadata(raw.metadata)?;
        let mut tensors = BTreeMap::new();
        for (name, tensor) in raw.tensors {
            if !is_name(&name) {
                return Err(Fault::Name { name });
            }
            let located = locate(&name, tensor)?;
            if tensors.contains_key(&name) {
                return Err(Fault::Duplicate { name });
            }
            tensors.insert(name, located);
        }
        let data_len = packed(&tensors)?;
        Ok(Header { tensors, metadata, data_len })
    }
}

fn unique_metadata(all: Vec<crate::files::json::Pairs<String>>) -> Result<BTreeMap<String, String>, Fault> {
    let mut all = all.into_iter();
    let first = all.next();
    if all.next().is_some() {
        return Err(Fault::Duplicate { name: METADATA.to_owned() });
    }
    first.map_or_else(|| Ok(BTreeMap::new()), |pairs| pairs.into_map().map_err(|name| Fault::Duplicate { name }))
}

/// Whether `name` may be a tensor's: no control characters, nothing that climbs out of a folder.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    name.len() <= MAX_NAME && name != METADATA && name.bytes().all(allowed) && name.split('/').all(plain)
}

fn locate(name: &str, raw: RawTensor) -> Result<Located, Fault> {
    let named = || name.to_owned();
    let Some(dtype) = StoredType::from_name(&raw.dtype) else {
        return Err(Fault::ElementType { name: named(), dtype: raw.dtype });
    };
    let shape = shape(name, &raw.shape.first, raw.shape.rank, dtype)?;
    let expected = (shape.elements() * dtype.size()) as u64;
    let (begin, end) = raw.data_offsets;
    if end.checked_sub(begin) != Some(expected) {
        return Err(Fault::Length { name: named(), begin, end, dtype, shape, expected });
    }
    if !begin.is_multiple_of(dtype.size() as u64) {
        return Err(Fault::Unaligned { name: named(), begin, dtype });
    }
    Ok(Located { info: Info { dtype, shape }, begin, end })
}

/// The shape, if its extents and strides can be computed with at all. Zeros do not excuse the other extents.
fn shape(name: &str, extents: &[u64], rank: usize, dtype: StoredType) -> Result<Shape, Fault> {
    let mut dims = Vec::with_capacity(extents.len());
    let mut bytes = dtype.size();
    for &extent in extents {
        let extent = usize::try_from(extent).map_err(|_| Fault::Overflow { name: name.to_owned() })?;
        let product = bytes.checked_mul(extent.max(1)).filter(|&bytes| bytes <= isize::MAX as usize);
        bytes = product.ok_or_else(|| Fault::Overflow { name: name.to_owned() })?;
        dims.push(extent);
    }
    match Shape::new(&dims) {
        Ok(shape) if rank <= Shape::MAX_RANK => Ok(shape),
        _ => Err(Fault::Rank { name: name.to_owned(), rank }),
    }
}

/// The end of the last tensor, if the tensors follow each other without holes and overlaps from byte zero.
fn packed(tensors: &BTreeMap<String, Located>) -> Result<u64, Fault> {
    let mut order: Vec<_> = tensors.iter().map(|(name, at)| (at.begin, at.end, name)).collect();
    order.sort_unstable();
    order.into_iter().try_fold(0, |expected, (begin, end, name)| {
        if begin == expected { Ok(end) } else { Err(Fault::Position { name: name.clone(), begin, expected }) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let long = "x".repeat(MAX_NAME);
        for good in ["a", "blocks.0.attn1.to_q.weight", "moment/blocks.0:x-y_z", long.as_str()] {
            assert!(is_name(good), "{good}");
        }
        let longer = "x".repeat(MAX_NAME + 1);
        for bad in ["", "/a", "a/", "../a", "a/../b", "a//b", ".", "a b", "a\n", "a\0", "é", METADATA, longer.as_str()]
        {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
