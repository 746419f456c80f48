//! What the machine could do at most.

use std::hint::black_box;

use flg_kernels::Runtime;
use flg_kernels::simd::{Body, Simd, WIDE, dispatch_wide};

use super::Clock;

/// Turns of a measurement, below a millisecond.
const TURNS: usize = 1 << 14;
/// Measurements, of which the best counts: what disturbs one only ever makes it slower.
const MEASUREMENTS: usize = 40;

/// The most f32 operations a second that one thread reaches: fused multiply-adds (two operations each) on registers.
pub fn peak_flops(runtime: &Runtime) -> f64 {
    // Six wide sums fill the registers of AVX2, and twelve hide the latency of AVX-512.
    best::<6>(runtime).max(best::<12>(runtime))
}

fn best<const CHAINS: usize>(runtime: &Runtime) -> f64 {
    let Runtime::Cpu(isa) = *runtime else { return f64::NAN };
    let clock = Clock::for_threads(1);
    let operations = (2 * WIDE * CHAINS * TURNS) as f64;
    let measure = |_| {
        let before = clock.now();
        black_box(dispatch_wide(isa, Chains::<CHAINS>));
        operations / (clock.now() - before).as_secs_f64()
    };
    (0..MEASUREMENTS).map(measure).fold(0.0, f64::max)
}

/// `x = a x + b` in every lane of every chain, [`TURNS`] times. Sums do not wait for each other.
struct Chains<const CHAINS: usize>;

impl<const CHAINS: usize> Body for Chains<CHAINS> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let (a, b) = (s.wide_splat(black_box(0.5)), s.wide_splat(black_box(1.0)));
        let mut sums = [s.wide_zero(); CHAINS];
        for _ in 0..TURNS {
            for sum in &mut sums {
                *sum = s.wide_mul_add(a, *sum, b);
            }
        }
        let mut lanes = [[0.0; WIDE]; CHAINS];
        for (sum, lanes) in sums.into_iter().zip(&mut lanes) {
            s.wide_store(sum, lanes);
        }
        lanes.as_flattened().iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_a_processor() {
        let peak = peak_flops(&Runtime::cpu());
        assert!(peak > 1e8 && peak < 1e13, "{peak} operations a second");
    }
}
