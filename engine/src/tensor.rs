//! A plain multi-dimensional value: shared storage and a layout. No autograd inside.

use std::sync::Arc;

use flg_kernels::{In, Out, bf16, strided_copy};

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
    ///
    /// # Errors
    /// A GPU without enough memory left.
    pub fn empty(device: &Device, shape: impl Into<Shape>, dtype: DType) -> Result<Self> {
        let shape = shape.into();
        Ok(Tensor::around(device, device.pool().allocate(shape.elements(), dtype)?, shape))
    }

    /// All zeros, f32.
    ///
    /// # Errors
    /// A GPU without enough memory left.
    pub fn zeros(device: &Device, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        let mut storage = device.pool().allocate(shape.elements(), DType::F32)?;
        storage.zero()?;
        Ok(Tensor::around(device, storage, shape))
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
        Ok(Tensor::around(device, device.pool().adopt_f32(values)?, shape))
    }

    /// f32 values that `next` makes one after the other, row-major. On a dry device it is not asked.
    ///
    /// # Errors
    /// A GPU without enough memory left.
    pub fn from_fn(device: &Device, shape: impl Into<Shape>, mut next: impl FnMut() -> f32) -> Result<Self> {
        let shape = shape.into();
        let storage = match device.is_dry() {
            true => device.pool().bring(shape.elements(), DType::F32),
            false => device.pool().adopt_f32((0..shape.elements()).map(|_| next()).collect())?,
        };
        Ok(Tensor::around(device, storage, shape))
    }

    /// These bf16 values, row-major.
    ///
    /// # Errors
    /// [`Error::Elements`] where they do not fill the shape.
    pub fn from_bf16(device: &Device, values: Vec<bf16>, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        filled("from_bf16", values.len(), shape)?;
        Ok(Tensor::around(device, device.pool().adopt_bf16(values)?, shape))
    }

    /// These indices, row-major.
    ///
    /// # Errors
    /// [`Error::Elements`] where they do not fill the shape.
    pub fn from_indices(device: &Device, values: Vec<i32>, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        filled("from_indices", values.len(), shape)?;
        Ok(Tensor::around(device, device.pool().adopt_i32(values)?, shape))
    }

    /// What a caller would bring along, on a dry device.
    pub(crate) fn brought(device: &Device, shape: Shape, dtype: DType) -> Self {
        Tensor::around(device, device.pool().bring(shape.elements(), dtype), shape)
    }

    fn around(device: &Device, storage: Storage, shape: Shape) -> Self {
        Tensor::new(device, storage, Layout::contiguous(shape))
    }

    /// `layout` lies within the storage.
    pub(crate) fn new(device: &Device, storage: Storage, layout: Layout) -> Self {
        let dtype = storage.dtype();
        Tensor { storage: Arc::new(storage), layout, dtype, device: device.clone() }
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
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

    /// The elements as f32 in row-major order (indices too), on the host.
    ///
    /// # Errors
    /// The failure of a GPU; that of any earlier operation on it may show here.
    pub fn values(&self) -> Result<Vec<f32>> {
        let host = self.on_host()?;
        let all = host.storage.input(0, host.storage.len());
        let pick = |at: usize| match all {
            In::F32(x) => x[at],
            In::Bf16(x) => x[at].to_f32(),
            In::I32(x) => x[at] as f32,
            _ => unreachable!("host tensors hold one of three types"),
        };
        Ok(host.layout.positions().map(pick).collect())
    }

    /// [`Tensor::values`], for tests and for tensors of the host, where nothing can fail.
    ///
    /// # Panics
    /// Where a GPU fails.
    pub fn to_vec(&self) -> Vec<f32> {
        self.values().expect("the values of a tensor")
    }

    /// The only element of a one-element tensor.
    ///
    /// # Errors
    /// [`Error::Elements`] for any other number of elements, and as [`Tensor::values`].
    pub fn item(&self) -> Result<f32> {
        filled("item", self.elements(), Shape::from([1]))?;
        Ok(self.values()?[0])
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
        let mut y = Tensor::empty(&self.device, self.shape(), dtype)?;
        flg_kernels::cast::cast(self.device.runtime(), flg_kernels::cast::Args { x: x.input()?, y: y.output()? })?;
        Ok(y)
    }

    /// A contiguous copy in storage of its own.
    ///
    /// # Errors
    /// A device that runs out of memory; a strided view of indices on a GPU.
    pub fn copy(&self) -> Result<Self> {
        let shape = self.shape();
        if self.dtype == DType::I32 {
            return self.copy_indices();
        }
        let mut storage = self.device.pool().allocate(shape.elements(), self.dtype)?;
        let contiguous = Layout::contiguous(shape);
        if let Some(y) = storage.output(0, shape.elements()) {
            let x = self.storage.input(self.layout.offset(), self.storage.len() - self.layout.offset());
            let dims = strided_copy::Dims::new(self.dims(), self.layout.strides(), contiguous.strides());
            strided_copy::strided_copy(self.device.runtime(), strided_copy::Args { x, y, dims })?;
        }
        Ok(Tensor::around(&self.device, storage, shape))
    }

    /// Writes `part` over elements `start..` of dimension `dim`, rounded or widened to this tensor's type. Copies first
    /// where other tensors share the storage.
    ///
    /// # Errors
    /// A part that differs in another dimension or does not fit in this one; indices.
    pub fn overwrite(&mut self, dim: usize, start: usize, part: &Tensor) -> Result<()> {
        let extent = part.dims().get(dim).copied().unwrap_or(0);
        let to = Layout::contiguous(self.shape()).narrow(dim, start, extent)?;
        part.shape().expect("overwrite", to.shape())?;
        let dims = strided_copy::Dims::new(part.dims(), part.layout.strides(), to.strides());
        let x = part.storage.input(part.layout.offset(), part.storage.len() - part.layout.offset());
        let (rt, offset) = (*self.device.runtime(), to.offset().min(self.elements()));
        let (_, y) = self.output()?.split_at(offset);
        strided_copy::strided_copy(&rt, strided_copy::Args { x, y, dims })?;
        Ok(())
    }

    fn copy_indices(&self) -> Result<Self> {
        let shape = self.shape();
        if self.device.is_dry() {
            return Ok(Tensor::brought(&self.device, shape, self.dtype));
        }
        // Indices are few, and nothing makes strided ones: the way over the host is short enough.
        let host = self.on_host()?;
        let In::I32(all) = host.storage.input(0, host.storage.len()) else {
            unreachable!("the type was looked at before")
        };
        Tensor::from_indices(&self.device, host.layout.positions().map(|at| all[at]).collect(), shape)
    }
}

fn filled(op: &'static str, got: usize, shape: Shape) -> Result<()> {
    if got == shape.elements() { Ok(()) } else { Err(Error::Elements { op, shape, got }) }
}
