//! Rotary position embedding on the CPU: one pass at memory speed.

use super::{Dims, Direction};
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, LANES, Simd, dispatch};

/// Scalar operations an element, for the split over threads.
const COST: usize = 4;

/// Elements that a vector of angles turns.
const BLOCK: usize = 2 * LANES;

/// The angles of all tokens, and which way they turn.
#[derive(Clone, Copy)]
pub(crate) struct Angles<'a> {
    /// `[tokens, width / 2]`
    pub cos: &'a [f32],
    /// `[tokens, width / 2]`
    pub sin: &'a [f32],
    pub dims: Dims,
    pub direction: Direction,
}

pub(super) fn rope(isa: Isa, angles: Angles<'_>, x: &[f32], y: &mut [f32]) {
    let row = angles.row();
    for_rows(y, row, COST * row, |first_row, y| dispatch(isa, Rows { angles, x, first_row, y }));
}

struct Rows<'a> {
    angles: Angles<'a>,
    x: &'a [f32],
    first_row: usize,
    y: &'a mut [f32],
}

impl Body for Rows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.angles.row();
        for (r, y) in self.y.chunks_exact_mut(width).enumerate() {
            let row = self.first_row + r;
            self.angles.turn(s, row, [&self.x[row * width..]], y, |[x]| x);
        }
    }
}

impl Angles<'_> {
    /// Elements of a row: all heads of a token.
    pub(crate) fn row(&self) -> usize {
        self.dims.heads * self.dims.width
    }

    /// `y = rotate(f(x[0], x[1], ..))`, a row of a token's heads. Every input is at least as long as `y`. As the loops of
    /// [`crate::lanes`] it calls `f` at one place only.
    ///
    /// Angles are read once for all heads, and stay in registers as `cos = (c, c, ...)` and `sin = (-s, s, ...)`, so that
    /// `y = x * cos + swapped x * sin`.
    #[inline(always)]
    pub(crate) fn turn<S: Simd, const N: usize>(
        &self,
        s: S,
        row: usize,
        x: [&[f32]; N],
        y: &mut [f32],
        f: impl Fn([S::V; N]) -> S::V,
    ) {
        let Dims { tokens, width, .. } = self.dims;
        let pairs = width / 2;
        let of_token = row % tokens * pairs;
        let (cos, sin) = (&self.cos[of_token..][..pairs], &self.sin[of_token..][..pairs]);
        let signs = match self.direction {
            Direction::Forward => s.load(&[-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0]),
            Direction::Inverse => s.load(&[1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0]),
        };
        let x = x.map(|x| &x[..y.len()]);
        for first in (0..width).step_by(BLOCK) {
            let here = first / 2..(first / 2 + LANES).min(pairs);
            // Not by `map`: a closure of vectors is compiled without the instruction set around it unless it is inlined.
            let cos = s.twice(s.load_partial(&cos[here.clone()], 0.0));
            let sin = s.twice(s.load_partial(&sin[here], 0.0));
            let sin = [s.mul(sin[0], signs), s.mul(sin[1], signs)];
            let length = (width - first).min(BLOCK);
            for start in (first..y.len()).step_by(width) {
                let x = load(s, x, start, length);
                let mut turned = [s.zero(); 2];
                for half in 0..2 {
                    let n = f(x[half]);
                    turned[half] = s.mul_add(n, cos[half], s.mul(s.swap_pairs(n), sin[half]));
                }
                store(s, turned, &mut y[start..], length);
            }
        }
    }
}

/// Both vectors of the block of each input that begins at `start`; zeros behind its `length` elements.
#[inline(always)]
fn load<S: Simd, const N: usize>(s: S, x: [&[f32]; N], start: usize, length: usize) -> [[S::V; N]; 2] {
    let mut padded = [0.0; BLOCK];
    let mut v = [[s.zero(); N]; 2];
    for k in 0..N {
        let from = &x[k][start..];
        let block = match from.first_chunk() {
            Some(block) if length == BLOCK => block,
            _ => {
                padded[..length].copy_from_slice(&from[..length]);
                &padded
            }
        };
        v[0][k] = s.load(&block[..LANES]);
        v[1][k] = s.load(&block[LANES..]);
    }
    v
}

/// Writes the first `length` elements.
#[inline(always)]
fn store<S: Simd>(s: S, v: [S::V; 2], y: &mut [f32], length: usize) {
    match y.first_chunk_mut::<BLOCK>() {
        Some(block) if length == BLOCK => {
            s.store(v[0], &mut block[..LANES]);
            s.store(v[1], &mut block[LANES..]);
        }
        _ => {
            let padded = [s.to_array(v[0]), s.to_array(v[1])];
            y[..length].copy_from_slice(&padded.as_flattened()[..length]);
        }
    }
}
