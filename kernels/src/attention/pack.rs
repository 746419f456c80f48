//! One head's operands, copied once into the layouts that the inner loops read front to back.

use super::tile::{PANEL, Row, load};
use crate::simd::{LANES, Simd};

/// One head of a `[batch, tokens, heads * width]` operand.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    data: &'a [f32],
    /// First element of the first token.
    first: usize,
    /// From token to token.
    stride: usize,
    width: usize,
}

impl<'a> Head<'a> {
    /// Head `head` of sequence `batch` in `data`, `[_, tokens, heads * width]`.
    pub(super) fn new(data: &'a [f32], [batch, head]: [usize; 2], [tokens, heads, width]: [usize; 3]) -> Self {
        Head { data, first: (batch * tokens * heads + head) * width, stride: heads * width, width }
    }

    /// The `[width]` elements of a token.
    #[inline(always)]
    pub(super) fn token(&self, token: usize) -> &'a [f32] {
        let first = self.first + token * self.stride;
        &self.data[first..first + self.width]
    }

    /// Panels of sixteen elements of the width, `[width / 16][picks]`, the last filled up with zeros.
    #[inline(always)]
    pub(super) fn columns(&self, picks: &[usize], panels: &mut Vec<Row>) {
        panels.clear();
        for first in (0..self.width).step_by(PANEL) {
            let columns = first..(first + PANEL).min(self.width);
            for &token in picks {
                let part = &self.token(token)[columns.clone()];
                panels.push(part.try_into().unwrap_or_else(|_| padded(part)));
            }
        }
    }

    /// Panels of sixteen tokens times `scale`, transposed, `[picks / 16][width]`; the last filled up with zeros.
    #[inline(always)]
    pub(super) fn transposed<S: Simd>(&self, s: S, picks: &[usize], scale: f32, panels: &mut Vec<Row>) {
        panels.clear();
        panels.resize(picks.len().div_ceil(PANEL) * self.width, [0.0; PANEL]);
        for (panel, picks) in picks.chunks(PANEL).enumerate() {
            let rows = &mut panels[panel * self.width..(panel + 1) * self.width];
            for (half, picks) in picks.chunks(LANES).enumerate() {
                let tokens = std::array::from_fn(|lane| picks.get(lane).map_or(&[][..], |&pick| self.token(pick)));
                transpose_into(s, tokens, half * LANES, scale, rows);
            }
        }
    }
}

/// `rows[d][lane..lane + 8] = scale * tokens[..][d]`; an empty token counts as zeros.
#[inline(always)]
fn transpose_into<S: Simd>(s: S, tokens: [&[f32]; LANES], lane: usize, scale: f32, rows: &mut [Row]) {
    let factor = s.splat(scale);
    let (blocks, rest) = rows.as_chunks_mut::<LANES>();
    for (block, rows) in blocks.iter_mut().enumerate() {
        let start = block * LANES;
        let mut vectors = [s.zero(); LANES];
        for i in 0..LANES {
            if let Some(part) = tokens[i].get(start..start + LANES) {
                vectors[i] = s.mul(s.load(part), factor);
            }
        }
        let columns = s.transpose(vectors);
        for i in 0..LANES {
            s.store(columns[i], &mut rows[i][lane..lane + LANES]);
        }
    }
    let start = blocks.len() * LANES;
    for (d, row) in rest.iter_mut().enumerate() {
        for (element, token) in row[lane..lane + LANES].iter_mut().zip(tokens) {
            *element = token.get(start + d).map_or(0.0, |x| x * scale);
        }
    }
}

fn padded(part: &[f32]) -> Row {
    let mut row = [0.0; PANEL];
    row[..part.len()].copy_from_slice(part);
    row
}

/// Token rows of a `[batch, tokens, heads * width]` result by `(batch, head)`, so that heads can be written in parallel.
pub(super) fn split_heads(data: &mut [f32], [batch, tokens, heads, width]: [usize; 4]) -> Vec<Vec<&mut [f32]>> {
    let mut split: Vec<_> = (0..batch * heads).map(|_| Vec::with_capacity(tokens)).collect();
    let mut rest = data;
    for (b, _, h) in (0..batch).flat_map(|b| (0..tokens).flat_map(move |t| (0..heads).map(move |h| (b, t, h)))) {
        let (row, after) = rest.split_at_mut(width);
        split[b * heads + h].push(row);
        rest = after;
    }
    split
}

/// Writes panels of sixteen columns, `[width / 16][tokens]`, to token rows, each times `factor(token)`.
#[inline(always)]
pub(super) fn unpack<S: Simd>(s: S, panels: &[Row], stride: usize, rows: &mut [&mut [f32]], factors: &[f32]) {
    for token in 0..rows.len() {
        let factor = s.splat(factors[token]);
        for (c, part) in rows[token].chunks_mut(PANEL).enumerate() {
            let row = load(s, &panels[c * stride + token]);
            let (low, high) = part.split_at_mut(part.len().min(LANES));
            s.store_partial(s.mul(row[0], factor), low);
            s.store_partial(s.mul(row[1], factor), high);
        }
    }
}
