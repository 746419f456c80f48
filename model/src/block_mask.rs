//! Which transformer blocks run.

use std::fmt;

use crate::{Error, Result};

/// A choice of blocks. A block that is left out is the identity on the residual stream: its attentions and its
/// feed-forward network are skipped together, and nothing is rescaled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlockMask {
    keep: Vec<bool>,
}

impl BlockMask {
    /// Every one of `layers` blocks.
    pub fn all(layers: usize) -> Self {
        BlockMask { keep: vec![true; layers] }
    }

    /// All of `layers` blocks but these.
    ///
    /// # Errors
    /// [`Error::BlockIndex`] for a block that there is not.
    pub fn without(layers: usize, removed: &[usize]) -> Result<Self> {
        let mut mask = BlockMask::all(layers);
        for &index in removed {
            *mask.keep.get_mut(index).ok_or(Error::BlockIndex { index, layers })? = false;
        }
        Ok(mask)
    }

    /// Only these of `layers` blocks.
    ///
    /// # Errors
    /// [`Error::BlockIndex`] for a block that there is not.
    pub fn only(layers: usize, kept: &[usize]) -> Result<Self> {
        let mut mask = BlockMask { keep: vec![false; layers] };
        for &index in kept {
            *mask.keep.get_mut(index).ok_or(Error::BlockIndex { index, layers })? = true;
        }
        Ok(mask)
    }

    /// Blocks of the network that this is a choice of.
    pub fn layers(&self) -> usize {
        self.keep.len()
    }

    /// Whether block `index` runs; none outside the network does.
    pub fn keeps(&self, index: usize) -> bool {
        self.keep.get(index).copied().unwrap_or(false)
    }

    /// Blocks that run, ascending.
    pub fn kept(&self) -> Vec<usize> {
        self.positions(true)
    }

    /// Blocks that are skipped, ascending.
    pub fn removed(&self) -> Vec<usize> {
        self.positions(false)
    }

    fn positions(&self, kept: bool) -> Vec<usize> {
        self.keep.iter().enumerate().filter(|&(_, &keep)| keep == kept).map(|(i, _)| i).collect()
    }
}

impl fmt::Display for BlockMask {
    /// `20 of 30 blocks, without 3 5-12 29`; every block counts from 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = self.removed();
        write!(f, "{} of {} blocks", self.layers() - removed.len(), self.layers())?;
        if removed.is_empty() {
            return Ok(());
        }
        write!(f, ", without")?;
        for run in removed.chunk_by(|a, b| a + 1 == *b) {
            match run {
                [one] => write!(f, " {one}")?,
                [first, .., last] => write!(f, " {first}-{last}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_shortened() {
        let mask = BlockMask::without(30, &[29, 5, 6, 7, 3]).unwrap();
        assert_eq!(mask.to_string(), "25 of 30 blocks, without 3 5-7 29");
        assert_eq!(BlockMask::all(4).to_string(), "4 of 4 blocks");
    }

    #[test]
    fn kept_and_removed_are_complements() {
        let mask = BlockMask::without(5, &[1, 3]).unwrap();
        assert_eq!((mask.kept(), mask.removed()), (vec![0, 2, 4], vec![1, 3]));
        assert_eq!(BlockMask::only(5, &mask.kept()).unwrap(), mask);
        assert!(mask.keeps(0) && !mask.keeps(1) && !mask.keeps(5));
        assert!(matches!(BlockMask::without(5, &[5]), Err(Error::BlockIndex { index: 5, layers: 5 })));
    }
}
