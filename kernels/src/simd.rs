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
    body.run(Portable)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<B: Body>(body: B) -> B::Output {
    body.run(Avx2(()))
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
    /// Lanes as an array.
    fn to_array(self, v: Self::V) -> [f32; LANES];

    /// All lanes zero.
    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }

    /// Reads up to eight floats; missing lanes are `fill`.
    #[inline(always)]
    fn load_partial(self, x: &[f32], fill: f32) -> Self::V {
        let mut lanes = [fill; LANES];
        let n = x.len().min(LANES);
        lanes[..n].copy_from_slice(&x[..n]);
        self.load(&lanes)
    }

    /// Writes the first `x.len()` lanes, at most eight.
    #[inline(always)]
    fn store_partial(self, v: Self::V, x: &mut [f32]) {
        let n = x.len().min(LANES);
        x[..n].copy_from_slice(&self.to_array(v)[..n]);
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
        let x = self.max(self.splat(-87.336_54), self.min(self.splat(88.376_26), x));
        let n = self.round(self.mul(x, self.splat(std::f32::consts::LOG2_E)));
        let r = self.mul_add(n, self.splat(-0.693_359_4), x);
        let r = self.mul_add(n, self.splat(2.121_944_4e-4), r);
        let mut p = self.splat(1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = self.mul_add(p, r, self.splat(c));
        }
        let y = self.mul_add(self.mul(r, r), p, self.add(r, self.splat(1.0)));
        // 2^n in two factors: n may be 128 after rounding, which one exponent field cannot hold.
        let half = self.round(self.mul(n, self.splat(0.5)));
        self.mul(self.mul(y, self.exp2i(half)), self.exp2i(self.sub(n, half)))
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
mod avx2 {
    use super::{LANES, Simd};
    use std::arch::x86_64::*;

    /// AVX2 and FMA. Only [`super::dispatch`] makes one, after it has seen both on this machine.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx2(pub(super) ());

    macro_rules! lanes {
        ($($name:ident($($arg:ident),+) = $intrinsic:expr;)+) => {$(
            #[inline(always)]
            fn $name(self, $($arg: __m256),+) -> __m256 {
                // SAFETY: an `Avx2` exists only where `dispatch` has seen avx2 and fma.
                unsafe { $intrinsic }
            }
        )+};
    }

    impl Simd for Avx2 {
        type V = __m256;
        #[inline(always)]
        fn splat(self, x: f32) -> __m256 {
            // SAFETY: an `Avx2` exists only where `dispatch` has seen avx2 and fma.
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        fn load(self, x: &[f32]) -> __m256 {
            let x = &x[..LANES];
            // SAFETY: the slice above has eight elements; `dispatch` has seen avx2.
            unsafe { _mm256_loadu_ps(x.as_ptr()) }
        }
        #[inline(always)]
        fn store(self, v: __m256, x: &mut [f32]) {
            let x = &mut x[..LANES];
            // SAFETY: the slice above has eight elements; `dispatch` has seen avx2.
            unsafe { _mm256_storeu_ps(x.as_mut_ptr(), v) }
        }
        lanes! {
            add(a, b) = _mm256_add_ps(a, b);
            sub(a, b) = _mm256_sub_ps(a, b);
            mul(a, b) = _mm256_mul_ps(a, b);
            div(a, b) = _mm256_div_ps(a, b);
            mul_add(a, b, c) = _mm256_fmadd_ps(a, b, c);
            max(a, b) = _mm256_max_ps(a, b);
            min(a, b) = _mm256_min_ps(a, b);
            sqrt(a) = _mm256_sqrt_ps(a);
            round(a) = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
            swap_pairs(a) = _mm256_permute_ps::<0b10_11_00_01>(a);
            exp2i(n) = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(
                _mm256_cvtps_epi32(n),
                _mm256_set1_epi32(127),
            )));
        }
        #[inline(always)]
        fn to_array(self, v: __m256) -> [f32; LANES] {
            let mut lanes = [0.0; LANES];
            self.store(v, &mut lanes);
            lanes
        }
    }
}

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
