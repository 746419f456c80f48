//! Forward on the CPU: blocks of keys against sixteen queries at a time, with a running maximum and sum (online softmax).
//!
//! Scores are kept in units of `ln 2`, so that the exponential is a power of two. Only a block of them exists at a time.

use std::f32::consts::{LN_2, LOG2_E};

use rayon::prelude::*;

use super::pack::{Head, Tokens, split_heads, unpack};
use super::tile::{PANEL, Pair, Row, by_columns, for_column_groups, load, store};
use super::{Dims, Inputs, tasks_of};
use crate::simd::{Body, Isa, Simd, dispatch};

/// Keys whose scores exist at a time: sixteen queries' probabilities (8 KiB) and sixteen columns of `v` (8 KiB) stay in
/// the first-level cache together.
const KEY_BLOCK: usize = 128;

/// Queries that share one pass over the keys.
const QUERY_BLOCK: usize = PANELS * PANEL;

/// The same in panels.
const PANELS: usize = 4;

/// Writes `out` and `lse`. The split over threads is by head and block of queries, which no sum crosses.
pub(super) fn run(isa: Isa, x: Inputs<'_>, out: &mut [f32], lse: &mut [f32]) {
    let Dims { batch, heads, queries, keys, width } = x.dims;
    if queries == 0 {
        return;
    }
    let attended: Vec<_> = (0..batch).map(|b| x.attended(b)).collect();
    let tokens: Vec<usize> = (0..queries).collect();
    let outs = split_heads(out, [batch, queries, heads, width]).into_par_iter().zip(lse.par_chunks_mut(queries));
    let cost = |queries: usize| 4 * queries * keys * width;
    outs.enumerate().with_min_len(tasks_of(cost(queries))).for_each_init(
        Keys::default,
        |keys, (index, (mut out, lse))| {
            let (at, picks) = ([index / heads, index % heads], &attended[index / heads]);
            let q = Head::new(x.q, at, [queries, heads, width]);
            let [k, v] = [x.k, x.v].map(|data| Head::new(data, at, [x.dims.keys, heads, width]));
            dispatch(isa, Pack { k, v, picks, width, keys });
            let keys = &*keys;
            let blocks = out.par_chunks_mut(QUERY_BLOCK).zip(lse.par_chunks_mut(QUERY_BLOCK));
            let blocks = blocks.zip(tokens.par_chunks(QUERY_BLOCK)).with_min_len(tasks_of(cost(QUERY_BLOCK)));
            blocks.for_each_init(Scratch::default, |scratch, ((out, lse), tokens)| {
                dispatch(isa, Block { q, tokens, scale: x.scale, width, keys, scratch, out, lse });
            });
        },
    );
}

/// The keys of one head. A thread keeps the memory from head to head: new pages would cost more than packing does.
#[derive(Default)]
struct Keys {
    count: usize,
    /// `k` transposed, `[count / 16][width]`.
    k: Vec<Row>,
    /// `v`, `[width / 16][count]`.
    v: Vec<Row>,
}

/// Fills [`Keys`].
struct Pack<'a> {
    k: Head<'a>,
    v: Head<'a>,
    picks: &'a [usize],
    width: usize,
    keys: &'a mut Keys,
}

impl Body for Pack<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Pack { k, v, picks, width, keys } = self;
        let (count, panels) = (picks.len(), picks.len().div_ceil(PANEL));
        keys.count = count;
        keys.k.resize(panels * width, [0.0; PANEL]);
        keys.v.resize(count * width.div_ceil(PANEL), [0.0; PANEL]);
        for panel in 0..panels {
            let tokens = Tokens::panel(picks, panel);
            k.transposed(s, &tokens, 1.0, &mut keys.k[panel * width..(panel + 1) * width]);
            v.columns(s, &tokens, [panel * PANEL, count], &mut keys.v);
            for &token in tokens.ahead {
                v.prefetch(s, token);
            }
        }
    }
}

/// What a thread keeps from block to block of queries.
#[derive(Default)]
struct Scratch {
    /// `q` in units of `ln 2` and times the scale, transposed: `[panels][width]`.
    q: Vec<Row>,
    /// `out` times the sum of exponentials, `[panels][width / 16][16 queries]`.
    sums: Vec<Row>,
}

/// A block of queries of one head against all of its keys.
struct Block<'a, 'o> {
    q: Head<'a>,
    tokens: &'a [usize],
    scale: f32,
    width: usize,
    keys: &'a Keys,
    scratch: &'a mut Scratch,
    out: &'a mut [&'o mut [f32]],
    lse: &'a mut [f32],
}

/// Sixteen queries on their way through the keys.
#[derive(Clone, Copy)]
struct Running<S: Simd> {
    /// Largest score so far.
    max: Pair<S>,
    /// Sum of `2^(score - max)` so far.
    sum: Pair<S>,
}

