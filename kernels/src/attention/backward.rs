//! Backward on the CPU: blocks of keys, and for each all blocks of queries, five small products a pair of blocks.
//!
//! The probabilities come back from `lse`; they and their gradients exist for one pair of blocks at a time. A head is
//! one task, so the order of every sum is that of the loops below.

use std::f32::consts::LOG2_E;

use rayon::prelude::*;

use super::pack::{Head, Tokens, split_heads, unpack};
use super::tile::{PANEL, Pair, Row, add_by_rows, by_columns, for_column_groups, for_row_groups, load, store, zeros};
use super::{Dims, Inputs, tasks_of};
use crate::lanes::prefetch;
use crate::simd::{Body, Isa, LANES, Simd, dispatch};

/// Keys of a block: whole panels of sixteen, and whole register tiles of six.
const KEY_BLOCK: usize = 96;

/// Panels of sixteen queries of a block: `dk` and `dv` go to memory once for so many.
const QUERY_PANELS: usize = 4;

/// What backward reads besides the inputs; shapes as in [`super::Backward`].
#[derive(Clone, Copy)]
pub(super) struct Saved<'a> {
    pub(super) out: &'a [f32],
    pub(super) lse: &'a [f32],
    pub(super) dout: &'a [f32],
}

/// Writes `[dq, dk, dv]`.
pub(super) fn run(isa: Isa, x: Inputs<'_>, saved: Saved<'_>, gradients: [&mut [f32]; 3]) {
    let Dims { batch, heads, queries, keys, width } = x.dims;
    let attended: Vec<_> = (0..batch).map(|b| x.attended(b)).collect();
    let tokens: Vec<usize> = (0..queries).collect();
    let [dq, dk, dv] = gradients;
    let dq = split_heads(dq, [batch, queries, heads, width]);
    let [dk, dv] = [dk, dv].map(|g| split_heads(g, [batch, keys, heads, width]));
    let tasks = dq.into_par_iter().zip(dk).zip(dv).enumerate();
    let tasks = tasks.with_min_len(tasks_of(10 * queries * keys * width));
    tasks.for_each_init(Scratch::default, |scratch, (index, ((dq, dk), dv))| {
        let at = [index / heads, index % heads];
        let query = |data| Head::new(data, at, [queries, heads, width]);
        let key = |data| Head::new(data, at, [keys, heads, width]);
        let operands = Operands {
            q: query(x.q),
            k: key(x.k),
            v: key(x.v),
            out: query(saved.out),
            dout: query(saved.dout),
            lse: &saved.lse[index * queries..(index + 1) * queries],
            tokens: &tokens,
            picks: &attended[at[0]],
            width,
            scale: x.scale,
        };
        dispatch(isa, Gradients { operands, scratch, dq, dk, dv });
    });
}

/// One head.
#[derive(Clone, Copy)]
struct Operands<'a> {
    q: Head<'a>,
    k: Head<'a>,
    v: Head<'a>,
    out: Head<'a>,
    dout: Head<'a>,
    lse: &'a [f32],
    /// All queries.
    tokens: &'a [usize],
    /// The keys that are attended to.
    picks: &'a [usize],
    width: usize,
    scale: f32,
}

/// What a thread keeps from head to head.
#[derive(Default)]
struct Scratch {
    queries: Queries,
    keys: Keys,
    /// Probabilities of a pair of blocks, `[panels of queries][keys]`.
    p: [Vec<Row>; QUERY_PANELS],
    /// Gradients of its scores.
    ds: [Vec<Row>; QUERY_PANELS],
    /// `[width / 16][panels of queries * 16]`, over all keys.
    dq: Vec<Row>,
    /// `[width / 16][keys of a block]`, over all queries.
    dk: Vec<Row>,
    /// As `dk`.
    dv: Vec<Row>,
}

/// One head and where its gradients go, token by token.
struct Gradients<'a, 'o> {
    operands: Operands<'a>,
    scratch: &'a mut Scratch,
    dq: Vec<&'o mut [f32]>,
    dk: Vec<&'o mut [f32]>,
    dv: Vec<&'o mut [f32]>,
}

impl Body for Gradients<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Operands { picks, width, scale, .. } = self.operands;
        let columns = width.div_ceil(PANEL);
        let scratch = self.scratch;
        scratch.queries.fill(s, &self.operands);
        let panels = scratch.queries.panels();
        clear(&mut scratch.dq, panels * PANEL * columns);
        for block in picks.chunks(KEY_BLOCK) {
            scratch.keys.fill(s, &self.operands, block);
            clear(&mut scratch.dk, block.len() * columns);
            clear(&mut scratch.dv, block.len() * columns);
            for first in (0..panels).step_by(QUERY_PANELS) {
                pair_of_blocks(s, scratch, first..(first + QUERY_PANELS).min(panels));
            }
            scatter(s, &scratch.dk, block, block.len(), scale, &mut self.dk);
            scatter(s, &scratch.dv, block, block.len(), 1.0, &mut self.dv);
        }
        scatter(s, &scratch.dq, self.operands.tokens, panels * PANEL, scale, &mut self.dq);
        let mut attended = picks.iter().copied().peekable();
        for (token, (dk, dv)) in self.dk.iter_mut().zip(&mut self.dv).enumerate() {
            if attended.next_if_eq(&token).is_none() {
                dk.fill(0.0);
                dv.fill(0.0);
            }
        }
    }
}

