//! Writing the weights of a folder as diffusers lays them out: one file, or shards of bounded size and their index.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::folder::candidates;
use super::{Elements, INDEX_SUFFIX, Info, write_streamed};
use crate::Result;
use crate::files::{FileError, sync_folder, write_json};

/// What the names of diffusers' files of weights begin with.
pub const STEM: &str = "diffusion_pytorch_model";

/// The most bytes of elements that a shard holds unless a caller says otherwise: 5 GB, as diffusers' own checkpoints.
pub const DEFAULT_SHARD: u64 = 5_000_000_000;

/// What the files of a folder are going to hold.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Every tensor, in the order in which they fill the shards.
    pub tensors: Vec<(String, Info)>,
    /// What file names begin with: `diffusion_pytorch_model`, or `model` for what the library transformers reads.
    pub stem: &'static str,
    /// Text for each file.
    pub metadata: BTreeMap<String, String>,
    /// Bytes of elements after which a shard is full. A tensor is never divided, so a larger one is a shard by itself.
    pub shard: u64,
}

/// An index, as the libraries of the format write it.
#[derive(Serialize)]
struct Index<'a> {
    metadata: Total,
    weight_map: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
struct Total {
    /// Bytes of all elements.
    total_size: u64,
}

/// Writes weights into a folder that is there, tensor by tensor as [`write_streamed`]; what fits one shard goes into one
/// file without an index. Weights that the folder held before are replaced, and files of theirs that are left over
/// removed.
///
/// Crash-safe: where shards are involved the old index goes first and the new one comes last, so that a folder with an
/// index never mixes shards of two networks. One file is replaced as a whole.
///
/// # Errors
/// As [`write_streamed`].
pub fn write_folder(
    folder: impl AsRef<Path>,
    contents: Contents,
    fill: &mut dyn FnMut(&str, &mut Elements<'_>) -> Result<()>,
) -> Result<()> {
    let folder = folder.as_ref();
    let shards = divide(contents.tensors, contents.shard);
    let names = file_names(contents.stem, shards.len());
    let old = candidates(folder)?;
    let leaves = |name: &String| shards.len() > 1 || *name != names[0];
    remove(folder, old.iter().filter(|name| leaves(name)))?;
    let mut written = BTreeMap::new();
    let mut total_size = 0;
    for (name, tensors) in names.iter().zip(&shards) {
        write_streamed(folder.join(name), tensors.clone(), &contents.metadata, fill)?;
        written.extend(tensors.iter().map(|(tensor, _)| (tensor.as_str(), name.clone())));
        total_size += tensors.iter().map(|(_, info)| info.bytes() as u64).sum::<u64>();
    }
    remove(folder, left_over(folder, contents.stem, &names)?.iter())?;
    if shards.len() == 1 {
        return Ok(());
    }
    write_json(
        folder.join(format!("{}{INDEX_SUFFIX}", contents.stem)),
        &Index { metadata: Total { total_size }, weight_map: written },
    )
}

/// Tensors by shard: each goes into the current one if it fits, else begins the next. There is always one.
fn divide(tensors: Vec<(String, Info)>, limit: u64) -> Vec<Vec<(String, Info)>> {
    let mut shards = Vec::new();
    let (mut shard, mut filled) = (Vec::new(), 0);
    for (name, info) in tensors {
        let bytes = info.bytes() as u64;
        if filled > 0 && filled + bytes > limit {
            shards.push(std::mem::take(&mut shard));
            filled = 0;
        }
        filled += bytes;
        shard.push((name, info));
    }
    shards.push(shard);
    shards
}

fn file_names(stem: &str, shards: usize) -> Vec<String> {
    match shards {
        1 => vec![format!("{stem}.safetensors")],
        n => (1..=n).map(|i| format!("{stem}-{i:05}-of-{n:05}.safetensors")).collect(),
    }
}

/// Weight files of an earlier network that no index names any more.
fn left_over(folder: &Path, stem: &str, written: &[String]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(FileError::io("list", folder))? {
        let name = entry.map_err(FileError::io("list", folder))?.file_name();
        if let Some(name) = name.to_str().filter(|name| is_shard(stem, name) && !written.iter().any(|w| w == name)) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Whether a name is one that [`write_folder`] gives to a shard.
fn is_shard(stem: &str, name: &str) -> bool {
    let numbers = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(".safetensors"));
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers
        .and_then(|numbers| numbers.strip_prefix('-')?.split_once("-of-"))
        .is_some_and(|(i, n)| digits(i) && digits(n))
}

fn remove<'n>(folder: &Path, names: impl Iterator<Item = &'n String>) -> Result<()> {
    let mut removed = false;
    for name in names {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(FileError::io("remove", &path))?;
        removed = true;
    }
    if removed { sync_folder(folder) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::{SafeTensors, StoredType};
    use super::*;
    use crate::{Device, Tensor};

    /// Writes tensors `t0, t1, ..` of these lengths, filled with their number and `salt`.
    fn write(folder: &Path, lengths: &[usize], shard: u64, salt: f32) -> Result<()> {
        let info = |n: usize| Info { dtype: StoredType::F32, shape: [n].into() };
        let tensors = lengths.iter().enumerate().map(|(i, &n)| (format!("t{i}"), info(n))).collect();
        let contents = Contents { tensors, stem: STEM, metadata: BTreeMap::new(), shard };
        write_folder(folder, contents, &mut |name, elements| {
            let value = name[1..].parse::<f32>().unwrap() + salt;
            elements.push(&vec![value; elements.info().shape.elements()])
        })
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn check(folder: &Path, lengths: &[usize], salt: f32) {
        let file = SafeTensors::open_folder(folder).unwrap();
        assert_eq!(file.names().len(), lengths.len());
        for (i, &n) in lengths.iter().enumerate() {
            let tensor: Tensor = file.tensor(&format!("t{i}"), &Device::cpu()).unwrap();
            assert_eq!(tensor.to_vec(), vec![i as f32 + salt; n]);
        }
    }

    #[test]
    fn shards_are_filled_in_order_and_a_large_tensor_is_one_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let lengths = [2, 2, 1, 9, 1, 3];
        write(folder.path(), &lengths, 20, 0.0).unwrap();
        check(folder.path(), &lengths, 0.0);
        let shards = ["t0 t1 t2", "t3", "t4 t5"];
        for (i, expected) in shards.iter().enumerate() {
            let name = format!("diffusion_pytorch_model-{:05}-of-00003.safetensors", i + 1);
            let file = SafeTensors::open(folder.path().join(name)).unwrap();
            assert_eq!(file.names().collect::<Vec<_>>().join(" "), *expected);
        }
        let index = fs::read_to_string(folder.path().join("diffusion_pytorch_model.safetensors.index.json")).unwrap();
        assert!(index.contains("\"total_size\": 72"), "{index}");
    }

    #[test]
    fn one_set_of_weights_replaces_another_whatever_their_files() {
        let folder = tempfile::tempdir().unwrap();
        for (salt, limit) in [8, 100, 12, 8, 8, 100, 100].into_iter().enumerate() {
            write(folder.path(), &[2, 1, 2], limit, salt as f32).unwrap();
            check(folder.path(), &[2, 1, 2], salt as f32);
            let expected = [(8, 4), (12, 3), (100, 1)].into_iter().find(|(l, _)| *l == limit).unwrap().1;
            assert_eq!(names(folder.path()).len(), expected, "{:?}", names(folder.path()));
        }
    }

    #[test]
    fn a_write_that_fails_leaves_no_index_that_mixes_two_networks() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[2, 2, 2], 8, 0.0).unwrap();
        let info = Info { dtype: StoredType::F32, shape: [2].into() };
        let tensors = (0..3).map(|i| (format!("t{i}"), info)).collect();
        let contents = Contents { tensors, stem: STEM, metadata: BTreeMap::new(), shard: 8 };
        let failed = write_folder(folder.path(), contents, &mut |name, elements| {
            elements.push(if name == "t2" { &[1.0][..] } else { &[7.0, 7.0] })
        });
        let message = failed.unwrap_err().to_string();
        assert!(message.contains("00003-of-00003") && message.contains("1 elements were given, 2"), "{message}");
        let error = SafeTensors::open_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("neither"), "{error}");
    }

    #[test]
    fn values_that_a_narrow_type_cannot_hold_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        let write = |dtype, values: &[f32]| {
            let entries = vec![("w".to_owned(), Info { dtype, shape: [values.len()].into() })];
            write_streamed(&path, entries, &BTreeMap::new(), &mut |_, elements| elements.push(values))
        };
        write(StoredType::F16, &[65504.0, -65519.0, f32::INFINITY]).unwrap();
        let error = write(StoredType::F16, &[0.0, -65520.0]).unwrap_err().to_string();
        assert!(error.contains("-65520 is too large for F16"), "{error}");
        write(StoredType::Bf16, &[3.389e38]).unwrap();
        let error = write(StoredType::Bf16, &[3.4e38]).unwrap_err().to_string();
        assert!(error.contains("too large for BF16"), "{error}");
        let error = write(StoredType::I32, &[1.0]).unwrap_err().to_string();
        assert!(error.contains("not floating-point"), "{error}");
        let entries = vec![("w".to_owned(), Info { dtype: StoredType::F32, shape: [1].into() })];
        let error = write_streamed(&path, entries, &BTreeMap::new(), &mut |_, e| e.push(&[1.0, 2.0])).unwrap_err();
        assert!(error.to_string().contains("2 elements were given, 1"), "{error}");
        assert_eq!(names(folder.path()), ["w"]);
    }
}
