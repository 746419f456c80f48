//! The convolution on the CPU: a product whose left operand is packed straight from the frames, a region at a time.
//!
//! A task is some rows of the result. It goes through them in regions of a few tiles, whose pixels lie in the second-level
//! cache: for each frame and some channels it packs the pixels once, and uses them under each tap that looks at them.

use std::ops::Range;

use rayon::prelude::*;

use super::pack::{CHANNELS, Geometry, pack_line};
use super::tile::{Tap, Tile};
use super::{Dims, MAX_TAPS};
use crate::gemm::micro::Destination;
use crate::gemm::plan::{GRAIN, Tiling, even, work};
use crate::gemm::{Write, buffer};
use crate::simd::{Body, Isa, Simd, WIDE, dispatch_wide};

/// Rows of a task at most: each row of pixels is packed for all of them at once.
const ROWS: usize = 6;
/// Tasks below which rows are divided among more.
const TASKS: usize = 8;
/// Tiles of a region side by side.
const TILES: usize = 10;

/// The checked operands.
#[derive(Clone, Copy)]
pub(super) struct Problem<'a> {
    /// Those that are there, with the taps that look at them.
    pub frames: &'a [(usize, &'a [f32])],
    pub panels: &'a [f32],
    pub bias: Option<&'a [f32]>,
    pub write: Write,
    pub dims: Dims,
}

pub(super) fn run(isa: Isa, problem: Problem<'_>, y: &mut [f32]) {
    let dims = problem.dims;
    let ([height, width], n) = (dims.output(), dims.out_channels);
    if y.is_empty() {
        return;
    }
    let rows = (height / TASKS).clamp(1, ROWS);
    let strip = |(i, y): (usize, &mut [f32])| match Tiling::of(isa) {
        Tiling::Registers16 => Strip::<6, 1, 8> { problem, first_row: i * rows, y }.run(isa),
        Tiling::Registers32 => Strip::<14, 2, 16> { problem, first_row: i * rows, y }.run(isa),
    };
    let task = work(rows * width, n, dims.terms()).max(1);
    if work(height * width, n, dims.terms()) <= GRAIN {
        y.chunks_mut(rows * width * n).enumerate().for_each(strip);
    } else {
        let pieces = y.par_chunks_mut(rows * width * n).enumerate();
        pieces.with_min_len(GRAIN.div_ceil(task)).for_each(strip);
    }
}

/// Some rows of the result, `[rows, width, out_channels]`.
struct Strip<'a, 'y, const MR: usize, const NV: usize, const L: usize> {
    problem: Problem<'a>,
    first_row: usize,
    y: &'y mut [f32],
}

/// The part of the sums that one packing of pixels is for.
struct Part<'a> {
    frame: &'a [f32],
    tap: usize,
    channels: Range<usize>,
    /// Whether there was no part before, or will be none after.
    first: bool,
    last: bool,
}

impl<const MR: usize, const NV: usize, const L: usize> Strip<'_, '_, MR, NV, L> {
    fn run(mut self, isa: Isa) {
        let dims = self.problem.dims;
        if self.problem.frames.is_empty() || dims.channels == 0 {
            return self.only_bias();
        }
        let geometry = Geometry { dims };
        let [_, width] = dims.output();
        let region = MR * TILES.min(width.div_ceil(MR));
        let rows = self.y.len() / (width * dims.out_channels);
        let scratch = geometry.lines(rows) * (region / MR) * geometry.panels() * step(dims.channels) * L;
        buffer::with(&buffer::A, scratch, |scratch| {
            for first in (0..width).step_by(region) {
                let columns = first..(first + region).min(width);
                dispatch_wide(isa, Region { strip: &mut self, columns, scratch });
            }
        });
    }

    /// Without a term the bias is left.
    fn only_bias(&mut self) {
        if self.problem.write == Write::Overwrite {
            self.y.fill(0.0);
        }
        let Some(bias) = self.problem.bias else { return };
        for y in self.y.chunks_exact_mut(bias.len()) {
            y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
        }
    }
}

/// Channels of a part.
fn step(channels: usize) -> usize {
    even(channels, CHANNELS, 8).min(CHANNELS)
}

/// Columns of a strip.
struct Region<'s, 'a, 'y, const MR: usize, const NV: usize, const L: usize> {
    strip: &'s mut Strip<'a, 'y, MR, NV, L>,
    columns: Range<usize>,
    scratch: &'s mut [f32],
}

