//! One head's operands, copied once into the layouts that the inner loops read front to back.

use super::tile::{PANEL, Row, load};
use crate::lanes::prefetch;
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

    /// Writes sixteen columns a panel, `[width / 16][stride]`, from row `first` on; the last panel is filled up with
    /// zeros.
    #[inline(always)]
    pub(super) fn columns<S: Simd>(&self, s: S, tokens: &Tokens<'_>, [first, stride]: [usize; 2], panels: &mut [Row]) {
        for (i, &token) in tokens.now.iter().enumerate() {
            let token = self.token(token);
            for c in 0..self.width.div_ceil(PANEL) {
                let (row, part) = (&mut panels[c * stride + first + i], &token[c * PANEL..]);
                for half in 0..2 {
                    let part = &part[part.len().min(half * LANES)..];
                    s.store(s.load_partial(part, 0.0), &mut row[half * LANES..]);
                }
            }
        }
    }

    /// Writes the tokens times `scale`, transposed, `[width]`; missing ones are zeros. Asks for those that come next.
    #[inline(always)]
    pub(super) fn transposed<S: Simd>(&self, s: S, tokens: &Tokens<'_>, scale: f32, rows: &mut [Row]) {
        for half in 0..2 {
            let (now, ahead) = (self.eight(tokens.now, half), self.eight(tokens.ahead, half));
            transpose_into(s, now, ahead, half * LANES, scale, rows);
        }
    }

    /// `factor * (x . y)` for each of the tokens `x` of this head and `y` of the other; missing ones give zero.
    #[inline(always)]
    pub(super) fn dots<S: Simd>(&self, s: S, other: Head<'_>, tokens: &Tokens<'_>, factor: f32) -> Row {
        let mut dots = [0.0; PANEL];
        for half in 0..2 {
            let (x, y) = (self.eight(tokens.now, half), other.eight(tokens.now, half));
            let mut sums = [s.zero(); LANES];
            for i in 0..LANES {
                for (x, y) in x[i].chunks(LANES).zip(y[i].chunks(LANES)) {
                    sums[i] = s.mul_add(s.load_partial(x, 0.0), s.load_partial(y, 0.0), sums[i]);
                }
            }
            let [a, b, c, d, e, f, g, h] = s.transpose(sums);
            let (even, odd) = (s.add(s.add(a, e), s.add(c, g)), s.add(s.add(b, f), s.add(d, h)));
            s.store(s.mul(s.add(even, odd), s.splat(factor)), &mut dots[half * LANES..]);
        }
        dots
    }

    /// The first or the second eight of sixteen tokens; those that there are not are empty.
    #[inline(always)]
    fn eight(&self, picks: &[usize], half: usize) -> [&'a [f32]; LANES] {
        let mut rows = [&[][..]; LANES];
        for (lane, row) in rows.iter_mut().enumerate() {
            if let Some(&token) = picks.get(half * LANES + lane) {
                *row = self.token(token);
            }
        }
        rows
    }

    /// Asks for the elements of a token that comes later.
    #[inline(always)]
    pub(super) fn prefetch<S: Simd>(&self, s: S, token: usize) {
        prefetch(s, self.token(token));
    }
}

/// Sixteen tokens, or what is left of them, and those that are packed next: a head's rows stand apart in memory, so that
/// the machine does not foresee them.
pub(super) struct Tokens<'a> {
    pub(super) now: &'a [usize],
    pub(super) ahead: &'a [usize],
}

impl<'a> Tokens<'a> {
    /// Panel `panel` of `picks`.
    #[inline(always)]
    pub(super) fn panel(picks: &'a [usize], panel: usize) -> Self {
        let (now, ahead) = picks[panel * PANEL..].split_at(PANEL.min(picks.len() - panel * PANEL));
        Tokens { now, ahead: &ahead[..ahead.len().min(PANEL)] }
    }
}

/// `rows[d][lane..lane + 8] = scale * tokens[..][d]`; an empty token counts as zeros.
#[inline(always)]
fn transpose_into<S: Simd>(
    s: S,
    tokens: [&[f32]; LANES],
    ahead: [&[f32]; LANES],
    lane: usize,
    scale: f32,
    rows: &mut [Row],
) {
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
        // A cache line is two blocks long.
        for next in ahead.iter().skip(block % 2 * (LANES / 2)).take(LANES / 2) {
            if let Some(part) = next.get(start..) {
                s.prefetch(part);
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

/// Writes row `i` of panels of sixteen columns, `[width / 16][stride]`, to the row of a token, times `factor`.
#[inline(always)]
pub(super) fn unpack<S: Simd>(s: S, panels: &[Row], [i, stride]: [usize; 2], factor: f32, token: &mut [f32]) {
    let factor = s.splat(factor);
    for (c, part) in token.chunks_mut(PANEL).enumerate() {
        let row = load(s, &panels[c * stride + i]);
        let (low, high) = part.split_at_mut(part.len().min(LANES));
        s.store_partial(s.mul(row[0], factor), low);
        s.store_partial(s.mul(row[1], factor), high);
    }
}
