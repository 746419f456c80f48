//! Keyed random numbers: what is drawn depends on its key, never on what was drawn before it.
//!
//! A key is derived by naming what it is for: `Key::new(seed).name("noise").at(step).at(sample)`. Resuming at a step,
//! or drawing in another order or on more threads, gives the same numbers, because there is no state to save.

use flg_kernels::normal;
use rayon::prelude::*;

use crate::{DType, Device, Result, Shape, Tensor};

/// A source of random numbers, by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    seed: u64,
    stream: u64,
}

impl Key {
    /// The root key of a seed.
    pub fn new(seed: u64) -> Self {
        Key { seed, stream: 0xcbf2_9ce4_8422_2325 }
    }

    /// The key for a named purpose below this one.
    pub fn name(self, purpose: &str) -> Self {
        purpose.bytes().fold(self.mix(0x5bd1_e995), |key, byte| key.mix(byte as u64))
    }

    /// The key for an index (a step, a sample, a micro-batch) below this one.
    pub fn at(self, index: u64) -> Self {
        self.mix(0x9e37_79b9).mix(index)
    }

    /// Two rounds of a 64-bit finaliser (SplitMix64) over the stream and the value.
    fn mix(self, value: u64) -> Self {
        let mut z = self.stream.wrapping_mul(0x0000_0100_0000_01b3) ^ value.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Key { seed: self.seed, stream: z ^ (z >> 31) }
    }

    fn kernel(self) -> normal::Key {
        normal::Key { seed: self.seed, stream: self.stream }
    }

    /// Standard normals, f32.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn normal(self, device: &Device, shape: impl Into<Shape>) -> Result<Tensor> {
        self.normal_from(device, 0, shape)
    }

    /// [`Key::normal`] from element `offset` on: a part of a large tensor.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn normal_from(self, device: &Device, offset: u64, shape: impl Into<Shape>) -> Result<Tensor> {
        let mut out = Tensor::empty(device, shape, DType::F32)?;
        let args = normal::Args { out: out.output()?, key: self.kernel(), offset };
        normal::normal(device.runtime(), args)?;
        Ok(out)
    }

    /// Random numbers one after the other, for decisions on the host.
    pub fn stream(self) -> Stream {
        Stream { key: self, block: 0, words: [0; 4], used: 4 }
    }

    /// One uniform number in 0..1.
    pub fn uniform(self) -> f64 {
        self.stream().uniform()
    }

    /// Uniform numbers `offset..` of [`Key::stream`], which gives them one after the other; drawn on all threads.
    pub fn uniforms(self, offset: u64, n: usize) -> Vec<f64> {
        /// Numbers of a task; even, as those of a block are.
        const RUN: usize = 1 << 12;
        let mut numbers = vec![0.0; n];
        numbers.par_chunks_mut(RUN).enumerate().for_each(|(i, run)| {
            let first = offset + (i * RUN) as u64;
            // A number takes two of a block's four words.
            let mut stream = Stream { block: first / 2, ..self.stream() };
            if first % 2 == 1 {
                stream.uniform();
            }
            run.iter_mut().for_each(|number| *number = stream.uniform());
        });
        numbers
    }
}

/// An iterator over a key's numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    key: Key,
    block: u64,
    words: [u32; 4],
    used: usize,
}

impl Stream {
    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        if self.used == self.words.len() {
            // The top bit keeps these blocks apart from those of tensors drawn with the same key.
            self.words = self.key.kernel().block(self.block | 1 << 63);
            (self.block, self.used) = (self.block + 1, 0);
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Uniform in 0..1, with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        let (high, low) = (u64::from(self.bits()), u64::from(self.bits()));
        ((high << 32 | low) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..n`; 0 for `n` = 0. (The bias of the multiplication is below `n / 2^64`.)
    pub fn below(&mut self, n: usize) -> usize {
        let (high, low) = (u64::from(self.bits()), u64::from(self.bits()));
        ((u128::from(high << 32 | low) * n as u128) >> 64) as usize
    }

    /// True with probability `p`.
    pub fn bernoulli(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// A standard normal (Box-Muller, f64).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Exchanges elements until their order is uniformly random (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }
}
