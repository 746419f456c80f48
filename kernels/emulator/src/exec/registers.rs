//! Registers of a warp: rows of 32 lanes, and the loops over them.

use crate::ptx::op::{Pred, Row};

/// Lanes of a warp.
pub(crate) const LANES: usize = 32;
/// All of them.
pub(crate) const ALL: u32 = u32::MAX;
/// Lanes that are computed together: a vector register of 32-bit values.
const CHUNK: usize = 8;

/// A 32-bit value of each lane.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes(pub [u32; LANES]);

/// What a row or a pair of rows can be read as.
///
/// # Safety
/// Any bits are a value, and the size is 4 (a row) or 8 bytes (two rows).
pub(crate) unsafe trait Element: Copy + Default {}
// SAFETY: any 4 bytes are a value.
unsafe impl Element for u32 {}
// SAFETY: any 4 bytes are a value.
unsafe impl Element for i32 {}
// SAFETY: any 4 bytes are a value.
unsafe impl Element for f32 {}
// SAFETY: any 8 bytes are a value.
unsafe impl Element for u64 {}
// SAFETY: any 8 bytes are a value.
unsafe impl Element for i64 {}
// SAFETY: any 8 bytes are a value.
unsafe impl Element for f64 {}

/// Registers of a warp.
#[derive(Clone, Debug)]
pub(crate) struct Registers {
    rows: Vec<Lanes>,
    predicates: Vec<u32>,
    /// Whether the CPU has what the fast versions of the loops need.
    pub simd: bool,
}

/// Whether the CPU has AVX2, FMA and the like.
pub(crate) fn has_simd() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Defines a function twice, for any CPU and for one with AVX2 and FMA, and takes the better one that runs here. The
/// first parameter must be the registers. Everything called within must be `#[inline(always)]` to profit.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($registers:ident: &mut Registers $(, $arg:ident: $ty:ty)* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($registers: &mut Registers $(, $arg: $ty)*) $(-> $result)? {
            #[inline(always)]
            fn body($registers: &mut Registers $(, $arg: $ty)*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
                fn fast($registers: &mut Registers $(, $arg: $ty)*) $(-> $result)? {
                    body($registers $(, $arg)*)
                }
                if $registers.simd {
                    // SAFETY: `simd` is only set by `has_simd`, which asks for each of these features.
                    return unsafe { fast($registers $(, $arg)*) };
                }
            }
            body($registers $(, $arg)*)
        }
    };
}
pub(crate) use multiversion;

impl Registers {
    /// Zeros; predicate 0 is true.
    pub fn new(rows: usize, predicates: usize) -> Registers {
        let mut predicates = vec![0; predicates.max(1)];
        predicates[0] = ALL;
        Registers { rows: vec![Lanes([0; LANES]); rows.max(2)], predicates, simd: has_simd() }
    }

    /// Lanes in which the predicate holds.
    #[inline(always)]
    pub fn test(&self, pred: Pred) -> u32 {
        let bits = self.predicates[usize::from(pred.index)];
        if pred.negated { !bits } else { bits }
    }

    /// All predicates.
    pub fn predicates(&self) -> &[u32] {
        &self.predicates
    }

    /// Sets a predicate in the lanes of `mask`; [`crate::ptx::op::SINK`] is nothing.
    #[inline(always)]
    pub fn set_predicate(&mut self, index: u16, mask: u32, bits: u32) {
        if let Some(old) = self.predicates.get_mut(usize::from(index)) {
            *old = (*old & !mask) | (bits & mask);
        }
    }

    /// A row as it is.
    #[inline(always)]
    pub fn lanes(&self, row: Row) -> &[u32; LANES] {
        &self.rows[usize::from(row)].0
    }

    /// A row to be written.
    #[inline(always)]
    pub fn lanes_mut(&mut self, row: Row) -> &mut [u32; LANES] {
        &mut self.rows[usize::from(row)].0
    }

    /// The lanes of a register of 32 or 64 bits.
    #[inline(always)]
    pub fn get<T: Element>(&self, row: Row) -> &[T; LANES] {
        let rows = size_of::<T>() / 4;
        let slice = &self.rows[usize::from(row)..usize::from(row) + rows];
        // SAFETY: `slice` holds 4 or 8 bytes a lane, aligned to 64, and any bits are a `T`.
        unsafe { &*slice.as_ptr().cast() }
    }

    /// The lanes of a register of 32 or 64 bits, to be written.
    #[inline(always)]
    pub fn get_mut<T: Element>(&mut self, row: Row) -> &mut [T; LANES] {
        let rows = size_of::<T>() / 4;
        let slice = &mut self.rows[usize::from(row)..usize::from(row) + rows];
        // SAFETY: as in `get`, and `slice` is borrowed for writing.
        unsafe { &mut *slice.as_mut_ptr().cast() }
    }

