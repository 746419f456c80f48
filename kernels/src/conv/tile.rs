//! The innermost loop: `MR` neighbouring results of a row by `NV` wide vectors of channels, in registers, over the taps
//! of a row and some channels.

use crate::gemm::micro::{self, Destination};
use crate::simd::{Body, Simd, WIDE};

/// Channels of one turn of the loop, and how many ahead of their use pixels are asked for.
const TURN: usize = 4;
const AHEAD: usize = 28;

/// One tap of a row.
#[derive(Clone, Copy)]
pub(super) struct Tap<'a, const NV: usize, const L: usize> {
    /// Pixels, `[channels][L]`.
    pub a: &'a [[f32; L]],
    /// Which of them belongs to the tile's first result: at most `L - MR`.
    pub lane: usize,
    /// Weights, `[channels][NV][WIDE]`.
    pub b: &'a [[[f32; WIDE]; NV]],
}

/// A tile's sum over some taps.
pub(super) struct Tile<'a, const MR: usize, const NV: usize, const L: usize> {
    pub taps: &'a [Tap<'a, NV, L>],
    pub to: Destination<'a>,
}

impl<const MR: usize, const NV: usize, const L: usize> Body for Tile<'_, MR, NV, L> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for r in 0..self.to.height {
            s.prefetch(&self.to.c[r * self.to.stride..]);
        }
        let mut tile = [[s.wide_zero(); NV]; MR];
        for tap in self.taps {
            assert!(tap.lane + MR <= L && tap.a.len() == tap.b.len());
            let a = tap.a.as_ptr().cast::<f32>();
            let (turns, rest) = tap.b.as_chunks::<TURN>();
            for (turn, b) in turns.iter().enumerate() {
                s.prefetch(tap.a.get(turn * TURN + AHEAD).map_or(&[], |a| a));
                s.prefetch(tap.a.get(turn * TURN + AHEAD + TURN / 2).map_or(&[], |a| a));
                for (c, b) in b.iter().enumerate() {
                    // SAFETY: `turn * TURN + c < tap.a.len()` and `lane + MR <= L` by the assertion above, so that these
                    // `MR` floats lie in that row of `tap.a`.
                    let pixels = unsafe { &*a.add((turn * TURN + c) * L + tap.lane).cast::<[f32; MR]>() };
                    micro::step(s, &mut tile, pixels, b);
                }
            }
            for (c, b) in rest.iter().enumerate() {
                // SAFETY: as above.
                let pixels = unsafe { &*a.add((turns.len() * TURN + c) * L + tap.lane).cast::<[f32; MR]>() };
                micro::step(s, &mut tile, pixels, b);
            }
        }
        self.to.write(s, tile);
    }
}
