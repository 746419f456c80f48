//! The eight lanes on x86-64 with AVX2 and FMA.

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

impl Avx2 {
    /// Transposes the 4 by 4 matrices in the lower and in the upper halves of four vectors.
    #[inline(always)]
    fn transpose_halves(self, rows: &[__m256]) -> [__m256; 4] {
        // SAFETY: an `Avx2` exists only where `dispatch` has seen avx2 and fma.
        unsafe {
            let (even, odd) = (_mm256_unpacklo_ps(rows[0], rows[1]), _mm256_unpacklo_ps(rows[2], rows[3]));
            let (even_high, odd_high) = (_mm256_unpackhi_ps(rows[0], rows[1]), _mm256_unpackhi_ps(rows[2], rows[3]));
            [
                _mm256_shuffle_ps::<0x44>(even, odd),
                _mm256_shuffle_ps::<0xEE>(even, odd),
                _mm256_shuffle_ps::<0x44>(even_high, odd_high),
                _mm256_shuffle_ps::<0xEE>(even_high, odd_high),
            ]
        }
    }
}

impl Simd for Avx2 {
    type V = __m256;
    wide_in_halves!();
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
        shift_to_exponent(v) = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(v)));
    }
    #[inline(always)]
    fn twice(self, a: __m256) -> [__m256; 2] {
        // SAFETY: an `Avx2` exists only where `dispatch` has seen avx2 and fma.
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(a, a), _mm256_unpackhi_ps(a, a));
            [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
        }
    }
    #[inline(always)]
    fn transpose(self, rows: [__m256; LANES]) -> [__m256; LANES] {
        let [low, high] = [self.transpose_halves(&rows[..4]), self.transpose_halves(&rows[4..])];
        let mut columns = rows;
        for i in 0..4 {
            // SAFETY: an `Avx2` exists only where `dispatch` has seen avx2 and fma.
            unsafe {
                columns[i] = _mm256_permute2f128_ps::<0x20>(low[i], high[i]);
                columns[i + 4] = _mm256_permute2f128_ps::<0x31>(low[i], high[i]);
            }
        }
        columns
    }
    #[inline(always)]
    fn prefetch_far(self, x: &[f32]) {
        // SAFETY: a prefetch never faults, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn prefetch(self, x: &[f32]) {
        // SAFETY: a prefetch never faults, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn call<B: super::Body>(self, body: B) -> B::Output {
        // SAFETY: an `Avx2` exists only where `dispatch` has seen avx2 and fma.
        unsafe { super::run_avx2(body) }
    }
    #[inline(always)]
    fn to_array(self, v: __m256) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        self.store(v, &mut lanes);
        lanes
    }
}
