//! Operands of kernels: typed slices that are read ([`In`]) or written ([`Out`]), in host memory or on a GPU.
//!
//! An entry point first checks every operand: its length, its type, and that it lies where the runtime computes. After
//! that a kernel's path for one device takes what it needs without further questions.
//!
//! A kernel's CPU path computes in f32 slices. bf16 operands are widened on the way in and rounded once on the way out
//! ([`In::widen`], [`Out::write`]); a kernel for which that copy would cost too much (GEMM's weights) matches on the
//! variants itself.

use std::borrow::Cow;

use half::bf16;
use half::slice::HalfFloatSliceExt;

#[cfg(feature = "cuda")]
use crate::runtime::cuda::{Slice, SliceMut};
use crate::{DType, Error, Result, Runtime};

/// An operand that a kernel reads.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum In<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// bfloat16 storage.
    Bf16(&'a [bf16]),
    /// Indices.
    I32(&'a [i32]),
    /// On a GPU, any element type.
    #[cfg(feature = "cuda")]
    Cuda(Slice<'a>),
}

/// An operand that a kernel writes (or adds to, where its field is named `*_acc`).
#[derive(Debug)]
#[non_exhaustive]
pub enum Out<'a> {
    /// 32-bit floats.
    F32(&'a mut [f32]),
    /// bfloat16 storage.
    Bf16(&'a mut [bf16]),
    /// On a GPU, floats.
    #[cfg(feature = "cuda")]
    Cuda(SliceMut<'a>),
}

impl<'a> In<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            In::F32(x) => x.len(),
            In::Bf16(x) => x.len(),
            In::I32(x) => x.len(),
            #[cfg(feature = "cuda")]
            In::Cuda(x) => x.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match self {
            In::F32(_) => DType::F32,
            In::Bf16(_) => DType::Bf16,
            In::I32(_) => DType::I32,
            #[cfg(feature = "cuda")]
            In::Cuda(x) => x.dtype(),
        }
    }

    /// Checks that this is a float operand of `expected` elements where `rt` computes.
    ///
    /// # Errors
    /// Another number of elements, indices, another device.
    pub fn check(&self, rt: &Runtime, op: &'static str, operand: &'static str, expected: usize) -> Result<()> {
        if self.dtype() == DType::I32 {
            return Err(Error::DType { op, operand, expected: DType::F32, got: DType::I32 });
        }
        check_place(rt, op, operand, self.is_on_gpu())?;
        check_length(op, operand, expected, self.len())
    }

    /// [`In::check`] for an operand that may be nothing but f32 (statistics, tables) or indices.
    ///
    /// # Errors
    /// Another type too.
    pub fn check_type(
        &self,
        rt: &Runtime,
        dtype: DType,
        op: &'static str,
        operand: &'static str,
        expected: usize,
    ) -> Result<()> {
        if self.dtype() != dtype {
            return Err(Error::DType { op, operand, expected: dtype, got: self.dtype() });
        }
        check_place(rt, op, operand, self.is_on_gpu())?;
        check_length(op, operand, expected, self.len())
    }

    /// The elements of a host operand as f32: borrowed, or widened into a new buffer. Empty for indices, which
    /// [`In::check`] has refused.
    pub fn widen(&self) -> Cow<'a, [f32]> {
        match self {
            In::F32(x) => Cow::Borrowed(x),
            In::Bf16(x) => {
                let mut wide = vec![0.0; x.len()];
                x.convert_to_f32_slice(&mut wide);
                Cow::Owned(wide)
            }
            In::I32(_) => Cow::Borrowed(&[]),
            #[cfg(feature = "cuda")]
            In::Cuda(_) => unreachable!("a check refuses operands of another device"),
        }
    }

    /// The elements of a host operand that [`In::check_type`] has found to be f32.
    pub(crate) fn f32(&self) -> &'a [f32] {
        match self {
            In::F32(x) => x,
            _ => unreachable!("a check refuses operands of another type or device"),
        }
    }

    /// The elements of an operand that [`In::check_type`] has found to be indices, on the host. Those of a GPU are
    /// fetched, which waits for all work that was asked for before; a rehearsal on a GPU's operands has none.
    pub(crate) fn indices(&self, rt: &Runtime) -> Result<Cow<'a, [i32]>> {
        match (self, rt) {
            (In::I32(x), _) => Ok(Cow::Borrowed(x)),
            #[cfg(feature = "cuda")]
            (In::Cuda(x), Runtime::Cuda(gpu)) => x.indices(gpu).map(Cow::Owned),
            #[cfg(feature = "cuda")]
            (In::Cuda(_), Runtime::Dry) => Ok(Cow::Borrowed(&[])),
            _ => unreachable!("a check refuses operands of another type or device"),
        }
    }

    fn is_on_gpu(&self) -> bool {
        #[cfg(feature = "cuda")]
        return matches!(self, In::Cuda(_));
        #[cfg(not(feature = "cuda"))]
        false
    }
}

