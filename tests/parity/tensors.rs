//! Reads a fixture's safetensors with the published crate, not with the reader under test.

use std::collections::BTreeMap;
use std::path::Path;

use flg_engine::{Device, Shape, Tensor};
use safetensors::{Dtype, SafeTensors};

/// One array.
#[derive(Clone)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Array {
    pub fn tensor(&self, device: &Device) -> Tensor {
        Tensor::from_vec(device, self.values.clone(), Shape::new(&self.shape).unwrap()).unwrap()
    }
}

/// All arrays of a file, by name; integers as f32, which holds those of fixtures exactly.
pub struct Tensors(BTreeMap<String, Array>);

impl Tensors {
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let read = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
                Dtype::I64 => data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32).collect(),
                Dtype::I32 => data.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap()) as f32).collect(),
                other => panic!("{}: {name} has type {other:?}", path.display()),
            };
            (name.to_owned(), Array { shape: view.shape().to_vec(), values })
        };
        Tensors(file.iter().map(read).collect())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn get(&self, name: &str) -> Option<&Array> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.0.iter().map(|(name, array)| (name.as_str(), array))
    }
}

impl std::ops::Index<&str> for Tensors {
    type Output = Array;

    fn index(&self, name: &str) -> &Array {
        self.get(name).unwrap_or_else(|| panic!("the fixture has no `{name}`"))
    }
}