    /// The row, if all lanes of a `T` are there from it on.
    #[inline(always)]
    fn check<T: Element>(&self, row: Row) -> usize {
        let row = usize::from(row);
        assert!(row + size_of::<T>() / 4 <= self.rows.len(), "the decoder allotted all rows");
        row
    }

    /// A register of one lane, extended with zeros.
    pub fn lane(&self, row: Row, wide: bool, lane: usize) -> u64 {
        if wide { self.get::<u64>(row)[lane] } else { u64::from(self.lanes(row)[lane]) }
    }

    /// Sets a register of one lane.
    pub fn set_lane(&mut self, row: Row, wide: bool, lane: usize, value: u64) {
        if wide {
            self.get_mut::<u64>(row)[lane] = value;
        } else {
            self.lanes_mut(row)[lane] = value as u32;
        }
    }

    /// Sets a register in all lanes.
    pub fn fill(&mut self, row: Row, wide: bool, value: u64) {
        if wide {
            *self.get_mut::<u64>(row) = [value; LANES];
        } else {
            *self.lanes_mut(row) = [value as u32; LANES];
        }
    }

    /// Writes `values` to the lanes of `mask`.
    #[inline(always)]
    pub fn write<T: Element>(&mut self, mask: u32, row: Row, values: &[T; LANES]) {
        let to = self.get_mut::<T>(row);
        if mask == ALL {
            *to = *values;
        } else {
            for i in 0..LANES {
                if mask >> i & 1 != 0 {
                    to[i] = values[i];
                }
            }
        }
    }

    /// `d = f(a)`.
    #[inline(always)]
    pub fn map1<D: Element, A: Element>(&mut self, mask: u32, d: Row, a: Row, f: impl Fn(A) -> D) {
        self.map3(mask, d, a, a, a, |a: A, _: A, _: A| f(a));
    }

    /// `d = f(a, b)`.
    #[inline(always)]
    pub fn map2<D: Element, A: Element, B: Element>(
        &mut self,
        mask: u32,
        d: Row,
        a: Row,
        b: Row,
        f: impl Fn(A, B) -> D,
    ) {
        self.map3(mask, d, a, b, a, |a: A, b: B, _: A| f(a, b));
    }

    /// `d = f(a, b, c)`. `f` is also called for lanes outside of `mask`.
    #[inline(always)]
    pub fn map3<D: Element, A: Element, B: Element, C: Element>(
        &mut self,
        mask: u32,
        d: Row,
        a: Row,
        b: Row,
        c: Row,
        f: impl Fn(A, B, C) -> D,
    ) {
        if mask != ALL {
            let (a, b, c) = (self.get::<A>(a), self.get::<B>(b), self.get::<C>(c));
            let mut result = [D::default(); LANES];
            for i in 0..LANES {
                result[i] = f(a[i], b[i], c[i]);
            }
            self.write(mask, d, &result);
            return;
        }
        let (a, b, c, d) = (self.check::<A>(a), self.check::<B>(b), self.check::<C>(c), self.check::<D>(d));
        let rows = self.rows.as_mut_ptr();
        // SAFETY: `check` found all lanes of these rows inside of `rows`.
        let (a, b, c, d): (*const A, *const B, *const C, *mut D) =
            unsafe { (rows.add(a).cast(), rows.add(b).cast(), rows.add(c).cast(), rows.add(d).cast()) };
        // A destination is an operand's row or shares nothing with it, so a chunk may be written before the next is read.
        for start in (0..LANES).step_by(CHUNK) {
            let mut result = [D::default(); CHUNK];
            for i in 0..CHUNK {
                // SAFETY: as above; nothing moves `rows` meanwhile.
                result[i] = unsafe { f(a.add(start + i).read(), b.add(start + i).read(), c.add(start + i).read()) };
            }
            // SAFETY: as above; `CHUNK` lanes from `start`.
            unsafe { d.add(start).cast::<[D; CHUNK]>().write(result) };
        }
    }

    /// The lanes in which `f(a, b)` holds.
    #[inline(always)]
    pub fn compare<T: Element>(&self, a: Row, b: Row, f: impl Fn(T, T) -> bool) -> u32 {
        let (a, b) = (self.get::<T>(a), self.get::<T>(b));
        let mut bits = 0;
        for i in 0..LANES {
            bits |= u32::from(f(a[i], b[i])) << i;
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lanes_of_the_mask_are_written() {
        let mut registers = Registers::new(8, 2);
        registers.fill(0, false, 5);
        registers.fill(2, true, 1 << 40);
        registers.map2(0xff, 4, 2, 0, |a: u64, b: u32| a + u64::from(b));
        let result = registers.get::<u64>(4);
        assert_eq!((result[7], result[8]), ((1 << 40) + 5, 0));
        registers.map1(ALL, 0, 0, |a: u32| a * 2);
        assert_eq!(registers.lanes(0), &[10; LANES]);
    }
}