impl<'a> Out<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Out::F32(x) => x.len(),
            Out::Bf16(x) => x.len(),
            #[cfg(feature = "cuda")]
            Out::Cuda(x) => x.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match self {
            Out::F32(_) => DType::F32,
            Out::Bf16(_) => DType::Bf16,
            #[cfg(feature = "cuda")]
            Out::Cuda(x) => x.dtype(),
        }
    }

    /// Checks that there are `expected` elements where `rt` computes.
    ///
    /// # Errors
    /// Another number of elements, another device.
    pub fn check(&self, rt: &Runtime, op: &'static str, operand: &'static str, expected: usize) -> Result<()> {
        check_place(rt, op, operand, self.is_on_gpu())?;
        check_length(op, operand, expected, self.len())
    }

    /// [`Out::check`] for an operand that may be nothing but f32 (accumulators, statistics).
    ///
    /// # Errors
    /// Another type too.
    pub fn check_f32(&self, rt: &Runtime, op: &'static str, operand: &'static str, expected: usize) -> Result<()> {
        self.check(rt, op, operand, expected)?;
        if self.dtype() != DType::F32 {
            return Err(Error::DType { op, operand, expected: DType::F32, got: self.dtype() });
        }
        Ok(())
    }

    /// A second handle to the same elements, for a call that takes `Out` by value.
    pub fn reborrow(&mut self) -> Out<'_> {
        match self {
            Out::F32(x) => Out::F32(x),
            Out::Bf16(x) => Out::Bf16(x),
            #[cfg(feature = "cuda")]
            Out::Cuda(x) => Out::Cuda(x.reborrow()),
        }
    }

    /// The elements below `middle`, and the others.
    ///
    /// # Panics
    /// Where there are fewer: callers split by shapes that they have checked.
    pub fn split_at(self, middle: usize) -> (Out<'a>, Out<'a>) {
        match self {
            Out::F32(x) => {
                let (low, high) = x.split_at_mut(middle);
                (Out::F32(low), Out::F32(high))
            }
            Out::Bf16(x) => {
                let (low, high) = x.split_at_mut(middle);
                (Out::Bf16(low), Out::Bf16(high))
            }
            #[cfg(feature = "cuda")]
            Out::Cuda(x) => {
                let (low, high) = x.split_at(middle);
                (Out::Cuda(low), Out::Cuda(high))
            }
        }
    }

    /// Lets `fill` write every element of a host operand as f32; rounds once where the storage is bf16.
    pub fn write<R>(&mut self, fill: impl FnOnce(&mut [f32]) -> R) -> R {
        match self {
            Out::F32(x) => fill(x),
            Out::Bf16(x) => {
                let mut wide = vec![0.0; x.len()];
                let result = fill(&mut wide);
                x.convert_from_f32_slice(&wide);
                result
            }
            #[cfg(feature = "cuda")]
            Out::Cuda(_) => unreachable!("a check refuses operands of another device"),
        }
    }

    /// The elements of a host operand that [`Out::check_f32`] has found to be f32.
    pub(crate) fn f32(self) -> &'a mut [f32] {
        match self {
            Out::F32(x) => x,
            _ => unreachable!("a check refuses operands of another type or device"),
        }
    }

    fn is_on_gpu(&self) -> bool {
        #[cfg(feature = "cuda")]
        return matches!(self, Out::Cuda(_));
        #[cfg(not(feature = "cuda"))]
        false
    }
}

/// The product of extents, or an error instead of a wrapped number.
pub fn extent(op: &'static str, extents: &[usize]) -> Result<usize> {
    extents.iter().try_fold(1usize, |n, &e| n.checked_mul(e)).ok_or(Error::Overflow { op })
}

fn check_length(op: &'static str, operand: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Length { op, operand, expected, got }) }
}

/// A rehearsal takes operands from anywhere, since it looks at none of them.
fn check_place(rt: &Runtime, op: &'static str, operand: &'static str, on_gpu: bool) -> Result<()> {
    let fits = match rt {
        Runtime::Dry => true,
        Runtime::Cpu(_) => !on_gpu,
        #[cfg(feature = "cuda")]
        Runtime::Cuda(_) => on_gpu,
    };
    if fits { Ok(()) } else { Err(Error::Place { op, operand }) }
}
