//! Random draws that are a function of what they are for, not of what was drawn before.

use flg_kernels::normal::philox;

/// Names one sample of a world. Equal keys give equal samples, in any order and on any machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SampleKey {
    /// The run's seed.
    pub seed: u64,
    /// What the sample is for, so that (say) training and calibration under one seed see different samples.
    pub stream: u32,
    /// The number of the sample in its stream.
    pub index: u64,
}

/// A sequence of draws for one key in one domain.
///
/// The generator is [`philox`], keyed by the seed and a hash of the domain's name, its counter made of the block
/// number, the stream and the index.
#[derive(Debug, Clone)]
pub struct Draws {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Draws {
    /// The draws of `key` in `domain`. Different domains under one key are independent.
    pub fn new(domain: &str, key: SampleKey) -> Self {
        let [k, i] = [key.seed ^ stable_hash(domain.as_bytes()), key.index];
        Self {
            key: [k as u32, (k >> 32) as u32],
            counter: [0, key.stream, i as u32, (i >> 32) as u32],
            block: [0; 4],
            used: 4,
        }
    }

    /// 32 uniform bits.
    pub fn word(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox::block(self.key, self.counter);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// A whole number in `0..n`, without bias: 32 bits times `n`, rejecting the incomplete last interval (Lemire,
    /// *Fast random integer generation in an interval*, 2019). `0` if `n` is `0`.
    pub fn below(&mut self, n: u32) -> u32 {
        if n == 0 {
            return 0;
        }
        let reject = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.word()) * u64::from(n);
            if product as u32 >= reject {
                return (product >> 32) as u32;
            }
        }
    }

    /// A position in `0..len`, for choosing from a list of fewer than 2^32 entries.
    pub fn position(&mut self, len: usize) -> usize {
        self.below(u32::try_from(len).unwrap_or(u32::MAX)) as usize
    }
}

/// FNV-1a, 64 bits: the same on every machine and in every release, unlike the standard library's hasher.
pub(crate) fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SampleKey = SampleKey { seed: 7, stream: 1, index: 3 };

    #[test]
    fn every_part_of_the_key_matters() {
        let first = |domain, key| Draws::new(domain, key).word();
        let base = first("a", KEY);
        assert_eq!(base, first("a", KEY));
        assert_ne!(base, first("b", KEY));
        assert_ne!(base, first("a", SampleKey { seed: 8, ..KEY }));
        assert_ne!(base, first("a", SampleKey { stream: 2, ..KEY }));
        assert_ne!(base, first("a", SampleKey { index: 3 + (1 << 32), ..KEY }));
    }

    #[test]
    fn below_is_uniform() {
        let mut draws = Draws::new("uniform", KEY);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[draws.below(7) as usize] += 1;
        }
        // Binomial: standard deviation sqrt(70000 * 6/49) = 93; 5 of them.
        assert!(counts.iter().all(|&n| n.abs_diff(10_000) < 465), "{counts:?}");
        assert_eq!(draws.below(0), 0);
        assert_eq!(draws.below(1), 0);
    }
}
