//! Random numbers that are a function of their position: standard normal ([`normal()`]) and uniform in 0..1 ([`uniform`]).
//!
//! Element `i` of a stream comes from words `4 (i / 4) ..` of Philox4x32-10 ([`philox`]) under the stream's [`Key`],
//! whoever computes it and whatever is computed with it. With `w` the four words of a block:
//!
//! - uniform: element `4b + k` is `(w_k >> 8) 2^-24`;
//! - normal: elements `4b + k` and `4b + k + 1`, `k` = 0 or 2, are `r cos t` and `r sin t` with
//!   `r = sqrt(-2 ln((w_k + 1) 2^-32))` and `t = 2 pi w_{k+1} 2^-32` (Box and Muller, 1958), in f64, rounded to f32.
//!
//! The arithmetic is additions, products, quotients and square roots that are never fused, so every instruction set
//! gives the same bits. The largest normal is `sqrt(64 ln 2)` = 6.66.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
pub mod philox;
mod reference;

use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work};
use crate::{DType, Error, Out, Result, Runtime};

const OP: &str = "normal";

/// Which stream of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Of a run.
    pub seed: u64,
    /// Of one purpose in the run.
    pub stream: u64,
}

impl Key {
    /// The four words of block `index` of this stream.
    pub fn block(self, index: u64) -> [u32; 4] {
        let [low, high] = halves(index);
        let [stream_low, stream_high] = halves(self.stream);
        philox::block(halves(self.seed), [low, high, stream_low, stream_high])
    }
}

/// The low and high 32 bits.
#[inline(always)]
fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// `out_i = ` element `offset + i` of the stream, standard normal.
#[derive(Debug)]
pub struct Args<'a> {
    /// `[n]`
    pub out: Out<'a>,
    /// Which stream.
    pub key: Key,
    /// Position of the first element.
    pub offset: u64,
}

/// `out_i = ` element `offset + i` of the stream, uniform in 0..1 (rounded to bf16 it may be 1).
#[derive(Debug)]
pub struct Uniform<'a> {
    /// `[n]`
    pub out: Out<'a>,
    /// Which stream.
    pub key: Key,
    /// Position of the first element.
    pub offset: u64,
}

/// Fills with normal numbers.
///
/// # Errors
/// A range that ends beyond 2^64.
pub fn normal(rt: &Runtime, mut args: Args<'_>) -> Result<()> {
    check_range(args.offset, args.out.len())?;
    args.out.check(rt, OP, "out", args.out.len())?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => args.out.write(|out| cpu::normal(*isa, args.key, args.offset, out)),
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::normal(gpu, args)?,
    }
    Ok(())
}

/// Fills with uniform numbers.
///
/// # Errors
/// As for [`normal()`].
pub fn uniform(rt: &Runtime, mut args: Uniform<'_>) -> Result<()> {
    check_range(args.offset, args.out.len())?;
    args.out.check(rt, OP, "out", args.out.len())?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => args.out.write(|out| cpu::uniform(*isa, args.key, args.offset, out)),
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::uniform(gpu, args)?,
    }
    Ok(())
}

fn check_range(offset: u64, len: usize) -> Result<()> {
    offset.checked_add(len as u64).map(|_| ()).ok_or(Error::Overflow { op: OP })
}

/// The catalog row.
#[derive(Debug)]
pub struct Row;

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "out_i = sqrt(-2 ln u) cos or sin(2 pi u') of Philox4x32-10 at offset + i"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["normal", "uniform"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["n"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[&[0], &[1], &[7], &[32], &[65], &[20_011]]
    }
    fn limits(&self) -> &'static [usize] {
        &[300]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[1_000_000]]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n = shape[0] as u64;
        Work { flops: if variant == "normal" { 60 * n } else { 20 * n }, bytes: 4 * n }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let (n, key, offset) = (shape[0], Key { seed, stream: seed ^ 0x5555 }, seed % 1001);
        let out = vec![("out", Stored::unwritten(n, dtype))];
        if variant == "normal" {
            return Case::boxed(
                vec![],
                out,
                move |rt, _, out| normal(rt, Args { out: out[0].output(), key, offset }),
                move |_| {
                    // The f64 value rounded once to f32: half a unit in the last place.
                    let half_ulp = f64::from(f32::EPSILON) / 2.0 * (1.0 + 1e-6);
                    vec![Expected::pointwise(reference::normal(key, offset, n), half_ulp, 1e-15)]
                },
            );
        }
        Case::boxed(
            vec![],
            out,
            move |rt, _, out| uniform(rt, Uniform { out: out[0].output(), key, offset }),
            move |_| vec![Expected::pointwise(reference::uniform(key, offset, n), 0.0, 0.0)],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;

    const KEY: Key = Key { seed: 0x0123_4567_89ab_cdef, stream: 42 };

    fn draw(isa: Isa, offset: u64, len: usize) -> Vec<f32> {
        let mut out = vec![777.0; len];
        normal(&Runtime::Cpu(isa), Args { out: Out::F32(&mut out), key: KEY, offset }).unwrap();
        out
    }

    #[test]
    fn instruction_sets_agree_to_the_bit() {
        let (a, b) = (draw(Isa::Portable, 3, 300_001), draw(Isa::detect(), 3, 300_001));
        assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn a_range_may_be_cut_anywhere() {
        let whole = draw(Isa::detect(), 0, 200);
        for cut in 0..200 {
            let parts = [draw(Isa::detect(), 0, cut), draw(Isa::detect(), cut as u64, 200 - cut)].concat();
            assert_eq!(whole, parts, "cut at {cut}");
        }
        // A position beyond 32 bits of blocks.
        let far = 5 << 34;
        assert_eq!(draw(Isa::detect(), far, 100)[40..], draw(Isa::detect(), far + 40, 60));
    }

    #[test]
    fn moments_are_those_of_a_standard_normal() {
        let n = 1 << 20;
        let x: Vec<f64> = draw(Isa::detect(), 0, n).into_iter().map(f64::from).collect();
        let moment = |k: i32| x.iter().map(|x| x.powi(k)).sum::<f64>() / n as f64;
        // Five standard errors: Var(x^k) = E x^2k - (E x^k)^2 is 1, 2, 15 and 96 for k = 1..4.
        for (k, want, variance) in [(1, 0.0, 1.0f64), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let error = (moment(k) - want).abs();
            assert!(error < 5.0 * (variance / n as f64).sqrt(), "moment {k} is off by {error}");
        }
        let neighbours = x.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / n as f64;
        assert!(neighbours.abs() < 5.0 / (n as f64).sqrt(), "neighbours correlate by {neighbours}");
    }

    #[test]
    fn a_range_beyond_the_counter_is_refused() {
        let mut out = [0.0; 2];
        let args = Args { out: Out::F32(&mut out), key: KEY, offset: u64::MAX };
        assert_eq!(normal(&Runtime::cpu(), args), Err(Error::Overflow { op: OP }));
    }
}
