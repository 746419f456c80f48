//! Where the elements of a view lie in its storage.

use crate::{Error, Result, Shape};

/// Shape, strides and offset, in elements. Views cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Shape,
    strides: [usize; Shape::MAX_RANK],
    offset: usize,
}

impl Layout {
    /// Row-major from element zero.
    pub fn contiguous(shape: Shape) -> Self {
        let mut strides = [1; Shape::MAX_RANK];
        let mut step = 1;
        for (i, &extent) in shape.dims().iter().enumerate().rev() {
            strides[i] = step;
            step *= extent;
        }
        Layout { shape, strides, offset: 0 }
    }

    /// The extents.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The extents as a slice.
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// The first element's position in the storage.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Steps between neighbours, one a dimension.
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.shape.rank()]
    }

    /// Whether the elements lie in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        let mut step = 1;
        self.shape.dims().iter().zip(self.strides()).rev().all(|(&extent, &stride)| {
            let fits = extent == 1 || stride == step;
            step *= extent;
            fits
        }) || self.shape.elements() == 0
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// A strided view, or another number of elements.
    pub fn reshape(&self, shape: Shape) -> Result<Self> {
        if !self.is_contiguous() {
            return Err(Error::Strided { op: "reshape", shape: self.shape });
        }
        if shape.elements() != self.shape.elements() {
            return Err(Error::Shape { op: "reshape", expected: shape, got: self.shape });
        }
        Ok(Layout { offset: self.offset, ..Layout::contiguous(shape) })
    }

    /// Elements `start..start + len` of dimension `dim`.
    ///
    /// # Errors
    /// A dimension or a range that the shape does not have.
    pub fn narrow(&self, dim: usize, start: usize, len: usize) -> Result<Self> {
        let op = "narrow";
        let mut dims = self.shape.dims().to_vec();
        let extent = *dims.get(dim).ok_or(Error::Index { op, shape: self.shape, index: dim })?;
        if start.checked_add(len).is_none_or(|end| end > extent) {
            return Err(Error::Index { op, shape: self.shape, index: start.saturating_add(len) });
        }
        dims[dim] = len;
        Ok(Layout { shape: Shape::new(&dims)?, strides: self.strides, offset: self.offset + start * self.strides[dim] })
    }

    /// Dimensions `a` and `b` exchanged.
    ///
    /// # Errors
    /// A dimension that the shape does not have.
    pub fn transpose(&self, a: usize, b: usize) -> Result<Self> {
        let mut dims = self.shape.dims().to_vec();
        if a.max(b) >= dims.len() {
            return Err(Error::Index { op: "transpose", shape: self.shape, index: a.max(b) });
        }
        dims.swap(a, b);
        let mut strides = self.strides;
        strides.swap(a, b);
        Ok(Layout { shape: Shape::new(&dims)?, strides, offset: self.offset })
    }

    /// Elements of the storage from the first one of the view to the last; 0 where it has none.
    #[cfg(feature = "cuda")]
    pub(crate) fn span(&self) -> usize {
        if self.shape.elements() == 0 {
            return 0;
        }
        let steps = self.shape.dims().iter().zip(self.strides()).map(|(&extent, &stride)| (extent - 1) * stride);
        steps.sum::<usize>() + 1
    }

    /// The same view of a storage that begins where this one does.
    #[cfg(feature = "cuda")]
    pub(crate) fn at_zero(&self) -> Self {
        Layout { offset: 0, ..*self }
    }

    /// Storage positions of the elements, in row-major order of the view.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        let dims = self.shape.dims();
        (0..self.shape.elements()).map(move |mut index| {
            let mut position = self.offset;
            for (&extent, &stride) in dims.iter().zip(self.strides()).rev() {
                position += (index % extent) * stride;
                index /= extent;
            }
            position
        })
    }
}
