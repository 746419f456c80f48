//! Eight f32 lanes, written once and run on AVX2+FMA or on any machine.
//!
//! A kernel puts its inner loop into a [`Body`] and calls [`dispatch`]; the body is compiled once for each instruction
//! set. Lane sums have one fixed order on every instruction set; `mul_add` is fused where the machine can and two
//! roundings where it cannot, so different instruction sets may differ in the last bit, and one machine never does.

/// Lanes of one vector.
pub const LANES: usize = 8;

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain arrays of eight floats.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
}

impl Isa {
    /// The best set that this machine has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Isa::Avx2;
        }
        Isa::Portable
    }
}

/// A loop that is compiled for each instruction set. `run` must be `#[inline(always)]`.
pub trait Body {
    /// What the loop returns.
    type Output;
    /// The loop.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Runs `body` with the instruction set `isa`, or with plain arrays where this machine lacks it.
pub fn dispatch<B: Body>(isa: Isa, body: B) -> B::Output {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx2 && Isa::detect() == Isa::Avx2 {
        // SAFETY: `Isa::detect` has just seen avx2 and fma on this machine.
        return unsafe { run_avx2(body) };
    }
    let _ = isa;
    run_portable(body)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn run_avx2<B: Body>(body: B) -> B::Output {
    body.run(Avx2(()))
}

#[inline(never)]
fn run_portable<B: Body>(body: B) -> B::Output {
    body.run(Portable)
}

/// Eight-lane arithmetic. Every method is one or two instructions.
pub trait Simd: Copy + Send + Sync {
    /// Eight floats.
    type V: Copy;
    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// Reads `x[..8]`. Panics where `x` is shorter.
    fn load(self, x: &[f32]) -> Self::V;
    /// Writes `x[..8]`. Panics where `x` is shorter.
    fn store(self, v: Self::V, x: &mut [f32]);
    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, one rounding where the machine can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Lane-wise `if a > b { a } else { b }`: a NaN in either lane gives `b`, so put the operand that may be NaN there.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Lane-wise `if a < b { a } else { b }`: a NaN in either lane gives `b`, so put the operand that may be NaN there.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Square root.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// `2^n` for integral `n` in -126..=127.
    fn exp2i(self, n: Self::V) -> Self::V;
    /// Exchanges lanes `2i` and `2i + 1`.
    fn swap_pairs(self, a: Self::V) -> Self::V;
    /// The bits of each lane shifted left by 23: an integer in the lowest eight bits becomes an exponent field.
    fn shift_to_exponent(self, v: Self::V) -> Self::V;
    /// Lanes as an array.
    fn to_array(self, v: Self::V) -> [f32; LANES];
    /// Lane `j` of vector `i` becomes lane `i` of vector `j`.
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES];
    /// Asks for the cache line of `x[0]` ahead of its use; no effect on any result.
    fn prefetch(self, x: &[f32]);
    /// Runs `body` as a function of its own, so that an inner loop does not share registers with what surrounds it.
    fn call<B: Body>(self, body: B) -> B::Output;

    /// All lanes zero.
    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }

    /// Reads up to eight floats; missing lanes are `fill`.
    #[inline(always)]
    fn load_partial(self, x: &[f32], fill: f32) -> Self::V {
        if x.len() >= LANES {
            return self.load(x);
        }
        let mut lanes = [fill; LANES];
        lanes[..x.len()].copy_from_slice(x);
        self.load(&lanes)
    }

    /// Writes the first `x.len()` lanes, at most eight.
    #[inline(always)]
    fn store_partial(self, v: Self::V, x: &mut [f32]) {
        if x.len() >= LANES {
            return self.store(v, x);
        }
        x.copy_from_slice(&self.to_array(v)[..x.len()]);
    }

    /// Sum of the lanes: `((0+4)+(2+6)) + ((1+5)+(3+7))`.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.to_array(v);
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }

    /// `e^x`: relative error below 2e-7 for `x` in -87.3..=88.3; clamped outside, NaN stays NaN.
    ///
    /// Cody-Waite reduction by `ln 2` and a degree-6 polynomial on `[-ln2/2, ln2/2]` (Cephes `expf`).
    #[inline(always)]
    fn exp(self, x: Self::V) -> Self::V {
        let x = self.max(self.splat(-87.336_54), self.min(self.splat(88.37), x));
        let n = self.round(self.mul(x, self.splat(std::f32::consts::LOG2_E)));
        let r = self.mul_add(n, self.splat(-0.693_359_4), x);
        let r = self.mul_add(n, self.splat(2.121_944_4e-4), r);
        // In pairs of coefficients (Estrin), which wait for each other less than Horner's one by one.
        let pair = |high: f32, low: f32| self.mul_add(self.splat(high), r, self.splat(low));
        let square = self.mul(r, r);
        let p = self.mul_add(pair(1.987_569_1e-4, 1.398_199_9e-3), square, pair(8.333_452e-3, 4.166_579_6e-2));
        let p = self.mul_add(p, square, pair(1.666_666_5e-1, 0.5));
        let y = self.mul_add(square, p, self.add(r, self.splat(1.0)));
        // The clamps keep n in -126..=127, where 2^n is one exponent field.
        self.mul(y, self.exp2i(n))
    }

    /// `2^x` for `x <= 127`: relative error below 2e-7, clamped below -126, NaN stays NaN. Cheaper than [`Simd::exp`].
    ///
    /// Adding 1.5 * 2^23 rounds `x` to an integer in the lowest bits, where 127 more makes it a biased exponent. The
    /// degree-5 polynomial is the minimax fit of `2^r` on -0.5..=0.5 with the constant 1.
    #[inline(always)]
    #[expect(clippy::approx_constant, reason = "a minimax coefficient, which is not ln 2")]
    fn exp2(self, x: Self::V) -> Self::V {
        let shift = self.splat(12_582_912.0 + 127.0);
        let x = self.max(self.splat(-126.0), x);
        let biased = self.add(x, shift);
        let r = self.sub(x, self.sub(biased, shift));
        let mut p = self.splat(1.326_472_7e-3);
        for c in [9.671_513e-3, 5.550_733_6e-2, 0.240_222_42, 0.693_147, 1.0] {
            p = self.mul_add(p, r, self.splat(c));
        }
        self.mul(p, self.shift_to_exponent(biased))
    }

    /// `1 / (1 + e^-x)`.
    #[inline(always)]
    fn sigmoid(self, x: Self::V) -> Self::V {
        let one = self.splat(1.0);
        self.div(one, self.add(one, self.exp(self.sub(self.zero(), x))))
    }
}

