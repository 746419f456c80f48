//! Memory of a GPU, and the parts of it that kernels read and write.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::{Gpu, driver};
use crate::{DType, In, Out, Result};

const OP: &str = "memory";

/// Bytes on a GPU. They are taken and given back in the order of its stream, without waiting.
#[derive(Debug)]
pub struct Memory {
    gpu: &'static Gpu,
    address: u64,
    bytes: usize,
}

impl Memory {
    /// `bytes` bytes with unspecified contents, at a multiple of 256.
    ///
    /// # Errors
    /// The GPU has not so much left.
    pub fn new(gpu: &'static Gpu, bytes: usize) -> Result<Self> {
        let mut address = 0;
        if bytes > 0 {
            // SAFETY: `address` outlives the call.
            gpu.call(OP, "cuMemAllocAsync", |gpu| unsafe {
                driver::cuMemAllocAsync(&mut address, bytes, gpu.raw_stream())
            })?;
        }
        Ok(Memory { gpu, address, bytes })
    }

    /// Where.
    pub fn gpu(&self) -> &'static Gpu {
        self.gpu
    }

    /// How much.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its address, for scratch of other types than operands have.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Copies `from` to `offset..` once the work before it is done.
    ///
    /// # Errors
    /// The failure of earlier work.
    ///
    /// # Panics
    /// Where it does not fit: callers slice by shapes that they have checked.
    pub fn upload(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        self.within(offset, from.len());
        self.gpu.upload(self.address + offset as u64, from)
    }

    /// Copies from `offset..` to the host, and waits for it.
    ///
    /// # Errors
    /// The failure of earlier work.
    ///
    /// # Panics
    /// Where there are fewer bytes.
    pub fn download(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        self.within(offset, to.len());
        self.gpu.download(self.address + offset as u64, to)
    }

    /// Zeroes all bytes.
    ///
    /// # Errors
    /// The failure of earlier work.
    pub fn zero(&mut self) -> Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        // SAFETY: the memory belongs to `self`.
        self.gpu.call(OP, "cuMemsetD8Async", |gpu| unsafe {
            driver::cuMemsetD8Async(self.address, 0, self.bytes, gpu.raw_stream())
        })
    }

    /// Copies `bytes` bytes at `from_offset` of another memory of the same GPU to `offset..`.
    ///
    /// # Errors
    /// The failure of earlier work.
    ///
    /// # Panics
    /// Where either has fewer bytes, or the GPUs are two.
    pub fn copy(&mut self, offset: usize, from: &Memory, from_offset: usize, bytes: usize) -> Result<()> {
        assert_eq!(self.gpu, from.gpu, "a copy between two GPUs");
        self.within(offset, bytes);
        from.within(from_offset, bytes);
        if bytes == 0 {
            return Ok(());
        }
        let (to, from) = (self.address + offset as u64, from.address + from_offset as u64);
        // SAFETY: both ranges were checked.
        self.gpu.call(OP, "cuMemcpyDtoDAsync_v2", |gpu| unsafe {
            driver::cuMemcpyDtoDAsync_v2(to, from, bytes, gpu.raw_stream())
        })
    }

    /// `len` elements from element `first` on, to read.
    ///
    /// # Panics
    /// Where there are fewer.
    pub fn slice(&self, first: usize, len: usize, dtype: DType) -> Slice<'_> {
        self.within(first * dtype.size(), len * dtype.size());
        Slice { address: self.address + (first * dtype.size()) as u64, len, dtype, borrow: PhantomData }
    }

    /// `len` elements from element `first` on, to write.
    ///
    /// # Panics
    /// Where there are fewer.
    pub fn slice_mut(&mut self, first: usize, len: usize, dtype: DType) -> SliceMut<'_> {
        let Slice { address, .. } = self.slice(first, len, dtype);
        SliceMut { address, len, dtype, borrow: PhantomData }
    }

    fn within(&self, offset: usize, bytes: usize) {
        let end = offset.checked_add(bytes);
        assert!(end.is_some_and(|end| end <= self.bytes), "{bytes} bytes at {offset} of {}", self.bytes);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // A failure here is that of earlier work; the next call that can report it will.
            // SAFETY: the memory belongs to `self`, and no later call can name it.
            let _ = self
                .gpu
                .call(OP, "cuMemFreeAsync", |gpu| unsafe { driver::cuMemFreeAsync(self.address, gpu.raw_stream()) });
        }
    }
}