impl<const MR: usize, const NV: usize, const L: usize> Body for Region<'_, '_, '_, MR, NV, L> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Problem { frames, dims, .. } = self.strip.problem;
        let step = step(dims.channels);
        let chunks = dims.channels.div_ceil(step);
        for (i, &(tap, frame)) in frames.iter().enumerate() {
            for chunk in 0..chunks {
                let channels = chunk * step..((chunk + 1) * step).min(dims.channels);
                let first = i == 0 && chunk == 0;
                let last = i + 1 == frames.len() && chunk + 1 == chunks;
                self.part(s, Part { frame, tap, channels, first, last });
            }
        }
    }
}

impl<const MR: usize, const NV: usize, const L: usize> Region<'_, '_, '_, MR, NV, L> {
    #[inline(always)]
    fn part<S: Simd>(&mut self, s: S, part: Part<'_>) {
        let Problem { dims, .. } = self.strip.problem;
        let geometry = Geometry { dims };
        let n = dims.out_channels;
        let rows = self.strip.y.len() / (dims.output()[1] * n);
        let line = self.columns.len().div_ceil(MR) * geometry.panels() * part.channels.len();
        let (pixels, _) = self.scratch.as_chunks_mut::<L>();
        for (i, out) in pixels.chunks_exact_mut(line).take(geometry.lines(rows)).enumerate() {
            let columns = self.columns.clone().step_by(MR);
            s.call(Line { geometry, part: &part, at: [self.strip.first_row, i], columns, out });
        }
        for i in 0..dims.taps[1] {
            for column in (0..n).step_by(NV * WIDE) {
                self.columns_of_row(s, &part, [i, column]);
            }
        }
    }

    /// Adds row `i` of the taps to all tiles, for the panel of channels from `column` on.
    #[inline(always)]
    fn columns_of_row<S: Simd>(&mut self, s: S, part: &Part<'_>, [i, column]: [usize; 2]) {
        let Problem { dims, panels, bias, write, .. } = self.strip.problem;
        let geometry = Geometry { dims };
        let ([_, width], n, [_, kh, kw]) = (dims.output(), dims.out_channels, dims.taps);
        let (panels, _) = panels.as_chunks::<WIDE>().0.as_chunks::<NV>();
        let panel = &panels[column / (NV * WIDE) * dims.terms()..][..dims.terms()];
        let mut weights: [&[[[f32; WIDE]; NV]]; MAX_TAPS] = [&[]; MAX_TAPS];
        for (j, weights) in weights[..kw].iter_mut().enumerate() {
            let tap = (part.tap * kh + i) * kw + j;
            *weights = &panel[tap * dims.channels..][part.channels.clone()];
        }
        let (pixels, _) = self.scratch.as_chunks::<L>();
        let tiles = self.columns.len().div_ceil(MR);
        let rows = self.strip.y.len() / (width * n);
        let end = (column + NV * WIDE).min(n);
        let bias = bias.filter(|_| part.last && i + 1 == kh).map(|bias| &bias[column..end]);
        let add = write == Write::Accumulate || !part.first || i > 0;
        for row in 0..rows {
            let line = row * geometry.row_step() + i;
            for tile in 0..tiles {
                let mut taps = [Tap { a: &[], lane: 0, b: &[] }; MAX_TAPS];
                for j in 0..kw {
                    let (panel, lane) = geometry.place(j);
                    let at = ((line * tiles + tile) * geometry.panels() + panel) * part.channels.len();
                    taps[j] = Tap { a: &pixels[at..][..part.channels.len()], lane, b: weights[j] };
                }
                let x = self.columns.start + tile * MR;
                let height = (self.columns.end - x).min(MR);
                let c = &mut self.strip.y[(row * width + x) * n + column..];
                let to = Destination { c, stride: n, height, width: end - column, add, bias };
                s.call(Tile::<MR, NV, L> { taps: &taps[..kw], to });
            }
        }
    }
}

/// Packs one row of pixels.
struct Line<'a, I, const L: usize> {
    geometry: Geometry,
    part: &'a Part<'a>,
    at: [usize; 2],
    columns: I,
    out: &'a mut [[f32; L]],
}

impl<I: Iterator<Item = usize>, const L: usize> Body for Line<'_, I, L> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Line { geometry, part, at, columns, out } = self;
        pack_line::<S, L>(s, geometry, part.frame, at, columns, part.channels.clone(), out);
    }
}