/// Eight floats in an array; the compiler vectorises with whatever the target has.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type V = [f32; LANES];
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> Self::V {
        std::array::from_fn(|i| x[..LANES][i])
    }
    #[inline(always)]
    fn store(self, v: Self::V, x: &mut [f32]) {
        x[..LANES].copy_from_slice(&v);
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn exp2i(self, n: Self::V) -> Self::V {
        n.map(|n| f32::from_bits((((n as i32) + 127) as u32) << 23))
    }
    #[inline(always)]
    fn shift_to_exponent(self, v: Self::V) -> Self::V {
        v.map(|v| f32::from_bits(v.to_bits() << 23))
    }
    #[inline(always)]
    fn prefetch(self, _: &[f32]) {}
    #[inline(always)]
    fn call<B: Body>(self, body: B) -> B::Output {
        run_portable(body)
    }
    #[inline(always)]
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES] {
        std::array::from_fn(|j| std::array::from_fn(|i| rows[i][j]))
    }
    #[inline(always)]
    fn swap_pairs(self, a: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i ^ 1])
    }
    #[inline(always)]
    fn to_array(self, v: Self::V) -> [f32; LANES] {
        v
    }
}

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2;

#[cfg(test)]
mod tests {
    use super::*;

    struct Exp(f32);
    impl Body for Exp {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            s.to_array(s.exp(s.splat(self.0)))[3]
        }
    }

    struct Exp2(f32);
    impl Body for Exp2 {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            s.to_array(s.exp2(s.splat(self.0)))[5]
        }
    }

    #[test]
    fn exp2_is_accurate_and_keeps_nan() {
        for isa in [Isa::Portable, Isa::detect()] {
            for i in -12600..12700 {
                let x = i as f32 * 0.01;
                let (got, want) = (dispatch(isa, Exp2(x)) as f64, (x as f64).exp2());
                assert!((got - want).abs() <= 2e-7 * want, "{isa:?} exp2({x}) = {got}, expected {want}");
            }
            // The lowest bits of a payload must not get into the exponent.
            for nan in [f32::NAN, f32::from_bits(0x7fc0_0001), f32::from_bits(0xffff_ffff)] {
                assert!(dispatch(isa, Exp2(nan)).is_nan());
            }
            assert!(dispatch(isa, Exp2(f32::NEG_INFINITY)) < 2e-38);
        }
    }

    struct Transpose([[f32; LANES]; LANES]);
    impl Body for Transpose {
        type Output = [[f32; LANES]; LANES];
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [[f32; LANES]; LANES] {
            s.transpose(self.0.map(|row| s.load(&row))).map(|v| s.to_array(v))
        }
    }

    #[test]
    fn transpose_swaps_lanes_and_vectors() {
        let rows: [[f32; LANES]; LANES] = std::array::from_fn(|i| std::array::from_fn(|j| (i * LANES + j) as f32));
        for isa in [Isa::Portable, Isa::detect()] {
            let columns = dispatch(isa, Transpose(rows));
            for (i, j) in (0..LANES).flat_map(|i| (0..LANES).map(move |j| (i, j))) {
                assert_eq!(columns[j][i], rows[i][j], "{isa:?} {i} {j}");
            }
        }
    }

    #[test]
    fn exp_is_accurate_and_keeps_nan() {
        for isa in [Isa::Portable, Isa::detect()] {
            for i in -8700..8800 {
                let x = i as f32 * 0.01;
                let (got, want) = (dispatch(isa, Exp(x)) as f64, (x as f64).exp());
                assert!((got - want).abs() <= 2e-7 * want, "{isa:?} exp({x}) = {got}, expected {want}");
            }
            assert!(dispatch(isa, Exp(f32::NAN)).is_nan());
            assert!(dispatch(isa, Exp(-1000.0)) < 1e-37);
            assert!(dispatch(isa, Exp(1000.0)) > 1e38);
        }
    }
}