/// Elements on a GPU that a kernel reads.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    address: u64,
    len: usize,
    dtype: DType,
    borrow: PhantomData<&'a [u8]>,
}

/// Elements on a GPU that a kernel writes.
#[derive(Debug)]
pub struct SliceMut<'a> {
    address: u64,
    len: usize,
    dtype: DType,
    borrow: PhantomData<&'a mut [u8]>,
}

impl<'a> Slice<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Copies indices to the host, and waits for them.
    pub(crate) fn indices(self, gpu: &Gpu) -> Result<Vec<i32>> {
        debug_assert_eq!(self.dtype, DType::I32);
        let mut host = vec![0i32; self.len];
        gpu.download(self.address, bytemuck::cast_slice_mut(&mut host))?;
        Ok(host)
    }

    /// The elements from `first` on.
    pub(crate) fn from(self, first: usize) -> Self {
        let address = self.address + (first * self.dtype.size()) as u64;
        Slice { address, len: self.len - first, ..self }
    }
}

impl<'a> SliceMut<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The elements below `middle`, and the others.
    ///
    /// # Panics
    /// Where there are fewer.
    pub fn split_at(self, middle: usize) -> (SliceMut<'a>, SliceMut<'a>) {
        assert!(middle <= self.len, "split at {middle} of {}", self.len);
        let high = self.address + (middle * self.dtype.size()) as u64;
        (
            SliceMut { address: self.address, len: middle, dtype: self.dtype, borrow: PhantomData },
            SliceMut { address: high, len: self.len - middle, dtype: self.dtype, borrow: PhantomData },
        )
    }

    /// A second handle to the same elements.
    pub(crate) fn reborrow(&mut self) -> SliceMut<'_> {
        SliceMut { address: self.address, len: self.len, dtype: self.dtype, borrow: PhantomData }
    }
}

/// An operand as kernels take it: `Operand` in `device.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Operand {
    address: u64,
    /// 0 f32, 1 bf16, 2 indices.
    dtype: u32,
    /// 1 where there is an operand, else 0.
    present: u32,
}

impl Operand {
    /// The absent one.
    pub const NONE: Operand = Operand { address: 0, dtype: 0, present: 0 };

    fn new(address: u64, dtype: DType) -> Self {
        Operand { address, dtype: dtype as u32, present: 1 }
    }

    /// Whether vectors of `elements` elements may start at its first one.
    pub fn is_aligned_to(self, elements: usize) -> bool {
        let size = if self.dtype == DType::Bf16 as u32 { 2 } else { 4 };
        self.address.is_multiple_of((elements * size) as u64)
    }

    /// Whether all of them, as far as they are there, can be accessed four elements at a time.
    pub fn all_in_fours(operands: &[Operand]) -> bool {
        operands.iter().all(|operand| operand.is_aligned_to(4))
    }

    /// Its address.
    pub fn address(self) -> u64 {
        self.address
    }

    /// Whether its elements are bf16.
    pub fn is_bf16(self) -> bool {
        self.dtype == DType::Bf16 as u32
    }
}

impl From<In<'_>> for Operand {
    fn from(x: In<'_>) -> Self {
        match x {
            In::Cuda(x) => Operand::new(x.address, x.dtype),
            _ => unreachable!("a check refuses operands of another device"),
        }
    }
}

impl From<Out<'_>> for Operand {
    fn from(x: Out<'_>) -> Self {
        match x {
            Out::Cuda(x) => Operand::new(x.address, x.dtype),
            _ => unreachable!("a check refuses operands of another device"),
        }
    }
}

impl<T> From<Option<T>> for Operand
where
    Operand: From<T>,
{
    fn from(x: Option<T>) -> Self {
        x.map_or(Operand::NONE, Operand::from)
    }
}