fn clear(rows: &mut Vec<Row>, len: usize) {
    rows.clear();
    rows.resize(len, [0.0; PANEL]);
}

/// The queries of a head, packed for all of its blocks.
#[derive(Default)]
struct Queries {
    count: usize,
    width: usize,
    /// `q` in units of `ln 2` and times the scale, transposed: `[panels][width]`.
    scores: Vec<Row>,
    /// `dout` transposed: `[panels][width]`.
    dprobabilities: Vec<Row>,
    /// `q`, `[width / 16][count]`.
    q: Vec<Row>,
    /// `dout`, `[width / 16][count]`.
    dout: Vec<Row>,
    /// `-lse` in units of `ln 2`, `[panels]`.
    minus_lse: Vec<Row>,
    /// `-dout . out`, `[panels]`.
    minus_d: Vec<Row>,
}

impl Queries {
    #[inline(always)]
    fn fill<S: Simd>(&mut self, s: S, x: &Operands<'_>) {
        (self.count, self.width) = (x.tokens.len(), x.width);
        let (panels, columns) = (self.count.div_ceil(PANEL), self.width.div_ceil(PANEL));
        for rows in [&mut self.scores, &mut self.dprobabilities] {
            rows.resize(panels * self.width, [0.0; PANEL]);
        }
        for rows in [&mut self.q, &mut self.dout] {
            rows.resize(self.count * columns, [0.0; PANEL]);
        }
        clear(&mut self.minus_lse, panels);
        clear(&mut self.minus_d, panels);
        for panel in 0..panels {
            let (tokens, rows) = (Tokens::panel(x.tokens, panel), panel * self.width..(panel + 1) * self.width);
            let place = [panel * PANEL, self.count];
            x.q.transposed(s, &tokens, x.scale * LOG2_E, &mut self.scores[rows.clone()]);
            x.q.columns(s, &tokens, place, &mut self.q);
            x.dout.transposed(s, &tokens, 1.0, &mut self.dprobabilities[rows]);
            x.dout.columns(s, &tokens, place, &mut self.dout);
            self.minus_d[panel] = x.dout.dots(s, x.out, &tokens, -1.0);
            for &token in tokens.ahead {
                x.out.prefetch(s, token);
            }
            for (i, &token) in tokens.now.iter().enumerate() {
                self.minus_lse[panel][i] = -x.lse[token] * LOG2_E;
            }
        }
    }

    fn panels(&self) -> usize {
        self.minus_lse.len()
    }
}

/// A block of keys, packed.
#[derive(Default)]
struct Keys {
    count: usize,
    /// `k` transposed, `[count / 16][width]`.
    k: Vec<Row>,
    /// `v` transposed, `[count / 16][width]`.
    v: Vec<Row>,
    /// `k`, `[width / 16][count]`
    columns: Vec<Row>,
}

impl Keys {
    #[inline(always)]
    fn fill<S: Simd>(&mut self, s: S, x: &Operands<'_>, block: &[usize]) {
        self.count = block.len();
        let panels = self.count.div_ceil(PANEL);
        for rows in [&mut self.k, &mut self.v] {
            rows.resize(panels * x.width, [0.0; PANEL]);
        }
        self.columns.resize(self.count * x.width.div_ceil(PANEL), [0.0; PANEL]);
        for panel in 0..panels {
            let (tokens, rows) = (Tokens::panel(block, panel), panel * x.width..(panel + 1) * x.width);
            x.k.transposed(s, &tokens, 1.0, &mut self.k[rows.clone()]);
            x.k.columns(s, &tokens, [panel * PANEL, self.count], &mut self.columns);
            x.v.transposed(s, &tokens, 1.0, &mut self.v[rows]);
        }
    }
}

