//! A plain multi-dimensional value: shared storage and a layout. No autograd inside.

use std::sync::Arc;

use flg_kernels::{In, Out, bf16};

use crate::memory::Storage;
use crate::{DType, Device, Error, Layout, Result, Shape};

/// Elements of one type with a shape. Clones share storage; writing to a shared tensor copies it first.
#[derive(Clone, Debug)]
pub struct Tensor {
    storage: Arc<Storage>,
    layout: Layout,
    dtype: DType,
    device: Device,
}

impl Tensor {
    /// Room with unspecified contents, for a kernel to write.
    pub fn empty(device: &Device, shape: impl Into<Shape>, dtype: DType) -> Self {
        let shape = shape.into();
        Tensor::around(device, device.pool().allocate(shape.elements(), dtype), shape)
    }

    /// All zeros.
    pub fn zeros(device: &Device, shape: impl Into<Shape>) -> Self {
        let mut zeros = Tensor::empty(device, shape, DType::F32);
        if !device.is_dry()
            && let Ok(Out::F32(values)) = zeros.output()
        {
            values.fill(0.0);
        }
        zeros
    }

    /// All `value`, f32.
    ///
    /// # Errors
    /// None today; a device may run out of memory.
    pub fn full(device: &Device, value: f32, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        Tensor::from_vec(device, vec![value; shape.elements()], shape)
    }

    /// These f32 values, row-major.
    ///
    /// # Errors
    /// [`Error::Elements`] where they do not fill the shape.
    pub fn from_vec(device: &Device, values: Vec<f32>, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        filled("from_vec", values.len(), shape)?;
        Ok(Tensor::around(device, device.pool().adopt_f32(values), shape))
    }

    /// f32 values that `next` makes one after the other, row-major. On a dry device it is not asked.
    pub fn from_fn(device: &Device, shape: impl Into<Shape>, mut next: impl FnMut() -> f32) -> Self {
        let shape = shape.into();
        let storage = match device.is_dry() {
            true => device.pool().bring(shape.elements(), DType::F32),
            false => device.pool().adopt_f32((0..shape.elements()).map(|_| next()).collect()),
        };
        Tensor::around(device, storage, shape)
    }

    /// These bf16 values, row-major.
    ///
    /// # Errors
    /// [`Error::Elements`] where they do not fill the shape.
    pub fn from_bf16(device: &Device, values: Vec<bf16>, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        filled("from_bf16", values.len(), shape)?;
        Ok(Tensor::around(device, device.pool().adopt_bf16(values), shape))
    }

    /// These indices, row-major.
    ///
    /// # Errors
    /// [`Error::Elements`] where they do not fill the shape.
    pub fn from_indices(device: &Device, values: Vec<i32>, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        filled("from_indices", values.len(), shape)?;
        Ok(Tensor::around(device, device.pool().adopt_i32(values), shape))
    }

    fn around(device: &Device, storage: Storage, shape: Shape) -> Self {
        let dtype = storage.dtype();
        Tensor { storage: Arc::new(storage), layout: Layout::contiguous(shape), dtype, device: device.clone() }
    }

    /// Extents.
    pub fn shape(&self) -> Shape {
        self.layout.shape()
    }

    /// Extents as a slice.
    pub fn dims(&self) -> &[usize] {
        self.layout.dims()
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape().elements()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where it lives.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Bytes that the elements take.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.size()
    }

