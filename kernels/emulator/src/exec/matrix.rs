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
    let (mut a, mut b, mut sums) = ([[0f32; K]; M], [[0f32; N]; K], [[0f32; N]; M]);
    let ty = mma.shape.a;
    let each = 4 / ty.bytes();
    let width = depth / each / 4;
    // Lanes of a row of registers, in their order, hold a matrix of 8 rows row by row.
    for r in 0..2 * width {
        let (row, first) = (*registers.lanes(mma.a[r]), 4 * each * (r / 2));
        for g in 0..LANES / 4 {
            let to = &mut a[g + 8 * (r % 2)][first..first + 4 * each];
            unpack(ty, &row[4 * g..4 * g + 4], to);
        }
    }
    for r in 0..width {
        let row = *registers.lanes(mma.b[r]);
        let mut transposed = [[0f32; 8]; N];
        for g in 0..N {
            unpack(ty, &row[4 * g..4 * g + 4], &mut transposed[g][..4 * each]);
        }
        for k in 0..4 * each {
            for j in 0..N {
                b[4 * each * r + k][j] = transposed[j][k];
            }
        }
    }
    let half = mma.shape.accumulate == Type::F16;
    load(registers, mma, half, &mut sums);
    // Four rows at a time: their sums stay in registers of the host.
    for (i, block) in sums.chunks_exact_mut(4).enumerate() {
        let mut part = [block[0], block[1], block[2], block[3]];
        for k in 0..depth {
            for (row, sum) in part.iter_mut().enumerate() {
                let factor = a[4 * i + row][k];
                for j in 0..N {
                    sum[j] = factor.mul_add(b[k][j], sum[j]);
                }
            }
        }
        block.copy_from_slice(&part);
    }
    store(registers, mma, half, &sums);
}

/// Four registers to their elements.
#[inline(always)]
fn unpack(ty: Type, from: &[u32], to: &mut [f32]) {
    match ty {
        // The lower 13 bits of a tf32 are not read.
        Type::Tf32 => {
            for t in 0..4 {
                to[t] = f32::from_bits(from[t] & 0xffff_e000);
            }
        }
        Type::Bf16 => {
            for t in 0..4 {
                to[2 * t] = f32::from_bits(from[t] << 16);
                to[2 * t + 1] = f32::from_bits(from[t] & 0xffff_0000);
            }
        }
        _ => {
            for t in 0..4 {
                to[2 * t] = unpack16_single(Type::F16, from[t] as u16);
                to[2 * t + 1] = unpack16_single(Type::F16, (from[t] >> 16) as u16);
            }
        }
    }
}

/// Two rows of registers hold alternate columns of 8 rows, or one holds two columns of 16 bits a lane.
#[inline(always)]
fn load(registers: &Registers, mma: &Mma, half: bool, sums: &mut [[f32; N]; M]) {
    for r in 0..2 {
        let even = registers.lanes(mma.c[if half { r } else { 2 * r }]);
        let odd = registers.lanes(mma.c[if half { r } else { 2 * r + 1 }]);
        for g in 0..LANES / 4 {
            for t in 0..4 {
                let (x, y) = (even[4 * g + t], odd[4 * g + t]);
                sums[g + 8 * r][2 * t] = if half { unpack16_single(Type::F16, x as u16) } else { f32::from_bits(x) };
                sums[g + 8 * r][2 * t + 1] =
                    if half { unpack16_single(Type::F16, (y >> 16) as u16) } else { f32::from_bits(y) };
            }
        }
    }
}

#[inline(always)]
fn store(registers: &mut Registers, mma: &Mma, half: bool, sums: &[[f32; N]; M]) {
    for r in 0..2 {
        let (mut even, mut odd) = ([0u32; LANES], [0u32; LANES]);
        for g in 0..LANES / 4 {
            for t in 0..4 {
                (even[4 * g + t], odd[4 * g + t]) =
                    (sums[g + 8 * r][2 * t].to_bits(), sums[g + 8 * r][2 * t + 1].to_bits());
            }
        }
        if half {
            let bits = |x: u32| u32::from(pack16(Type::F16, f64::from(f32::from_bits(x)), Round::Nearest));
            let pairs = std::array::from_fn(|lane| bits(even[lane]) | bits(odd[lane]) << 16);
            *registers.lanes_mut(mma.d[r]) = pairs;
        } else {
            *registers.lanes_mut(mma.d[2 * r]) = even;
            *registers.lanes_mut(mma.d[2 * r + 1]) = odd;
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
