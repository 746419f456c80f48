//! Wide vectors of sixteen lanes in one register of AVX-512; what has eight lanes is AVX2.

use super::{Avx2, Body, LANES, Simd, WIDE};
use std::arch::x86_64::*;

/// AVX-512 (foundation), AVX2 and FMA. Only [`super::dispatch_wide`] makes one, after it has seen all three.
#[derive(Clone, Copy, Debug)]
pub struct Avx512 {
    narrow: Avx2,
}

impl Avx512 {
    /// Only for the function that `dispatch_wide` calls.
    pub(super) fn new(narrow: Avx2) -> Self {
        Avx512 { narrow }
    }
}

macro_rules! as_avx2 {
    ($($name:ident($($arg:ident: $of:ty),+) -> $to:ty;)+) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $of),+) -> $to {
            self.narrow.$name($($arg),+)
        }
    )+};
}

impl Simd for Avx512 {
    type V = __m256;
    type W = __m512;
    as_avx2! {
        splat(x: f32) -> __m256;
        load(x: &[f32]) -> __m256;
        store(v: __m256, x: &mut [f32]) -> ();
        add(a: __m256, b: __m256) -> __m256;
        sub(a: __m256, b: __m256) -> __m256;
        mul(a: __m256, b: __m256) -> __m256;
        div(a: __m256, b: __m256) -> __m256;
        mul_add(a: __m256, b: __m256, c: __m256) -> __m256;
        max(a: __m256, b: __m256) -> __m256;
        min(a: __m256, b: __m256) -> __m256;
        sqrt(a: __m256) -> __m256;
        round(a: __m256) -> __m256;
        exp2i(n: __m256) -> __m256;
        swap_pairs(a: __m256) -> __m256;
        twice(a: __m256) -> [__m256; 2];
        shift_to_exponent(v: __m256) -> __m256;
        to_array(v: __m256) -> [f32; LANES];
        transpose(rows: [__m256; LANES]) -> [__m256; LANES];
        prefetch(x: &[f32]) -> ();
        prefetch_far(x: &[f32]) -> ();
    }
    #[inline(always)]
    fn wide_splat(self, x: f32) -> __m512 {
        // SAFETY: an `Avx512` exists only where `dispatch_wide` has seen avx512f.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn wide_load(self, x: &[f32]) -> __m512 {
        let x = &x[..WIDE];
        // SAFETY: the slice above has sixteen elements; `dispatch_wide` has seen avx512f.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn wide_store(self, v: __m512, x: &mut [f32]) {
        let x = &mut x[..WIDE];
        // SAFETY: the slice above has sixteen elements; `dispatch_wide` has seen avx512f.
        unsafe { _mm512_storeu_ps(x.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn wide_add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: an `Avx512` exists only where `dispatch_wide` has seen avx512f.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn wide_mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: an `Avx512` exists only where `dispatch_wide` has seen avx512f.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn call<B: Body>(self, body: B) -> B::Output {
        // SAFETY: an `Avx512` exists only where `dispatch_wide` has seen avx512f, avx2 and fma.
        unsafe { super::run_avx512(body) }
    }
}