    /// For a kernel to read.
    ///
    /// # Errors
    /// [`Error::Strided`] for a view whose elements do not lie in order.
    pub fn input(&self) -> Result<In<'_>> {
        if !self.layout.is_contiguous() {
            return Err(Error::Strided { op: "input", shape: self.shape() });
        }
        Ok(self.storage.input(self.layout.offset(), self.elements()))
    }

    /// For a kernel to write or add to. Copies first where other tensors share the storage.
    ///
    /// # Errors
    /// Strided views and index tensors.
    pub fn output(&mut self) -> Result<Out<'_>> {
        if Arc::get_mut(&mut self.storage).is_none() || !self.layout.is_contiguous() {
            *self = self.copy()?;
        }
        let (offset, len) = (self.layout.offset(), self.elements());
        let dtype = self.dtype;
        Arc::get_mut(&mut self.storage).and_then(|storage| storage.output(offset, len)).ok_or(Error::DType {
            op: "output",
            expected: DType::F32,
            got: dtype,
        })
    }

    /// The f32 elements in place.
    ///
    /// # Errors
    /// Another element type, or a strided view.
    pub fn as_f32(&self) -> Result<&[f32]> {
        match self.input()? {
            In::F32(x) => Ok(x),
            other => Err(Error::DType { op: "as_f32", expected: DType::F32, got: other.dtype() }),
        }
    }

    /// The f32 elements in place, to change. Copies first where other tensors share the storage.
    ///
    /// # Errors
    /// Another element type.
    pub fn as_f32_mut(&mut self) -> Result<&mut [f32]> {
        match self.output()? {
            Out::F32(x) => Ok(x),
            other => Err(Error::DType { op: "as_f32_mut", expected: DType::F32, got: other.dtype() }),
        }
    }

    /// The elements as f32 in row-major order (indices too).
    pub fn to_vec(&self) -> Vec<f32> {
        let all = self.storage.input(0, self.storage.len());
        let pick = |at: usize| match all {
            In::F32(x) => x[at],
            In::Bf16(x) => x[at].to_f32(),
            In::I32(x) => x[at] as f32,
            _ => unreachable!("host tensors hold one of three types"),
        };
        self.layout.positions().map(pick).collect()
    }

    /// The only element of a one-element tensor.
    ///
    /// # Errors
    /// [`Error::Elements`] for any other number of elements.
    pub fn item(&self) -> Result<f32> {
        filled("item", self.elements(), Shape::from([1]))?;
        Ok(self.to_vec()[0])
    }

    /// The same elements under another shape, without copying.
    ///
    /// # Errors
    /// Another number of elements, or a strided view.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        Ok(Tensor { layout: self.layout.reshape(shape.into())?, ..self.clone() })
    }

    /// Elements `start..start + len` of dimension `dim`, without copying.
    ///
    /// # Errors
    /// A dimension or a range that the shape does not have.
    pub fn narrow(&self, dim: usize, start: usize, len: usize) -> Result<Self> {
        Ok(Tensor { layout: self.layout.narrow(dim, start, len)?, ..self.clone() })
    }

    /// Dimensions `a` and `b` exchanged, without copying.
    ///
    /// # Errors
    /// A dimension that the shape does not have.
    pub fn transpose(&self, a: usize, b: usize) -> Result<Self> {
        Ok(Tensor { layout: self.layout.transpose(a, b)?, ..self.clone() })
    }

    /// This tensor where its elements lie in order, else a copy in which they do.
    ///
    /// # Errors
    /// None today; a device may run out of memory.
    pub fn contiguous(&self) -> Result<Self> {
        if self.layout.is_contiguous() { Ok(self.clone()) } else { self.copy() }
    }

    /// The elements in a new type: f32 to bf16 rounds to nearest even.
    ///
    /// # Errors
    /// Index tensors.
    pub fn cast(&self, dtype: DType) -> Result<Self> {
        if dtype == self.dtype {
            return Ok(self.clone());
        }
        let x = self.contiguous()?;
        let mut y = Tensor::empty(&self.device, self.shape(), dtype);
        flg_kernels::cast::cast(self.device.runtime(), flg_kernels::cast::Args { x: x.input()?, y: y.output()? })?;
        Ok(y)
    }

    /// A contiguous copy in storage of its own.
    ///
    /// # Errors
    /// None today; a device may run out of memory.
    pub fn copy(&self) -> Result<Self> {
        let shape = self.shape();
        let all = self.storage.input(0, self.storage.len());
        let pool = self.device.pool();
        let at = self.layout.positions();
        let storage = match all {
            In::F32(x) if self.layout.is_contiguous() => {
                let mut storage = pool.allocate(shape.elements(), DType::F32);
                if !self.device.is_dry()
                    && let Some(Out::F32(y)) = storage.output(0, shape.elements())
                {
                    y.copy_from_slice(&x[self.layout.offset()..self.layout.offset() + shape.elements()]);
                }
                storage
            }
            _ if self.device.is_dry() => pool.bring(shape.elements(), self.dtype),
            In::F32(x) => pool.adopt_f32(at.map(|i| x[i]).collect()),
            In::Bf16(x) => pool.adopt_bf16(at.map(|i| x[i]).collect()),
            In::I32(x) => pool.adopt_i32(at.map(|i| x[i]).collect()),
            _ => unreachable!("host tensors hold one of three types"),
        };
        Ok(Tensor::around(&self.device, storage, shape))
    }
}

fn filled(op: &'static str, got: usize, shape: Shape) -> Result<()> {
    if got == shape.elements() { Ok(()) } else { Err(Error::Elements { op, shape, got }) }
}
