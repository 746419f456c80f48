//! Reading little: some rows of a matrix, and letting go of the memory that holds what was read.

use super::SafeTensors;
use super::reader::{Behind, StoredElements};
use crate::{Device, Error, Result, Shape, Tensor};

impl SafeTensors {
    /// Copies rows of a tensor (places along its first dimension) to a device, in the order asked for: of a table of
    /// embeddings no more is read than what a prompt needs. Types as [`SafeTensors::tensor_float`].
    ///
    /// # Errors
    /// A name that is not there; integers; a row that the tensor does not have.
    pub fn rows(&self, name: &str, rows: &[usize], device: &Device) -> Result<Tensor> {
        let (file, info, bytes) = self.find(name)?;
        file.expect_float(name, info.dtype)?;
        let (&count, inner) = info.shape.dims().split_first().ok_or(Error::Rank { got: 0 })?;
        if let Some(&index) = rows.iter().find(|&&row| row >= count) {
            return Err(Error::Index { op: "rows", shape: info.shape, index });
        }
        let shape = Shape::new(&[&[rows.len()], inner].concat())?;
        let elements = StoredElements { name, file, dtype: info.dtype };
        if device.is_dry() {
            return elements.copy(&[], shape, device);
        }
        let len = bytes.len() / count.max(1);
        let picked: Vec<u8> = rows.iter().flat_map(|&row| &bytes[row * len..][..len]).copied().collect();
        elements.copy(&picked, shape, device)
    }

    /// Lets go of the memory that holds what was read of a tensor, if any. The next read brings it back from the file; the
    /// system may have kept it meanwhile, but need not. A name that is not there has nothing to let go of.
    ///
    /// Takes the tensors exclusively, so that nobody reads meanwhile.
    pub fn release(&mut self, name: &str) {
        let Some(&(file, located)) = self.tensors.get(name) else { return };
        let file = &self.files[file];
        // Memory that no file is behind would come back as zeros.
        if file.behind == Behind::Memory {
            return;
        }
        let (start, len) = (file.data + located.begin as usize, (located.end - located.begin) as usize);
        #[cfg(unix)]
        {
            // SAFETY: `behind` says that this is a read-only mapping of a file, so nobody has written to its pages, and
            // those that go come back with the file's contents, which the documented condition of `SafeTensors` keeps as
            // they are. Slices of the mapping are lent only within methods that borrow `self`, and `self` is borrowed
            // exclusively, so no slice exists while pages go. Opening checked that the range lies in the file.
            let released = unsafe { file.bytes.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
            // A wish: pages that are locked stay, and nothing but memory is lost by it.
            let _ = released;
        }
        #[cfg(not(unix))]
        let _ = (start, len);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::write;
    use super::*;
    use crate::{DType, FileError};

    fn file_of(tensors: &[(&str, &Tensor)]) -> (tempfile::TempDir, SafeTensors) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        write(&path, tensors.iter().copied(), &BTreeMap::new()).unwrap();
        let file = SafeTensors::open(path).unwrap();
        (folder, file)
    }

    #[test]
    fn rows_are_those_of_the_whole_in_the_order_asked_for() {
        let device = Device::cpu();
        let table = Tensor::from_vec(&device, (0..35).map(|i| i as f32).collect(), [7, 5]).unwrap();
        let low = table.cast(DType::Bf16).unwrap();
        let (_folder, file) = file_of(&[("low", &low), ("table", &table)]);
        for name in ["table", "low"] {
            let rows = file.rows(name, &[6, 0, 6], &device).unwrap();
            assert_eq!((rows.dims(), rows.dtype()), (&[3, 5][..], file.tensor(name, &device).unwrap().dtype()));
            let want: Vec<f32> = [6, 0, 6].iter().flat_map(|r| (0..5).map(move |j| (r * 5 + j) as f32)).collect();
            assert_eq!(rows.to_vec(), want);
        }
        assert!(file.rows("table", &[], &device).unwrap().to_vec().is_empty());
        assert!(matches!(file.rows("table", &[0, 7], &device), Err(Error::Index { index: 7, .. })));
        assert_eq!(file.rows("low", &[1, 2], &Device::dry()).unwrap().bytes(), 20);
    }

    #[test]
    fn integers_are_no_floats() {
        let device = Device::cpu();
        let indices = Tensor::from_indices(&device, vec![1, 2, 3], [3]).unwrap();
        let (_folder, file) = file_of(&[("i", &indices)]);
        let refused = [file.rows("i", &[0], &device), file.tensor_float("i", &device), file.tensor_f32("i", &device)];
        assert!(refused.iter().all(|r| matches!(r, Err(Error::File(FileError::SafeTensors { .. })))), "{refused:?}");
    }

    #[test]
    fn what_was_let_go_of_is_read_again() {
        let device = Device::cpu();
        let values: Vec<f32> = (0..50_000).map(|i| i as f32).collect();
        let tensor = Tensor::from_vec(&device, values.clone(), [50_000]).unwrap();
        let (folder, mut file) = file_of(&[("x", &tensor)]);
        let bytes = std::fs::read(folder.path().join("x.safetensors")).unwrap();
        let mut inside = SafeTensors::from_bytes("inside", &bytes).unwrap();
        for file in [&mut file, &mut inside] {
            for _ in 0..2 {
                assert_eq!(file.tensor("x", &device).unwrap().as_f32().unwrap(), values);
                file.release("x");
                file.release("y");
            }
        }
    }

    /// Of all processes' memory, Linux counts here what this one holds of files.
    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_let_go_of() {
        let held = || -> usize {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            // A folder for temporary files may be one in memory.
            let of = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            let kilobytes = |line: &str| line.trim().trim_end_matches(" kB").parse::<usize>().unwrap();
            kilobytes(of("RssFile:")) + kilobytes(of("RssShmem:"))
        };
        let device = Device::cpu();
        let tensor = Tensor::zeros(&device, [12 << 20]).unwrap();
        let (_folder, mut file) = file_of(&[("x", &tensor)]);
        let before = held();
        file.tensor("x", &device).unwrap();
        // Other tests in this process touch files too, but not 48 MiB.
        assert!(held() > before + (40 << 10), "{} kB of {before}", held());
        file.release("x");
        assert!(held() < before + (8 << 10), "{} kB of {before}", held());
    }
}
