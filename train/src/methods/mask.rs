//! Which blocks a step of Stage II skips.

use flg_engine::Key;
use flg_model::BlockMask;

use crate::config::{MaskSampler, PruneConfig};
use crate::error::Result;

/// Draws masks: by phase, then by the configured sampler.
#[derive(Clone, Debug)]
pub struct Masks {
    all: BlockMask,
    /// What the first phase may skip: at least the blocks that will be removed.
    unimportant: Vec<usize>,
    end: BlockMask,
    config: PruneConfig,
}

impl Masks {
    /// Masks over `blocks` blocks. `ranked` lists all blocks, the least important first; `removed` are those to go.
    ///
    /// # Errors
    /// A block that does not exist.
    pub fn new(blocks: usize, ranked: &[usize], removed: &[usize], config: &PruneConfig) -> Result<Self> {
        let wanted = (config.unimportant * blocks as f64).round() as usize;
        let mut unimportant = removed.to_vec();
        let others = ranked.iter().copied().filter(|i| !removed.contains(i));
        unimportant.extend(others.take(wanted.saturating_sub(removed.len())));
        unimportant.sort_unstable();
        let end = BlockMask::without(blocks, removed)?;
        BlockMask::without(blocks, &unimportant)?;
        Ok(Masks { all: BlockMask::all(blocks), unimportant, end, config: config.clone() })
    }

    /// Every block runs.
    pub fn all(&self) -> &BlockMask {
        &self.all
    }

    /// The blocks that remain in the end.
    pub fn end(&self) -> &BlockMask {
        &self.end
    }

    /// The mask of a step.
    ///
    /// # Errors
    /// None: the blocks were checked.
    pub fn draw(&self, step: u64, key: Key) -> Result<BlockMask> {
        let mut stream = key.stream();
        let sandwich = self.config.sampler == MaskSampler::Sandwich;
        if step >= self.config.random_steps || (sandwich && stream.bernoulli(self.config.end)) {
            return Ok(self.end.clone());
        }
        let skipped: Vec<usize> =
            self.unimportant.iter().copied().filter(|_| !stream.bernoulli(self.config.keep)).collect();
        Ok(BlockMask::without(self.all.layers(), &skipped)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(sampler: MaskSampler) -> Masks {
        let config = PruneConfig { sampler, random_steps: 1000, unimportant: 0.5, ..PruneConfig::default() };
        Masks::new(6, &[2, 3, 4, 1, 0, 5], &[2, 3], &config).unwrap()
    }

    fn share_of_the_end(sampler: MaskSampler) -> f64 {
        let masks = masks(sampler);
        let hits = (0..1000).filter(|&i| masks.draw(i, Key::new(1).at(i)).unwrap() == *masks.end()).count();
        hits as f64 / 1000.0
    }

    #[test]
    fn each_sampler_has_its_distribution_and_important_blocks_stay() {
        // Of three unimportant blocks exactly the two to be removed: 1/8. Five binomial standard errors are below 0.08.
        assert!((share_of_the_end(MaskSampler::Bernoulli) - 0.125).abs() < 0.08);
        assert!((share_of_the_end(MaskSampler::Sandwich) - 0.5625).abs() < 0.08);
        let masks = masks(MaskSampler::Bernoulli);
        for i in 0..100 {
            let mask = masks.draw(i, Key::new(2).at(i)).unwrap();
            assert!([0, 1, 5].iter().all(|&block| mask.keeps(block)));
        }
        assert_eq!(masks.draw(1000, Key::new(2)).unwrap(), *masks.end());
        assert!(Masks::new(6, &[], &[6], &PruneConfig::default()).is_err());
    }
}
