//! The innermost loop: a tile of the product held in registers.
//!
//! Six rows by two vectors are twelve accumulators, which with two vectors of `b` and one broadcast of `a` fill the
//! sixteen registers of AVX2: twelve fused multiply-adds for eight loads a step, and no accumulator waits for itself.

use crate::simd::{Body, LANES, Simd};

/// Rows of a tile.
pub(super) const MR: usize = 6;
/// Columns of a tile.
pub(super) const NR: usize = 2 * LANES;

/// The sum over some steps of `a[r] * b[j]`, for a tile.
pub(super) struct Micro<'a> {
    pub a: Rows<'a>,
    /// One panel.
    pub b: &'a [[f32; NR]],
    pub to: Destination<'a>,
}

/// Rows of `a`, from the first step on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rows<'a> {
    /// As they are stored: step `p` of row `r` at `r * stride + p`.
    Stored { x: &'a [f32], stride: usize },
    /// One panel.
    Packed(&'a [[f32; MR]]),
}

/// Where the tile goes: element `[r, j]` at `r * stride + j`.
///
/// At the edges of `c` a whole tile is computed from what is there, and the part that exists is written.
#[derive(Debug)]
pub(super) struct Destination<'a> {
    pub c: &'a mut [f32],
    pub stride: usize,
    /// Rows that exist, in 1..=[`MR`].
    pub height: usize,
    /// Columns that exist, in 1..=[`NR`].
    pub width: usize,
    /// Whether `c` is added to.
    pub add: bool,
    /// What is added last to each column that exists.
    pub bias: Option<&'a [f32]>,
}

type Tile<S> = [[<S as Simd>::V; 2]; MR];

impl Body for Micro<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for r in 0..self.to.height {
            // Both ends: a row of a tile is as long as a cache line and need not start with one.
            s.prefetch(&self.to.c[r * self.to.stride..]);
            s.prefetch(&self.to.c[r * self.to.stride + self.to.width - 1..]);
        }
        match self.a {
            Rows::Stored { x, stride } => {
                // Rows that do not exist repeat the last one.
                let row = |r: usize| &x[r.min(self.to.height - 1) * stride..][..self.b.len()];
                let rows = [row(0), row(1), row(2), row(3), row(4), row(5)];
                self.to.write(s, multiply_stored(s, rows, self.b));
            }
            Rows::Packed(panel) => self.to.write(s, multiply_packed(s, panel, self.b)),
        }
    }
}

#[inline(always)]
fn multiply_packed<S: Simd>(s: S, a: &[[f32; MR]], b: &[[f32; NR]]) -> Tile<S> {
    /// Steps of one turn of the loop, and how far ahead the panel of `a` is asked for: it comes from the second cache.
    const TURN: usize = 4;
    const AHEAD: usize = 28;
    let mut tile = [[s.zero(); 2]; MR];
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

#[inline(always)]
fn step<S: Simd>(s: S, tile: &mut Tile<S>, a: &[f32; MR], b: &[f32; NR]) {
    let (low, high) = (s.load(&b[..LANES]), s.load(&b[LANES..]));
    for r in 0..MR {
        let a = s.splat(a[r]);
        tile[r][0] = s.mul_add(a, low, tile[r][0]);
        tile[r][1] = s.mul_add(a, high, tile[r][1]);
    }
}

#[inline(always)]
fn multiply_stored<S: Simd>(s: S, a: [&[f32]; MR], b: &[[f32; NR]]) -> Tile<S> {
    assert!(a.iter().all(|row| row.len() == b.len()));
    // Six pointers and one counter stay in registers; six slices would not.
    let a = a.map(<[f32]>::as_ptr);
    let mut tile = [[s.zero(); 2]; MR];
    for (p, b) in b.iter().enumerate() {
        let (low, high) = (s.load(&b[..LANES]), s.load(&b[LANES..]));
        for r in 0..MR {
            // SAFETY: `p < b.len()`, which is the length of each row by the assertion above.
            let a = s.splat(unsafe { *a[r].add(p) });
            tile[r][0] = s.mul_add(a, low, tile[r][0]);
            tile[r][1] = s.mul_add(a, high, tile[r][1]);
        }
    }
    tile
}

impl Destination<'_> {
    #[inline(always)]
    fn write<S: Simd>(self, s: S, tile: Tile<S>) {
        if self.height == MR && self.width == NR {
            let bias = self.bias.map(|bias| [s.load(&bias[..LANES]), s.load(&bias[LANES..NR])]);
            let store = |v: S::V, c: &mut [f32], half: usize| {
                let v = if self.add { s.add(v, s.load(c)) } else { v };
                s.store(bias.map_or(v, |bias| s.add(v, bias[half])), c);
            };
            for r in 0..MR {
                let (low, high) = self.c[r * self.stride..][..NR].split_at_mut(LANES);
                store(tile[r][0], low, 0);
                store(tile[r][1], high, 1);
            }
            return;
        }
        let mut whole = [[0.0; NR]; MR];
        for r in 0..MR {
            s.store(tile[r][0], &mut whole[r][..LANES]);
            s.store(tile[r][1], &mut whole[r][LANES..]);
        }
        for (r, row) in whole[..self.height].iter().enumerate() {
            for (j, (c, x)) in self.c[r * self.stride..][..self.width].iter_mut().zip(row).enumerate() {
                let x = if self.add { *x + *c } else { *x };
                *c = self.bias.map_or(x, |bias| x + bias[j]);
            }
        }
    }
}
