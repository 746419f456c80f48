//! Up to six extents, inline and `Copy`.

use std::fmt;

use crate::{Error, Result};

/// The extents of a tensor, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: u8,
    dims: [usize; Shape::MAX_RANK],
}

impl Shape {
    /// The most dimensions that a shape holds.
    pub const MAX_RANK: usize = 6;

    /// The shape with these extents.
    ///
    /// # Errors
    /// [`Error::Rank`] for more than six.
    pub fn new(extents: &[usize]) -> Result<Self> {
        if extents.len() > Shape::MAX_RANK {
            return Err(Error::Rank { got: extents.len() });
        }
        let mut dims = [1; Shape::MAX_RANK];
        dims[..extents.len()].copy_from_slice(extents);
        Ok(Shape { rank: extents.len() as u8, dims })
    }

    /// The extents.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// Number of elements: the product of the extents, 1 for rank 0.
    pub fn elements(&self) -> usize {
        self.dims().iter().product()
    }

    /// The last extent, 1 for rank 0: the width of a row.
    pub fn width(&self) -> usize {
        self.dims().last().copied().unwrap_or(1)
    }

    /// Number of rows of the last extent: the product of all others.
    pub fn rows(&self) -> usize {
        self.dims().split_last().map_or(1, |(_, outer)| outer.iter().product())
    }

    /// The extents as an array, for a caller that knows the rank.
    ///
    /// # Errors
    /// [`Error::Shape`] naming `op` for another rank.
    pub fn expect_rank<const N: usize>(&self, op: &'static str) -> Result<[usize; N]> {
        self.dims().try_into().map_err(|_| Error::Shape { op, expected: Shape::from([0; N]), got: *self })
    }

    /// Errors unless both shapes are equal.
    pub fn expect(&self, op: &'static str, expected: impl Into<Shape>) -> Result<()> {
        let expected = expected.into();
        if *self == expected { Ok(()) } else { Err(Error::Shape { op, expected, got: *self }) }
    }

    /// This shape with another last extent.
    pub fn with_width(mut self, width: usize) -> Self {
        match self.rank {
            0 => Shape::from([width]),
            n => {
                self.dims[n as usize - 1] = width;
                self
            }
        }
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    /// Rank `N` is checked at compile time.
    fn from(extents: [usize; N]) -> Self {
        const { assert!(N <= Shape::MAX_RANK, "more dimensions than a shape holds") }
        let mut dims = [1; Shape::MAX_RANK];
        dims[..N].copy_from_slice(&extents);
        Shape { rank: N as u8, dims }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