impl Body for Block<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (panels, columns, width) = (self.tokens.len().div_ceil(PANEL), self.width.div_ceil(PANEL), self.width);
        let Scratch { q, sums } = &mut *self.scratch;
        q.resize(panels * width, [0.0; PANEL]);
        sums.clear();
        sums.resize(panels * PANEL * columns, [0.0; PANEL]);
        for panel in 0..panels {
            let (tokens, rows) = (Tokens::panel(self.tokens, panel), &mut q[panel * width..(panel + 1) * width]);
            self.q.transposed(s, &tokens, self.scale * LOG2_E, rows);
        }
        let mut p = [[0.0; PANEL]; KEY_BLOCK];
        let mut running = [Running::<S> { max: [s.splat(f32::NEG_INFINITY); 2], sum: [s.zero(); 2] }; PANELS];
        for first in (0..self.keys.count).step_by(KEY_BLOCK) {
            let keys = first..(first + KEY_BLOCK).min(self.keys.count);
            let k = &self.keys.k[first / PANEL * width..];
            for panel in 0..panels {
                let p = &mut p[..keys.len()];
                let largest = scores(s, k, &q[panel * width..(panel + 1) * width], p);
                let decay = probabilities(s, largest, &mut running[panel], p);
                for c in 0..columns {
                    let v = &self.keys.v[c * self.keys.count..][keys.clone()];
                    let first = (panel * columns + c) * PANEL;
                    add_values(s, p, v, &decay, &mut sums[first..first + PANEL]);
                }
            }
        }
        self.finish(s, &running);
    }
}

impl Block<'_, '_> {
    #[inline(always)]
    fn finish<S: Simd>(self, s: S, running: &[Running<S>]) {
        let column_panels = self.width.div_ceil(PANEL);
        for (panel, (out, lse)) in self.out.chunks_mut(PANEL).zip(self.lse.chunks_mut(PANEL)).enumerate() {
            let [mut max, mut sum] = [[0.0; PANEL]; 2];
            store(s, running[panel].max, &mut max);
            store(s, running[panel].sum, &mut sum);
            // Without keys the sum is 0, and so is `out`.
            let factors = sum.map(|sum| if self.keys.count == 0 { 0.0 } else { 1.0 / sum });
            let sums = &self.scratch.sums[panel * PANEL * column_panels..];
            for (i, (out, factor)) in out.iter_mut().zip(factors).enumerate() {
                unpack(s, sums, [i, PANEL], factor, out);
            }
            for (lse, (max, sum)) in lse.iter_mut().zip(max.into_iter().zip(sum)) {
                *lse = max * LN_2 + sum.ln();
            }
        }
    }
}

/// Scores of a block of keys, `p[j] = k[j] . q`; returns the largest of each query.
#[inline(always)]
fn scores<S: Simd>(s: S, k: &[Row], q: &[Row], p: &mut [Row]) -> Pair<S> {
    let mut largest = [s.splat(f32::NEG_INFINITY); 2];
    for (panel, p) in p.chunks_mut(PANEL).enumerate() {
        let k = &k[panel * q.len()..(panel + 1) * q.len()];
        for_column_groups!(p.len(), |FIRST, R| {
            let tile = by_columns::<S, FIRST, R>(s, [s.zero(); 2], k, q);
            for r in 0..R {
                if let Some(p) = p.get_mut(FIRST + r) {
                    largest = [s.max(largest[0], tile[r][0]), s.max(largest[1], tile[r][1])];
                    store(s, tile[r], p);
                }
            }
        });
    }
    largest
}

/// Turns scores into `2^(score - max)`; returns the factor that brings earlier sums to the new maximum.
///
/// A NaN score may not survive in the maximum, but it does in its own exponential, and so in the sum and in `out`.
#[inline(always)]
fn probabilities<S: Simd>(s: S, largest: Pair<S>, running: &mut Running<S>, p: &mut [Row]) -> Row {
    let max = [s.max(running.max[0], largest[0]), s.max(running.max[1], largest[1])];
    let decay = [s.exp2(s.sub(running.max[0], max[0])), s.exp2(s.sub(running.max[1], max[1]))];
    let mut sum = [s.mul(running.sum[0], decay[0]), s.mul(running.sum[1], decay[1])];
    for row in p {
        let score = load(s, row);
        let power = [s.exp2(s.sub(score[0], max[0])), s.exp2(s.sub(score[1], max[1]))];
        sum = [s.add(sum[0], power[0]), s.add(sum[1], power[1])];
        store(s, power, row);
    }
    *running = Running { max, sum };
    let mut factors = [0.0; PANEL];
    store(s, decay, &mut factors);
    factors
}

/// `sums[i] = decay[i] * sums[i] + sum_j p[j][i] * v[j]` for sixteen queries and sixteen columns.
#[inline(always)]
fn add_values<S: Simd>(s: S, p: &[Row], v: &[Row], decay: &Row, sums: &mut [Row]) {
    for_column_groups!(PANEL, |FIRST, R| {
        let tile = by_columns::<S, FIRST, R>(s, [s.zero(); 2], p, v);
        for r in 0..R {
            let (factor, sum) = (s.splat(decay[FIRST + r]), load(s, &sums[FIRST + r]));
            let row = [s.mul_add(factor, sum[0], tile[r][0]), s.mul_add(factor, sum[1], tile[r][1])];
            store(s, row, &mut sums[FIRST + r]);
        }
    });
}
