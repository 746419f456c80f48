//! Elements on their way into a file: a sink that knows what it is owed, and rounds to the type that the file announces.

use std::io::Write;
use std::path::Path;

use flg_kernels::In;
use half::{bf16, f16};

use super::{Fault, Info, SafeTensors, StoredType};
use crate::files::FileError;
use crate::{Error, Result, Tensor};

/// Elements that are converted at a time: a copy holds a few times this much, however large the tensor is.
pub(super) const CHUNK: usize = 1 << 16;

/// Where a tensor's elements go, in row-major order, in as many pieces as the caller likes.
pub struct Elements<'w> {
    path: &'w Path,
    name: &'w str,
    info: Info,
    writer: &'w mut dyn Write,
    /// Elements still owed.
    left: usize,
}

impl<'w> Elements<'w> {
    pub(super) fn new(path: &'w Path, (name, info): (&'w str, Info), writer: &'w mut dyn Write) -> Self {
        Elements { path, name, info, writer, left: info.shape.elements() }
    }

    /// Type and shape that the file announces.
    pub fn info(&self) -> Info {
        self.info
    }

    /// Writes values, rounded to nearest even where the file's type is narrower.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] for a finite value that the file's type cannot hold; a file of integers; more elements than
    /// announced; a failed write.
    pub fn push(&mut self, values: &[f32]) -> Result<()> {
        values.chunks(CHUNK).try_for_each(|values| match self.info.dtype {
            StoredType::F32 => self.write(bytemuck::cast_slice(values), values.len()),
            StoredType::Bf16 => self.push_rounded(values, |x| bf16::from_f32(x).to_bits(), 0x7f80),
            StoredType::F16 => self.push_rounded(values, |x| f16::from_f32(x).to_bits(), 0x7c00),
            dtype => Err(self.error(Fault::NotFloat { name: self.name.to_owned(), dtype })),
        })
    }

    /// Writes a tensor's elements: as they are where the file has its type, else rounded or widened.
    ///
    /// # Errors
    /// As [`Elements::push`]; the failure of a GPU.
    pub fn push_tensor(&mut self, tensor: &Tensor) -> Result<()> {
        let tensor = tensor.on_host()?.contiguous()?;
        let same = StoredType::from(tensor.dtype()) == self.info.dtype;
        match tensor.input()? {
            In::F32(x) => self.push(x),
            In::Bf16(x) if same => self.write(bytemuck::cast_slice(x), x.len()),
            In::I32(x) if same => self.write(bytemuck::cast_slice(x), x.len()),
            In::Bf16(x) => {
                let mut widen = |x: &[bf16]| self.push(&x.iter().map(|x| x.to_f32()).collect::<Vec<_>>());
                x.chunks(CHUNK).try_for_each(&mut widen)
            }
            other => Err(Error::DType { op: "safetensors::write", expected: tensor.dtype(), got: other.dtype() }),
        }
    }

    /// Copies the weights of an open file's tensor, a piece at a time.
    ///
    /// # Errors
    /// As [`SafeTensors::read_weights`] and [`Elements::push`].
    pub fn push_stored(&mut self, file: &SafeTensors, name: &str) -> Result<()> {
        file.read_weights(name, &mut |values| self.push(values))
    }

    /// Writes 16-bit values. `exponent` is that of infinity: a finite value must not get it.
    fn push_rounded(&mut self, values: &[f32], bits: impl Fn(f32) -> u16, exponent: u16) -> Result<()> {
        let rounded: Vec<u16> = values.iter().map(|&value| bits(value)).collect();
        self.write(bytemuck::cast_slice(&rounded), values.len())?;
        let mut pairs = values.iter().zip(&rounded);
        match pairs.find(|(value, bits)| **bits & exponent == exponent && value.is_finite()) {
            None => Ok(()),
            Some((&value, _)) => {
                let (name, dtype) = (self.name.to_owned(), self.info.dtype);
                Err(self.error(Fault::TooLarge { name, value, dtype }))
            }
        }
    }

    fn write(&mut self, bytes: &[u8], elements: usize) -> Result<()> {
        match self.left.checked_sub(elements) {
            Some(left) => self.left = left,
            None => return Err(self.wrong_number(elements - self.left)),
        }
        Ok(self.writer.write_all(bytes).map_err(FileError::io("write", self.path))?)
    }

    /// Whether everything is there.
    pub(super) fn finish(self) -> Result<()> {
        if self.left == 0 { Ok(()) } else { Err(self.wrong_number(0)) }
    }

    fn wrong_number(&self, more: usize) -> Error {
        let expected = self.info.shape.elements();
        let got = if more > 0 { expected + more } else { expected - self.left };
        self.error(Fault::Elements { name: self.name.to_owned(), expected, got })
    }

    fn error(&self, fault: Fault) -> Error {
        FileError::SafeTensors { path: self.path.to_owned(), fault }.into()
    }
}
