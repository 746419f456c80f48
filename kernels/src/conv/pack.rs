//! Pixels of a row in the order in which tiles read them.
//!
//! A *panel* holds, for each of some channels, `L` pixels side by side: those under the taps of a tile's results. Without
//! resampling, or upsampled, the taps of a row share one panel of which each reads `MR` pixels from its own column on;
//! downsampled, each tap has a panel of its own.

use std::ops::Range;

use super::{Dims, Sampling};
use crate::simd::{LANES, Simd};

/// Channels of a panel at most: their weights for three taps by sixteen columns (24 KiB) stay in the first-level cache
/// while tiles pass by.
pub(super) const CHANNELS: usize = 128;

const ZEROS: [f32; CHANNELS] = [0.0; CHANNELS];

/// Which pixels of which rows the panels of a tile hold.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub dims: Dims,
}

impl Geometry {
    /// Panels of a tile in one row of pixels.
    pub(super) fn panels(self) -> usize {
        if self.dims.sampling == Sampling::Downsample { self.dims.taps[2] } else { 1 }
    }

    /// Rows of pixels from one result's to the next one's.
    pub(super) fn row_step(self) -> usize {
        if self.dims.sampling == Sampling::Downsample { 2 } else { 1 }
    }

    /// Rows of pixels under the taps of `rows` results.
    pub(super) fn lines(self, rows: usize) -> usize {
        (rows - 1) * self.row_step() + self.dims.taps[1]
    }

    /// For tap `tap` of a row: its panel, and where in it its pixels begin.
    pub(super) fn place(self, tap: usize) -> (usize, usize) {
        if self.dims.sampling == Sampling::Downsample { (tap, 0) } else { (0, tap) }
    }

    /// The row of pixels under the first tap of result `row`, `line` further down.
    fn source_row(self, row: usize, line: usize) -> Option<usize> {
        let Dims { height, taps, sampling, .. } = self.dims;
        source(sampling, row * self.row_step() + line, taps[1], height)
    }

    /// The pixel of lane `lane` of panel `panel` of the tile from result `column` on.
    fn source_column(self, column: usize, panel: usize, lane: usize) -> Option<usize> {
        let Dims { width, taps, sampling, .. } = self.dims;
        source(sampling, (column + lane) * self.row_step() + panel, taps[2], width)
    }
}

/// Of `extent` pixels the one at `at`, counted from that under the first tap of result 0.
fn source(sampling: Sampling, at: usize, taps: usize, extent: usize) -> Option<usize> {
    let pixel = match sampling {
        Sampling::Same => at.checked_sub(taps / 2)?,
        Sampling::Upsample => at.checked_sub(1)? / 2,
        Sampling::Downsample => at,
    };
    (pixel < extent).then_some(pixel)
}

/// Fills the panels of the tiles from results `columns` on, in one row of pixels: `[tiles][panels][channels][L]`.
#[inline(always)]
pub(super) fn pack_line<S: Simd, const L: usize>(
    s: S,
    geometry: Geometry,
    frame: &[f32],
    [row, line]: [usize; 2],
    columns: impl Iterator<Item = usize>,
    channels: Range<usize>,
    out: &mut [[f32; L]],
) {
    let panels = geometry.panels();
    let Some(row) = geometry.source_row(row, line) else {
        return out.as_flattened_mut().fill(0.0);
    };
    let dims = geometry.dims;
    let row = &frame[row * dims.width * dims.channels..][..dims.width * dims.channels];
    for (column, out) in columns.zip(out.chunks_exact_mut(panels * channels.len())) {
        for (panel, out) in out.chunks_exact_mut(channels.len()).enumerate() {
            let pixel = |lane: usize| match geometry.source_column(column, panel, lane) {
                Some(pixel) => &row[pixel * dims.channels..][channels.clone()],
                None => &ZEROS[..channels.len()],
            };
            for first in (0..L).step_by(LANES) {
                transpose::<S, L>(s, |lane| pixel(first + lane), first, out);
            }
        }
    }
}

/// `out[c][first + i] = pixel(i)[c]` for eight pixels.
#[inline(always)]
fn transpose<'a, S: Simd, const L: usize>(
    s: S,
    pixel: impl Fn(usize) -> &'a [f32],
    first: usize,
    out: &mut [[f32; L]],
) {
    let mut pixels = [&ZEROS[..0]; LANES];
    for i in 0..LANES {
        pixels[i] = pixel(i);
    }
    let squares = out.len() / LANES;
    for square in 0..squares {
        let mut rows = [s.zero(); LANES];
        for i in 0..LANES {
            rows[i] = s.load(&pixels[i][square * LANES..]);
        }
        let columns = s.transpose(rows);
        for i in 0..LANES {
            s.store(columns[i], &mut out[square * LANES + i][first..]);
        }
    }
    for c in squares * LANES..out.len() {
        for i in 0..LANES {
            out[c][first + i] = pixels[i][c];
        }
    }
}
