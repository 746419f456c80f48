//! Backward on the CPU: blocks of keys, and for each all blocks of queries, five small products a pair of blocks.
//!
//! The probabilities come back from `lse`; they and their gradients exist for one pair of blocks at a time. A head is
//! one task, so the order of every sum is that of the loops below.

use std::f32::consts::LOG2_E;

use rayon::prelude::*;

use super::pack::{Head, split_heads, unpack};
use super::tile::{PANEL, Pair, Row, add_by_rows, by_columns, for_column_groups, for_row_groups, load, store, zeros};
use super::{Dims, Inputs, tasks_of};
use crate::simd::{Body, Isa, LANES, Simd, dispatch};

/// Keys of a block.
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
            scatter(s, &scratch.dk, block, scale, &mut self.dk);
            scatter(s, &scratch.dv, block, 1.0, &mut self.dv);
        }
        unpack(s, &scratch.dq, panels * PANEL, &mut self.dq, &vec![scale; self.operands.tokens.len()]);
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
    /// `lse` in units of `ln 2`, `[panels]`.
    lse: Vec<Row>,
    /// `dout . out`, `[panels]`.
    d: Vec<Row>,
}

impl Queries {
    #[inline(always)]
    fn fill<S: Simd>(&mut self, s: S, x: &Operands<'_>) {
        (self.count, self.width) = (x.tokens.len(), x.width);
        x.q.transposed(s, x.tokens, x.scale * LOG2_E, &mut self.scores);
        x.dout.transposed(s, x.tokens, 1.0, &mut self.dprobabilities);
        x.q.columns(x.tokens, &mut self.q);
        x.dout.columns(x.tokens, &mut self.dout);
        clear(&mut self.lse, self.count.div_ceil(PANEL));
        clear(&mut self.d, self.count.div_ceil(PANEL));
        for &i in x.tokens {
            self.lse[i / PANEL][i % PANEL] = x.lse[i] * LOG2_E;
            self.d[i / PANEL][i % PANEL] = dot(s, x.dout.token(i), x.out.token(i));
        }
    }

    fn panels(&self) -> usize {
        self.lse.len()
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
        x.k.transposed(s, block, 1.0, &mut self.k);
        x.v.transposed(s, block, 1.0, &mut self.v);
        x.k.columns(block, &mut self.columns);
    }
}

#[inline(always)]
fn dot<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f32 {
    let mut sum = s.zero();
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        sum = s.mul_add(s.load_partial(a, 0.0), s.load_partial(b, 0.0), sum);
    }
    s.sum(sum)
}

/// Adds what the queries of `panels` and the block of keys contribute to `dq`, `dk` and `dv`.
#[inline(always)]
fn pair_of_blocks<S: Simd>(s: S, scratch: &mut Scratch, panels: std::ops::Range<usize>) {
    let Scratch { queries, keys, p, ds, dq, dk, dv } = scratch;
    let (width, stride) = (queries.width, queries.panels() * PANEL);
    for (slot, panel) in panels.clone().enumerate() {
        let rows = panel * width..(panel + 1) * width;
        let (p, ds) = (&mut p[slot], &mut ds[slot]);
        p.resize(keys.count, [0.0; PANEL]);
        ds.resize(keys.count, [0.0; PANEL]);
        probabilities(s, &keys.k, &queries.scores[rows.clone()], &queries.lse[panel], p);
        dscores(s, &keys.v, &queries.dprobabilities[rows], &queries.d[panel], p, ds);
        for (c, k) in keys.columns.chunks_exact(keys.count).enumerate() {
            let first = c * stride + panel * PANEL;
            add_by_queries(s, ds, k, &mut dq[first..first + PANEL]);
        }
    }
    let rows = panels.start * PANEL..(panels.end * PANEL).min(queries.count);
    for (c, (dk, dv)) in dk.chunks_exact_mut(keys.count).zip(dv.chunks_exact_mut(keys.count)).enumerate() {
        let rows = c * queries.count + rows.start..c * queries.count + rows.end;
        add_by_keys(s, p, &queries.dout[rows.clone()], dv);
        add_by_keys(s, ds, &queries.q[rows], dk);
    }
}

/// `p[j] = 2^(k[j] . q - lse)` for sixteen queries.
#[inline(always)]
fn probabilities<S: Simd>(s: S, k: &[Row], q: &[Row], lse: &Row, p: &mut [Row]) {
    let lse = load(s, lse);
    for (panel, p) in p.chunks_mut(PANEL).enumerate() {
        let k = &k[panel * q.len()..(panel + 1) * q.len()];
        for_column_groups!(p.len(), |FIRST, R| {
            let tile = by_columns::<S, FIRST, R>(s, k, q);
            for r in 0..R {
                if let Some(p) = p.get_mut(FIRST + r) {
                    store(s, [s.exp2(s.sub(tile[r][0], lse[0])), s.exp2(s.sub(tile[r][1], lse[1]))], p);
                }
            }
        });
    }
}

/// `ds[j] = p[j] * (v[j] . dout - d)` for sixteen queries.
#[inline(always)]
fn dscores<S: Simd>(s: S, v: &[Row], dout: &[Row], d: &Row, p: &[Row], ds: &mut [Row]) {
    let d = load(s, d);
    for (panel, (p, ds)) in p.chunks(PANEL).zip(ds.chunks_mut(PANEL)).enumerate() {
        let v = &v[panel * dout.len()..(panel + 1) * dout.len()];
        for_column_groups!(p.len(), |FIRST, R| {
            let tile = by_columns::<S, FIRST, R>(s, v, dout);
            for r in 0..R {
                if let (Some(p), Some(ds)) = (p.get(FIRST + r), ds.get_mut(FIRST + r)) {
                    let p = load(s, p);
                    store(s, [s.mul(p[0], s.sub(tile[r][0], d[0])), s.mul(p[1], s.sub(tile[r][1], d[1]))], ds);
                }
            }
        });
    }
}

/// `sums[i] += sum_j ds[j][i] * k[j]` for sixteen queries and sixteen columns.
#[inline(always)]
fn add_by_queries<S: Simd>(s: S, ds: &[Row], k: &[Row], sums: &mut [Row]) {
    for_column_groups!(PANEL, |FIRST, R| {
        let tile = by_columns::<S, FIRST, R>(s, ds, k);
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

/// Writes a block's `[width / 16][block]` sums times `factor` to the rows of its keys.
#[inline(always)]
fn scatter<S: Simd>(s: S, sums: &[Row], block: &[usize], factor: f32, rows: &mut [&mut [f32]]) {
    for (i, &token) in block.iter().enumerate() {
        unpack(s, &sums[i.min(sums.len())..], block.len(), &mut rows[token..token + 1], &[factor]);
    }
}
