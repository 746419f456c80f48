//! Eight f32 lanes, written once and run on AVX2+FMA or on any machine.
//!
//! A kernel puts its inner loop into a [`Body`] and calls [`dispatch`]; the body is compiled once for each instruction
//! set. A body whose time is spent on *wide* vectors of sixteen lanes calls [`dispatch_wide`], which has AVX-512 too;
//! elsewhere a wide vector is two of eight. Lane sums have one fixed order on every instruction set; `mul_add` is fused where the machine can and two
//! roundings where it cannot, so different instruction sets may differ in the last bit, and one machine never does.

/// Lanes of one vector.
pub const LANES: usize = 8;

/// Lanes of a wide vector.
pub const WIDE: usize = 2 * LANES;

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain arrays of eight floats.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// The same with AVX-512 (foundation), for wide vectors.
    Avx512,
}

impl Isa {
    /// All of them, from the plainest on.
    pub const ALL: [Isa; 3] = [Isa::Portable, Isa::Avx2, Isa::Avx512];

    /// The best set that this machine has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return if is_x86_feature_detected!("avx512f") { Isa::Avx512 } else { Isa::Avx2 };
        }
        Isa::Portable
    }

    /// Whether this machine has it: each set contains those before it.
    pub fn is_available(self) -> bool {
        self <= Isa::detect()
    }

    /// Those that this machine has.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available())
    }
}

/// A loop that is compiled for each instruction set. `run` must be `#[inline(always)]`.
pub trait Body {
    /// What the loop returns.
    type Output;
    /// The loop.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Runs `body` with the instruction set `isa`, or with plain arrays where this machine lacks it. What AVX-512 has beyond
/// AVX2 is left to [`dispatch_wide`].
pub fn dispatch<B: Body>(isa: Isa, body: B) -> B::Output {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx2 && Isa::Avx2.is_available() {
        // SAFETY: `Isa::detect` has just seen avx2 and fma on this machine.
        return unsafe { run_avx2(body) };
    }
    let _ = isa;
    run_portable(body)
}

/// [`dispatch`] for a body that is written over wide vectors.
pub fn dispatch_wide<B: Body>(isa: Isa, body: B) -> B::Output {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 && isa.is_available() {
        // SAFETY: `Isa::detect` has just seen avx512f, avx2 and fma on this machine.
        return unsafe { run_avx512(body) };
    }
    dispatch(isa, body)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn run_avx2<B: Body>(body: B) -> B::Output {
    body.run(Avx2(()))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
#[inline(never)]
fn run_avx512<B: Body>(body: B) -> B::Output {
    body.run(Avx512::new(Avx2(())))
}

#[inline(never)]
fn run_portable<B: Body>(body: B) -> B::Output {
    body.run(Portable)
}

/// Eight-lane arithmetic. Every method is one or two instructions.
pub trait Simd: Copy + Send + Sync {
    /// Eight floats.
    type V: Copy;
    /// Sixteen floats, for those few methods that are named `wide`.
    type W: Copy;
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
    /// Every lane twice, side by side: lane `i` in lanes `2i` and `2i + 1` of both vectors together.
    fn twice(self, a: Self::V) -> [Self::V; 2];
    /// The bits of each lane shifted left by 23: an integer in the lowest eight bits becomes an exponent field.
    fn shift_to_exponent(self, v: Self::V) -> Self::V;
    /// Lanes as an array.
    fn to_array(self, v: Self::V) -> [f32; LANES];
    /// Lane `j` of vector `i` becomes lane `i` of vector `j`.
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES];
    /// Asks for the cache line of `x[0]` ahead of its use; no effect on any result.
    fn prefetch(self, x: &[f32]);
    /// The same into the second-level cache.
    fn prefetch_far(self, x: &[f32]);
    /// All lanes `x`.
    fn wide_splat(self, x: f32) -> Self::W;
    /// Reads `x[..16]`. Panics where `x` is shorter.
    fn wide_load(self, x: &[f32]) -> Self::W;
    /// Writes `x[..16]`. Panics where `x` is shorter.
    fn wide_store(self, v: Self::W, x: &mut [f32]);
    /// `a + b`
    fn wide_add(self, a: Self::W, b: Self::W) -> Self::W;
    /// `a * b + c`, rounded as [`Simd::mul_add`] is.
    fn wide_mul_add(self, a: Self::W, b: Self::W, c: Self::W) -> Self::W;
    /// Runs `body` as a function of its own, so that an inner loop does not share registers with what surrounds it.
    fn call<B: Body>(self, body: B) -> B::Output;

    /// All lanes zero.
    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }

    /// All lanes zero.
    #[inline(always)]
    fn wide_zero(self) -> Self::W {
        self.wide_splat(0.0)
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
        // 2^n + (2^n r) q(r), and q in pairs of coefficients (Estrin): Horner's rule waits almost twice as long.
        let power = self.shift_to_exponent(biased);
        let pair = |high: f32, low: f32| self.mul_add(self.splat(high), r, self.splat(low));
        let square = self.mul(r, r);
        let q = self.mul_add(self.splat(1.326_472_7e-3), square, pair(9.671_513e-3, 5.550_733_6e-2));
        let q = self.mul_add(q, square, pair(0.240_222_42, 0.693_147));
        self.mul_add(self.mul(power, r), q, power)
    }

    /// `1 / (1 + e^-x)`.
    #[inline(always)]
    fn sigmoid(self, x: Self::V) -> Self::V {
        let one = self.splat(1.0);
        self.div(one, self.add(one, self.exp(self.sub(self.zero(), x))))
    }
}

/// The wide methods of a set whose wide vector is two of eight lanes.
macro_rules! wide_in_halves {
    () => {
        type W = [Self::V; 2];
        #[inline(always)]
        fn wide_splat(self, x: f32) -> Self::W {
            [self.splat(x); 2]
        }
        #[inline(always)]
        fn wide_load(self, x: &[f32]) -> Self::W {
            [self.load(&x[..$crate::simd::LANES]), self.load(&x[$crate::simd::LANES..])]
        }
        #[inline(always)]
        fn wide_store(self, v: Self::W, x: &mut [f32]) {
            let (low, high) = x.split_at_mut($crate::simd::LANES);
            self.store(v[0], low);
            self.store(v[1], high);
        }
        #[inline(always)]
        fn wide_add(self, a: Self::W, b: Self::W) -> Self::W {
            [self.add(a[0], b[0]), self.add(a[1], b[1])]
        }
        #[inline(always)]
        fn wide_mul_add(self, a: Self::W, b: Self::W, c: Self::W) -> Self::W {
            [self.mul_add(a[0], b[0], c[0]), self.mul_add(a[1], b[1], c[1])]
        }
    };
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
    wide_in_halves!();
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
    fn prefetch_far(self, _: &[f32]) {}
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
    fn twice(self, a: Self::V) -> [Self::V; 2] {
        [0, LANES / 2].map(|first| std::array::from_fn(|i| a[first + i / 2]))
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
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;

#[cfg(test)]
mod tests;
