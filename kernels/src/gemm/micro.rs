//! The innermost loop: a tile of the product held in registers, `MR` rows by `NV` wide vectors of sixteen columns.
//!
//! Six rows by one are twelve accumulators of AVX2, which with two vectors of `b` and one broadcast of `a` fill its
//! sixteen registers: twelve fused multiply-adds for eight loads a step, and no accumulator waits for itself. Fourteen
//! rows by two are twenty-eight of the thirty-two registers of AVX-512.

use crate::simd::{Body, Simd, WIDE};

/// The sum over some steps of `a[r] * b[j]`, for a tile.
pub(crate) struct Micro<'a, const MR: usize, const NV: usize> {
    pub a: Rows<'a, MR>,
    /// One panel, `[steps][NV][WIDE]`.
    pub b: &'a [[[f32; WIDE]; NV]],
    pub to: Destination<'a>,
}

/// Rows of `a`, from the first step on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a, const MR: usize> {
    /// As they are stored: step `p` of row `r` at `r * stride + p`.
    Stored { x: &'a [f32], stride: usize },
    /// One panel.
    Packed(&'a [[f32; MR]]),
}

/// Where the tile goes: element `[r, j]` at `r * stride + j`.
///
/// At the edges of `c` a whole tile is computed from what is there, and the part that exists is written.
#[derive(Debug)]
pub(crate) struct Destination<'a> {
    pub c: &'a mut [f32],
    pub stride: usize,
    /// Rows that exist, in 1..=`MR`.
    pub height: usize,
    /// Columns that exist, in 1..=`NV * WIDE`.
    pub width: usize,
    /// Whether `c` is added to.
    pub add: bool,
    /// What is added last to each column that exists.
    pub bias: Option<&'a [f32]>,
}

pub(crate) type Tile<S, const MR: usize, const NV: usize> = [[<S as Simd>::W; NV]; MR];

impl<const MR: usize, const NV: usize> Body for Micro<'_, MR, NV> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for r in 0..self.to.height {
            // Both ends: a row of a tile is as long as a cache line, or two, and need not start with one.
            s.prefetch(&self.to.c[r * self.to.stride..]);
            s.prefetch(&self.to.c[r * self.to.stride + self.to.width - 1..]);
        }
        match self.a {
            Rows::Stored { x, stride } => {
                // Rows that do not exist repeat the last one.
                let row = |r: usize| &x[r.min(self.to.height - 1) * stride..][..self.b.len()];
                let mut rows = [row(0); MR];
                for r in 1..MR {
                    rows[r] = row(r);
                }
                self.to.write(s, multiply_stored::<S, MR, NV>(s, rows, self.b));
            }
            Rows::Packed(panel) => self.to.write(s, multiply_packed::<S, MR, NV>(s, panel, self.b)),
        }
    }
}

#[inline(always)]
fn multiply_packed<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    a: &[[f32; MR]],
    b: &[[[f32; WIDE]; NV]],
) -> Tile<S, MR, NV> {
    /// Steps of one turn of the loop, and how far ahead the panel of `a` is asked for: it comes from the second cache.
    const TURN: usize = 4;
    const AHEAD: usize = 28;
    let mut tile = [[s.wide_zero(); NV]; MR];
    let ahead = a.get(AHEAD..).unwrap_or(&[]);
    let (a, last_a) = a.as_chunks::<TURN>();
    let (b, last_b) = b.as_chunks::<TURN>();
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        s.prefetch(ahead.get(i * TURN..).unwrap_or(&[]).as_flattened());
        for (a, b) in a.iter().zip(b) {
            step(s, &mut tile, a, b);
        }
    }
    for (a, b) in last_a.iter().zip(last_b) {
        step(s, &mut tile, a, b);
    }
    tile
}

/// Adds the products of one step.
#[inline(always)]
pub(crate) fn step<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    tile: &mut Tile<S, MR, NV>,
    a: &[f32; MR],
    b: &[[f32; WIDE]; NV],
) {
    let mut columns = [s.wide_zero(); NV];
    for v in 0..NV {
        columns[v] = s.wide_load(&b[v]);
    }
    for r in 0..MR {
        let a = s.wide_splat(a[r]);
        for v in 0..NV {
            tile[r][v] = s.wide_mul_add(a, columns[v], tile[r][v]);
        }
    }
}

#[inline(always)]
fn multiply_stored<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    a: [&[f32]; MR],
    b: &[[[f32; WIDE]; NV]],
) -> Tile<S, MR, NV> {
    assert!(a.iter().all(|row| row.len() == b.len()));
    // A pointer a row and one counter stay in registers; slices would not.
    let a = a.map(<[f32]>::as_ptr);
    let mut tile = [[s.wide_zero(); NV]; MR];
    for (p, b) in b.iter().enumerate() {
        let mut column = [0.0; MR];
        for r in 0..MR {
            // SAFETY: `p < b.len()`, which is the length of each row by the assertion above.
            column[r] = unsafe { *a[r].add(p) };
        }
        step(s, &mut tile, &column, b);
    }
    tile
}

impl Destination<'_> {
    /// Writes the part of a tile that exists.
    #[inline(always)]
    pub(crate) fn write<S: Simd, const MR: usize, const NV: usize>(self, s: S, tile: Tile<S, MR, NV>) {
        if self.height == MR && self.width == NV * WIDE {
            for v in 0..NV {
                let bias = self.bias.map(|bias| s.wide_load(&bias[v * WIDE..]));
                for r in 0..MR {
                    let c = &mut self.c[r * self.stride + v * WIDE..][..WIDE];
                    let y = if self.add { s.wide_add(tile[r][v], s.wide_load(c)) } else { tile[r][v] };
                    s.wide_store(bias.map_or(y, |bias| s.wide_add(y, bias)), c);
                }
            }
            return;
        }
        let mut whole = [[[0.0; WIDE]; NV]; MR];
        for r in 0..MR {
            for v in 0..NV {
                s.wide_store(tile[r][v], &mut whole[r][v]);
            }
        }
        for (r, row) in whole[..self.height].iter().enumerate() {
            let row = row.as_flattened();
            for (j, (c, x)) in self.c[r * self.stride..][..self.width].iter_mut().zip(row).enumerate() {
                let x = if self.add { *x + *c } else { *x };
                *c = self.bias.map_or(x, |bias| x + bias[j]);
            }
        }
    }
}
