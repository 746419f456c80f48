//! Where the elements of one allocation are.

#[cfg(feature = "cuda")]
use flg_kernels::runtime::cuda::Memory;
use flg_kernels::{In, Out, bf16};
use memmap2::MmapMut;

use super::arena::Region;
use crate::DType;

/// Elements of one type, owned by a pool.
#[derive(Debug)]
pub(super) enum Buffer {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    I32(Vec<i32>),
    /// A part of the arena.
    Region(Region, DType),
    /// Addresses in a rehearsal of what a caller would bring: nothing is behind them, and nothing writes there.
    Dry(MmapMut, DType),
    /// Memory of a GPU.
    #[cfg(feature = "cuda")]
    Gpu(Memory, DType),
}

impl Buffer {
    pub(super) fn new(len: usize, dtype: DType) -> Self {
        match dtype {
            DType::F32 => Buffer::F32(vec![0.0; len]),
            DType::Bf16 => Buffer::Bf16(vec![bf16::ZERO; len]),
            DType::I32 => Buffer::I32(vec![0; len]),
        }
    }

    pub(super) fn dtype(&self) -> DType {
        match self {
            Buffer::F32(_) => DType::F32,
            Buffer::Bf16(_) => DType::Bf16,
            Buffer::I32(_) => DType::I32,
            Buffer::Region(_, dtype) | Buffer::Dry(_, dtype) => *dtype,
            #[cfg(feature = "cuda")]
            Buffer::Gpu(_, dtype) => *dtype,
        }
    }

    pub(super) fn elements(&self) -> usize {
        match self {
            Buffer::F32(x) => x.len(),
            Buffer::Bf16(x) => x.len(),
            Buffer::I32(x) => x.len(),
            Buffer::Region(x, dtype) => x.len() / dtype.size(),
            Buffer::Dry(x, dtype) => x.len() / dtype.size(),
            #[cfg(feature = "cuda")]
            Buffer::Gpu(x, dtype) => x.bytes() / dtype.size(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.elements() * self.dtype().size()
    }

    /// The bytes of elements that a caller brings.
    #[cfg(feature = "cuda")]
    pub(super) fn host_bytes(&self) -> &[u8] {
        match self {
            Buffer::F32(x) => bytemuck::cast_slice(x),
            Buffer::Bf16(x) => bytemuck::cast_slice(x),
            Buffer::I32(x) => bytemuck::cast_slice(x),
            _ => unreachable!("a caller brings one of three types"),
        }
    }

    /// `len` elements from element `offset` on, to read.
    pub(super) fn input(&self, offset: usize, len: usize) -> In<'_> {
        let range = offset..offset + len;
        match self {
            Buffer::F32(x) => In::F32(&x[range]),
            Buffer::Bf16(x) => In::Bf16(&x[range]),
            Buffer::I32(x) => In::I32(&x[range]),
            Buffer::Region(x, DType::F32) => In::F32(&x.values()[range]),
            Buffer::Dry(x, DType::F32) => In::F32(&bytemuck::cast_slice(x)[range]),
            Buffer::Region(x, DType::Bf16) => In::Bf16(&x.values()[range]),
            Buffer::Dry(x, DType::Bf16) => In::Bf16(&bytemuck::cast_slice(x)[range]),
            Buffer::Region(x, DType::I32) => In::I32(&x.values()[range]),
            Buffer::Dry(x, DType::I32) => In::I32(&bytemuck::cast_slice(x)[range]),
            #[cfg(feature = "cuda")]
            Buffer::Gpu(x, dtype) => In::Cuda(x.slice(offset, len, *dtype)),
        }
    }

    /// The same, to write; nothing for indices, which no kernel writes.
    pub(super) fn output(&mut self, offset: usize, len: usize) -> Option<Out<'_>> {
        let range = offset..offset + len;
        match self {
            Buffer::F32(x) => Some(Out::F32(&mut x[range])),
            Buffer::Bf16(x) => Some(Out::Bf16(&mut x[range])),
            Buffer::Region(x, DType::F32) => Some(Out::F32(&mut x.values_mut()[range])),
            Buffer::Dry(x, DType::F32) => Some(Out::F32(&mut bytemuck::cast_slice_mut(x)[range])),
            Buffer::Region(x, DType::Bf16) => Some(Out::Bf16(&mut x.values_mut()[range])),
            Buffer::Dry(x, DType::Bf16) => Some(Out::Bf16(&mut bytemuck::cast_slice_mut(x)[range])),
            Buffer::I32(_) | Buffer::Region(_, DType::I32) | Buffer::Dry(_, DType::I32) => None,
            #[cfg(feature = "cuda")]
            Buffer::Gpu(_, DType::I32) => None,
            #[cfg(feature = "cuda")]
            Buffer::Gpu(x, dtype) => Some(Out::Cuda(x.slice_mut(offset, len, *dtype))),
        }
    }
}
