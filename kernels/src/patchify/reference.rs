//! The permutation by its definition, element by element.

use super::{Grid, Order};

pub(super) fn patchify(video: &[f64], grid: Grid, order: Order) -> Vec<f64> {
    let mut tokens = vec![0.0; video.len()];
    for_each_pair(grid, order, |v, t| tokens[t] = video[v]);
    tokens
}

pub(super) fn unpatchify(tokens: &[f64], grid: Grid, order: Order) -> Vec<f64> {
    let mut video = vec![0.0; tokens.len()];
    for_each_pair(grid, order, |v, t| video[v] = tokens[t]);
    video
}

/// Calls `body(position in the video, position in the tokens)` for every element.
fn for_each_pair(g: Grid, order: Order, mut body: impl FnMut(usize, usize)) {
    let [pt, ph, pw] = g.patch;
    let [f, h, w] = [g.frames / pt, g.height / ph, g.width / pw];
    for v in 0..g.batch * g.channels * g.frames * g.height * g.width {
        let (x, y) = (v % g.width, v / g.width % g.height);
        let (frame, c) = (v / (g.width * g.height) % g.frames, v / (g.width * g.height * g.frames) % g.channels);
        let b = v / (g.width * g.height * g.frames * g.channels);
        let token = [b, frame / pt, y / ph, x / pw].iter().zip([g.batch, f, h, w]).fold(0, |n, (i, e)| n * e + i);
        let [dt, dh, dw] = [frame % pt, y % ph, x % pw];
        let within = match order {
            Order::ChannelFirst => ((c * pt + dt) * ph + dh) * pw + dw,
            Order::ChannelLast => ((dt * ph + dh) * pw + dw) * g.channels + c,
        };
        body(v, token * g.channels * pt * ph * pw + within);
    }
}