/// Adds what the queries of `panels` and the block of keys contribute to `dq`, `dk` and `dv`.
///
/// Each of the five products is finished for the whole pair of blocks before the next begins, a panel of one operand
/// against all of the other: so the panel is read from the second-level cache once.
#[inline(always)]
fn pair_of_blocks<S: Simd>(s: S, scratch: &mut Scratch, panels: std::ops::Range<usize>) {
    let Scratch { queries, keys, p, ds, dq, dk, dv } = scratch;
    let (width, stride) = (queries.width, queries.panels() * PANEL);
    for slot in 0..panels.len() {
        p[slot].resize(keys.count, [0.0; PANEL]);
        ds[slot].resize(keys.count, [0.0; PANEL]);
    }
    let part = |panel: usize| panel * width..(panel + 1) * width;
    for key_panel in 0..keys.count.div_ceil(PANEL) {
        let block = key_panel * PANEL..((key_panel + 1) * PANEL).min(keys.count);
        let k = &keys.k[part(key_panel)];
        for (slot, panel) in panels.clone().enumerate() {
            probabilities(s, k, &queries.scores[part(panel)], &queries.minus_lse[panel], &mut p[slot][block.clone()]);
        }
    }
    for key_panel in 0..keys.count.div_ceil(PANEL) {
        let block = key_panel * PANEL..((key_panel + 1) * PANEL).min(keys.count);
        let v = &keys.v[part(key_panel)];
        for (slot, panel) in panels.clone().enumerate() {
            let (p, ds) = (&p[slot][block.clone()], &mut ds[slot][block.clone()]);
            dscores(s, v, &queries.dprobabilities[part(panel)], &queries.minus_d[panel], p, ds);
        }
    }
    let rows = panels.start * PANEL..(panels.end * PANEL).min(queries.count);
    for (c, dv) in dv.chunks_exact_mut(keys.count).enumerate() {
        add_by_keys(s, p, &queries.dout[c * queries.count..][rows.clone()], dv);
    }
    for (c, dk) in dk.chunks_exact_mut(keys.count).enumerate() {
        add_by_keys(s, ds, &queries.q[c * queries.count..][rows.clone()], dk);
    }
    for (c, k) in keys.columns.chunks_exact(keys.count).enumerate() {
        for (slot, panel) in panels.clone().enumerate() {
            let first = c * stride + panel * PANEL;
            add_by_queries(s, &ds[slot], k, &mut dq[first..first + PANEL]);
        }
    }
}

/// `p[j] = 2^(k[j] . q + minus_lse)` for sixteen queries and at most sixteen keys.
#[inline(always)]
fn probabilities<S: Simd>(s: S, k: &[Row], q: &[Row], minus_lse: &Row, p: &mut [Row]) {
    let start = load(s, minus_lse);
    for_column_groups!(p.len(), |FIRST, R| {
        let tile = by_columns::<S, FIRST, R>(s, start, k, q);
        for r in 0..R {
            if let Some(p) = p.get_mut(FIRST + r) {
                store(s, tile[r], p);
            }
        }
    });
    // Apart from the tile, whose registers leave none for the polynomial's coefficients.
    for p in p {
        let [low, high] = load(s, p);
        store(s, [s.exp2(low), s.exp2(high)], p);
    }
}

/// `ds[j] = p[j] * (v[j] . dout + minus_d)` for sixteen queries and at most sixteen keys.
#[inline(always)]
fn dscores<S: Simd>(s: S, v: &[Row], dout: &[Row], minus_d: &Row, p: &[Row], ds: &mut [Row]) {
    let start = load(s, minus_d);
    for_column_groups!(p.len(), |FIRST, R| {
        let tile = by_columns::<S, FIRST, R>(s, start, v, dout);
        for r in 0..R {
            if let (Some(p), Some(ds)) = (p.get(FIRST + r), ds.get_mut(FIRST + r)) {
                let p = load(s, p);
                store(s, [s.mul(p[0], tile[r][0]), s.mul(p[1], tile[r][1])], ds);
            }
        }
    });
}

/// `sums[i] += sum_j ds[j][i] * k[j]` for sixteen queries and sixteen columns.
#[inline(always)]
fn add_by_queries<S: Simd>(s: S, ds: &[Row], k: &[Row], sums: &mut [Row]) {
    for_column_groups!(PANEL, |FIRST, R| {
        let tile = by_columns::<S, FIRST, R>(s, [s.zero(); 2], ds, k);
        for r in 0..R {
            add(s, tile[r], &mut sums[FIRST + r]);
        }
    });
}

#[inline(always)]
fn add<S: Simd>(s: S, row: Pair<S>, sum: &mut Row) {
    let before = load(s, sum);
    store(s, [s.add(before[0], row[0]), s.add(before[1], row[1])], sum);
}

/// `sums[j] += sum_i weights[i][j] * rows[i]` over the queries of a block, for sixteen columns.
#[inline(always)]
fn add_by_keys<S: Simd>(s: S, weights: &[Vec<Row>], rows: &[Row], sums: &mut [Row]) {
    for_row_groups!(sums.len(), |first, R| {
        let mut tile = zeros::<S, R>(s);
        for (slot, rows) in rows.chunks(PANEL).enumerate() {
            let left = weights[slot][first..].first_chunk::<R>().expect("a group of rows of the block");
            tile = add_by_rows(s, tile, left, rows);
        }
        for r in 0..R {
            add(s, tile[r], &mut sums[first + r]);
        }
    });
}

/// Writes `[width / 16][block]` sums times `factor` to the rows of the block's tokens.
#[inline(always)]
fn scatter<S: Simd>(s: S, sums: &[Row], block: &[usize], stride: usize, factor: f32, rows: &mut [&mut [f32]]) {
    for (i, &token) in block.iter().enumerate() {
        if let Some(&later) = block.get(i + LANES) {
            prefetch(s, rows[later]);
        }
        unpack(s, sums, [i, stride], factor, rows[token]);
    }
}
