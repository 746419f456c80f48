//! Products of matrices spread over a warp.
//!
//! Lane `l` is in group `g = l / 4` and has place `t = l % 4` there. With 32-bit registers of `e` elements each
//! (4 bytes / element size), register `r` of `a` (16 x k) holds row `g + 8 (r % 2)` and columns
//! `e t + 4 e (r / 2) ..`, register `r` of `b` (k x 8) column `g` and rows `e t + 4 e r ..`, and register `r` of `c`
//! and `d` (16 x 8, 32-bit) row `g + 8 (r / 2)` and column `2 t + r % 2`.
//!
//! Products are exact in f32 (16-bit and tf32 factors) and are added to `c` one after another, `k` ascending, each
//! sum rounded to nearest. A GPU adds them in another, unspecified order with at least that precision.

use super::registers::{LANES, Registers, multiversion};
use super::rounding::{pack16, unpack16_single};
use crate::ptx::Type;
use crate::ptx::op::{Mma, Round};

/// Rows of `a` and `d`.
const M: usize = 16;
/// Columns of `b` and `d`.
const N: usize = 8;
/// The greatest depth.
const K: usize = 32;

multiversion! {
    /// Executes a product in all lanes.
    pub(crate) fn execute(registers: &mut Registers, mma: &Mma) {
        match mma.shape.a {
            Type::S8 | Type::U8 => integer(registers, mma),
            _ => real(registers, mma),
        }
    }
}

#[inline(always)]
fn real(registers: &mut Registers, mma: &Mma) {
    let depth = usize::from(mma.shape.k);
    let (mut a, mut b, mut sums) = ([[0f32; M]; K], [[0f32; N]; K], [[0f32; N]; M]);
    let each = 4 / mma.shape.a.bytes();
    let width = depth / each / 4;
    for r in 0..2 * width {
        let row = registers.lanes(mma.a[r]);
        for lane in 0..LANES {
            let (i, k) = (lane / 4 + 8 * (r % 2), each * (lane % 4) + 4 * each * (r / 2));
            for e in 0..each {
                a[k + e][i] = element(mma.shape.a, row[lane], e);
            }
        }
    }
    for r in 0..width {
        let row = registers.lanes(mma.b[r]);
        for lane in 0..LANES {
            let k = each * (lane % 4) + 4 * each * r;
            for e in 0..each {
                b[k + e][lane / 4] = element(mma.shape.b, row[lane], e);
            }
        }
    }
    let half = mma.shape.accumulate == Type::F16;
    load(registers, mma, half, &mut sums);
    for k in 0..depth {
        for i in 0..M {
            for j in 0..N {
                sums[i][j] = a[k][i].mul_add(b[k][j], sums[i][j]);
            }
        }
    }
    store(registers, mma, half, &sums);
}

#[inline(always)]
fn element(ty: Type, register: u32, e: usize) -> f32 {
    match ty {
        // The lower 13 bits of a tf32 are not read.
        Type::Tf32 => f32::from_bits(register & 0xffff_e000),
        Type::Bf16 => f32::from_bits(if e == 0 { register << 16 } else { register & 0xffff_0000 }),
        ty => unpack16_single(ty, (register >> (16 * e)) as u16),
    }
}

#[inline(always)]
fn load(registers: &Registers, mma: &Mma, half: bool, sums: &mut [[f32; N]; M]) {
    for r in 0..if half { 2 } else { 4 } {
        let row = registers.lanes(mma.c[r]);
        for lane in 0..LANES {
            let (g, t) = (lane / 4, lane % 4);
            if half {
                sums[g + 8 * r][2 * t] = unpack16_single(Type::F16, row[lane] as u16);
                sums[g + 8 * r][2 * t + 1] = unpack16_single(Type::F16, (row[lane] >> 16) as u16);
            } else {
                sums[g + 8 * (r / 2)][2 * t + r % 2] = f32::from_bits(row[lane]);
            }
        }
    }
}

#[inline(always)]
fn store(registers: &mut Registers, mma: &Mma, half: bool, sums: &[[f32; N]; M]) {
    for r in 0..if half { 2 } else { 4 } {
        let row = registers.lanes_mut(mma.d[r]);
        for lane in 0..LANES {
            let (g, t) = (lane / 4, lane % 4);
            row[lane] = if half {
                let bits =
                    |column: usize| u32::from(pack16(Type::F16, f64::from(sums[g + 8 * r][column]), Round::Nearest));
                bits(2 * t) | bits(2 * t + 1) << 16
            } else {
                sums[g + 8 * (r / 2)][2 * t + r % 2].to_bits()
            };
        }
    }
}

/// 8-bit factors, 32-bit sums that wrap or saturate.
fn integer(registers: &mut Registers, mma: &Mma) {
    let depth = usize::from(mma.shape.k);
    let width = depth / 16;
    let byte = |ty: Type, register: u32, e: usize| {
        let byte = (register >> (8 * e)) as u8;
        if ty.signed() { i64::from(byte as i8) } else { i64::from(byte) }
    };
    let (mut a, mut b) = ([[0i64; K]; M], [[0i64; K]; N]);
    for lane in 0..LANES {
        let (g, t) = (lane / 4, lane % 4);
        for r in 0..2 * width {
            for e in 0..4 {
                a[g + 8 * (r % 2)][4 * t + 16 * (r / 2) + e] = byte(mma.shape.a, registers.lanes(mma.a[r])[lane], e);
            }
        }
        for r in 0..width {
            for e in 0..4 {
                b[g][4 * t + 16 * r + e] = byte(mma.shape.b, registers.lanes(mma.b[r])[lane], e);
            }
        }
    }
    for r in 0..4 {
        let c = *registers.lanes(mma.c[r]);
        let d = registers.lanes_mut(mma.d[r]);
        for lane in 0..LANES {
            let (i, j) = (lane / 4 + 8 * (r / 2), 2 * (lane % 4) + r % 2);
            let product: i64 = (0..depth).map(|k| a[i][k] * b[j][k]).sum();
            let sum = product + i64::from(c[lane] as i32);
            d[lane] = if mma.shape.saturate {
                sum.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as u32
            } else {
                sum as u32
            };
        }
    }
}
