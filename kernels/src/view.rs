//! Operands of kernels: typed slices that are read ([`In`]) or written ([`Out`]).
//!
//! A kernel's CPU path computes in f32 slices. bf16 operands are widened on the way in and rounded once on the way out
//! ([`In::widen`], [`Out::write`]); a kernel for which that copy would cost too much (GEMM's weights) matches on the
//! variants itself.

use std::borrow::Cow;

use half::bf16;
use half::slice::HalfFloatSliceExt;

use crate::{DType, Error, Result};

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
}

/// An operand that a kernel writes (or adds to, where its field is named `*_acc`).
#[derive(Debug)]
#[non_exhaustive]
pub enum Out<'a> {
    /// 32-bit floats.
    F32(&'a mut [f32]),
    /// bfloat16 storage.
    Bf16(&'a mut [bf16]),
}

impl<'a> In<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            In::F32(x) => x.len(),
            In::Bf16(x) => x.len(),
            In::I32(x) => x.len(),
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
        }
    }

    /// Checks the number of elements and that this is a float operand.
    pub fn check(&self, op: &'static str, operand: &'static str, expected: usize) -> Result<()> {
        if let In::I32(_) = self {
            return Err(Error::DType { op, operand, expected: DType::F32, got: DType::I32 });
        }
        check_length(op, operand, expected, self.len())
    }

    /// The elements as f32: borrowed, or widened into a new buffer. Empty for indices, which `check` has refused.
    pub fn widen(&self) -> Cow<'a, [f32]> {
        match self {
            In::F32(x) => Cow::Borrowed(x),
            In::Bf16(x) => {
                let mut wide = vec![0.0; x.len()];
                x.convert_to_f32_slice(&mut wide);
                Cow::Owned(wide)
            }
            In::I32(_) => Cow::Borrowed(&[]),
        }
    }

    /// The f32 slice of an operand that may be nothing else (statistics, tables).
    pub fn f32(&self, op: &'static str, operand: &'static str, expected: usize) -> Result<&'a [f32]> {
        match self {
            In::F32(x) => check_length(op, operand, expected, x.len()).map(|()| *x),
            other => Err(Error::DType { op, operand, expected: DType::F32, got: other.dtype() }),
        }
    }

    /// The index slice of an operand that holds indices.
    pub fn i32(&self, op: &'static str, operand: &'static str, expected: usize) -> Result<&'a [i32]> {
        match self {
            In::I32(x) => check_length(op, operand, expected, x.len()).map(|()| *x),
            other => Err(Error::DType { op, operand, expected: DType::I32, got: other.dtype() }),
        }
    }
}

impl<'a> Out<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Out::F32(x) => x.len(),
            Out::Bf16(x) => x.len(),
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
        }
    }

    /// Checks the number of elements.
    pub fn check(&self, op: &'static str, operand: &'static str, expected: usize) -> Result<()> {
        check_length(op, operand, expected, self.len())
    }

    /// A second handle to the same elements, for a call that takes `Out` by value.
    pub fn reborrow(&mut self) -> Out<'_> {
        match self {
            Out::F32(x) => Out::F32(x),
            Out::Bf16(x) => Out::Bf16(x),
        }
    }

    /// Lets `fill` write every element as f32; rounds once where the storage is bf16.
    pub fn write<R>(&mut self, fill: impl FnOnce(&mut [f32]) -> R) -> R {
        match self {
            Out::F32(x) => fill(x),
            Out::Bf16(x) => {
                let mut wide = vec![0.0; x.len()];
                let result = fill(&mut wide);
                x.convert_from_f32_slice(&wide);
                result
            }
        }
    }

    /// The f32 slice of an operand that may be nothing else (accumulators, statistics).
    pub fn f32(self, op: &'static str, operand: &'static str, expected: usize) -> Result<&'a mut [f32]> {
        check_length(op, operand, expected, self.len())?;
        match self {
            Out::F32(x) => Ok(x),
            other => Err(Error::DType { op, operand, expected: DType::F32, got: other.dtype() }),
        }
    }
}

/// The product of extents, or an error instead of a wrapped number.
pub fn extent(op: &'static str, extents: &[usize]) -> Result<usize> {
    extents.iter().try_fold(1usize, |n, &e| n.checked_mul(e)).ok_or(Error::Overflow { op })
}

fn check_length(op: &'static str, operand: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Length { op, operand, expected, got }) }
}
