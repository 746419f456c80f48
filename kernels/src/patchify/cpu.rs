//! Each output is written in order and gathers from the input, so rows of output are independent tasks.

use super::{Grid, Order};
use crate::runtime::cpu::for_rows;

/// Scalar operations an element, for the split over threads.
const COST: usize = 4;

/// Distances in a token between neighbouring channels, and between neighbouring frames, rows and columns of its patch.
struct Strides {
    channel: usize,
    patch: [usize; 3],
}

impl Strides {
    fn new(grid: Grid, order: Order) -> Self {
        let [pt, ph, pw] = grid.patch;
        match order {
            Order::ChannelFirst => Strides { channel: pt * ph * pw, patch: [ph * pw, pw, 1] },
            Order::ChannelLast => {
                let c = grid.channels;
                Strides { channel: 1, patch: [ph * pw * c, pw * c, c] }
            }
        }
    }
}

pub(super) fn patchify(video: &[f32], tokens: &mut [f32], grid: Grid, order: Order) {
    let (len, strides) = (grid.patch_len(), Strides::new(grid, order));
    let [f, h, w] = grid.patches();
    for_rows(tokens, len, COST * len, |first, tokens| {
        for (i, token) in tokens.chunks_exact_mut(len).enumerate() {
            let t = first + i;
            let at = [t / (f * h * w), t / (h * w) % f, t / w % h, t % w];
            fill_token(video, token, grid, &strides, at);
        }
    });
}

/// Reads the patch at `[batch, f, h, w]`.
fn fill_token(video: &[f32], token: &mut [f32], grid: Grid, strides: &Strides, at: [usize; 4]) {
    let [pt, ph, pw] = grid.patch;
    let [b, f, h, w] = at;
    for c in 0..grid.channels {
        for dt in 0..pt {
            for dh in 0..ph {
                let line = ((b * grid.channels + c) * grid.frames + f * pt + dt) * grid.height + h * ph + dh;
                let from = &video[line * grid.width + w * pw..][..pw];
                let to = c * strides.channel + dt * strides.patch[0] + dh * strides.patch[1];
                for (dw, &x) in from.iter().enumerate() {
                    token[to + dw * strides.patch[2]] = x;
                }
            }
        }
    }
}

pub(super) fn unpatchify(tokens: &[f32], video: &mut [f32], grid: Grid, order: Order) {
    let strides = Strides::new(grid, order);
    for_rows(video, grid.width, COST * grid.width, |first, video| {
        for (i, line) in video.chunks_exact_mut(grid.width).enumerate() {
            fill_line(tokens, line, grid, &strides, first + i);
        }
    });
}

/// Reads one row of pixels, number `line` of `[batch, channels, frames, height]`.
fn fill_line(tokens: &[f32], pixels: &mut [f32], grid: Grid, strides: &Strides, line: usize) {
    let [pt, ph, pw] = grid.patch;
    let [f, h, w] = grid.patches();
    let (y, rest) = (line % grid.height, line / grid.height);
    let (frame, rest) = (rest % grid.frames, rest / grid.frames);
    let (c, b) = (rest % grid.channels, rest / grid.channels);
    let token = ((b * f + frame / pt) * h + y / ph) * w;
    let within = c * strides.channel + frame % pt * strides.patch[0] + y % ph * strides.patch[1];
    for (i, pixels) in pixels.chunks_exact_mut(pw).enumerate() {
        let from = (token + i) * grid.patch_len() + within;
        for (dw, x) in pixels.iter_mut().enumerate() {
            *x = tokens[from + dw * strides.patch[2]];
        }
    }
}
