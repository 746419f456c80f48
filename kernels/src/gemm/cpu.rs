//! The product on the CPU: tasks and who computes them.
//!
//! A task is a block of rows of `c`; it reads panels of `b` that were packed before, and is [`Block`]. Items of a batch
//! and chunks of a long sum are whole products of their own, side by side.

use std::ops::Range;

use rayon::prelude::*;

use super::block::Block;
use super::epilogue::Epilogue;
use super::pack::{Operand, Order, pack};
use super::plan::{GRAIN, Plan, Tiling, chunks, packs_a, work};
use super::{Batch, Dims, Write, buffer};
use crate::In;
use crate::simd::{Body, Isa, Simd, WIDE, dispatch, dispatch_wide};

/// One product and what is done to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product<'a> {
    pub a: Operand<'a>,
    pub b: Operand<'a>,
    pub dims: Dims,
    pub write: Write,
    pub epilogue: Epilogue<'a>,
}

/// What computes a product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    pub isa: Isa,
    pub tiling: Tiling,
}

impl Machine {
    /// The tiling that suits an instruction set.
    pub(super) fn new(isa: Isa) -> Self {
        Machine { isa, tiling: Tiling::of(isa) }
    }
}

/// Runs every product of the batch.
pub(super) fn run(on: Machine, product: Product<'_>, batch: Batch, c: &mut [f32], preactivation: Option<&mut [f32]>) {
    let Dims { m, n, k } = product.dims;
    if m * n == 0 || batch.count == 0 {
        return;
    }
    if batch.count == 1 {
        return one(on, product, c, preactivation);
    }
    let item = |(i, c): (usize, &mut [f32])| {
        let (a, b) = (product.a.skip(i * batch.stride_a), product.b.skip(i * batch.stride_b));
        one(on, Product { a, b, ..product }, &mut c[..m * n], None);
    };
    // A task is at least a few items of small products, and at least one of large ones.
    let items = GRAIN.div_ceil(work(m, n, k).max(1));
    if items >= batch.count {
        c.chunks_mut(batch.stride_c).enumerate().for_each(item);
    } else {
        c.par_chunks_mut(batch.stride_c).enumerate().with_min_len(items).for_each(item);
    }
}

fn one(on: Machine, product: Product<'_>, c: &mut [f32], preactivation: Option<&mut [f32]>) {
    let plain = preactivation.is_none() && product.epilogue.is_nothing();
    match chunks(product.dims) {
        count if count > 1 && plain && product.b.order != Order::Panels => chunked(on, product, count, c),
        _ => whole(on, product, c, preactivation),
    }
}

/// Computes chunks of the sum side by side and adds them up in order.
fn chunked(on: Machine, product: Product<'_>, count: usize, c: &mut [f32]) {
    let Dims { m, n, k } = product.dims;
    let step = k.div_ceil(count);
    buffer::with(&buffer::PARTIALS, count * m * n, |partials| {
        partials.par_chunks_mut(m * n).enumerate().for_each(|(i, partial)| {
            let steps = i * step..((i + 1) * step).min(k);
            let (a, b) = (product.a.skip_steps(steps.start), product.b.skip_steps(steps.start));
            let dims = Dims { k: steps.len(), ..product.dims };
            whole(on, Product { a, b, dims, write: Write::Overwrite, ..product }, partial, None);
        });
        let (sum, rest) = partials.split_at_mut(m * n);
        for partial in rest.chunks(m * n) {
            add(sum, partial);
        }
        match product.write {
            Write::Overwrite => c.copy_from_slice(sum),
            Write::Accumulate => add(c, sum),
        }
    });
}

fn add(to: &mut [f32], x: &[f32]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += x);
}

/// Packs `b`, then computes the blocks of rows; for as many columns at a time as packed `b` may have.
fn whole(on: Machine, product: Product<'_>, c: &mut [f32], mut preactivation: Option<&mut [f32]>) {
    let Dims { n, k, .. } = product.dims;
    let (plan, width) = (Plan::new(product.dims, on.tiling), on.tiling.columns());
    for first in (0..n).step_by(plan.columns) {
        let columns = first..(first + plan.columns).min(n);
        let len = columns.len().next_multiple_of(width) * k;
        let mut multiply = |panels: &[f32]| {
            let columns = columns.clone();
            Rows { on, product, plan, columns, panels }.multiply(c, preactivation.as_deref_mut());
        };
        match (product.b.order, product.b.data) {
            (Order::Panels, In::F32(panels)) => multiply(&panels[first * k..][..len]),
            _ => buffer::with(&buffer::B, len, |panels| {
                pack_b(on, product.b, columns.clone(), k, panels);
                multiply(panels);
            }),
        }
    }
}

/// Fills the panels of `columns` of `b`.
pub(super) fn pack_b(on: Machine, b: Operand<'_>, columns: Range<usize>, k: usize, panels: &mut [f32]) {
    /// Columns of a task, a multiple of every tile's.
    const GROUP: usize = 4 * WIDE;
    /// Elements that are worth a task; packing moves them at about one a cycle.
    const GRAIN: usize = 1 << 17;
    if k == 0 {
        return;
    }
    let group = |(i, panels): (usize, &mut [f32])| {
        let first = columns.start + i * GROUP;
        let columns = first..(first + GROUP).min(columns.end);
        dispatch(on.isa, PackB { b, columns, k, panels, tiling: on.tiling });
    };
    if panels.len() <= GRAIN {
        panels.chunks_mut(GROUP * k).enumerate().for_each(group);
    } else {
        panels.par_chunks_mut(GROUP * k).enumerate().with_min_len(GRAIN.div_ceil(GROUP * k)).for_each(group);
    }
}

struct PackB<'a> {
    b: Operand<'a>,
    columns: Range<usize>,
    k: usize,
    panels: &'a mut [f32],
    tiling: Tiling,
}

impl Body for PackB<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        const ONE: usize = Tiling::Registers16.columns();
        const TWO: usize = Tiling::Registers32.columns();
        match self.tiling {
            Tiling::Registers16 => pack::<S, ONE>(s, self.b, self.columns, 0..self.k, self.panels),
            Tiling::Registers32 => pack::<S, TWO>(s, self.b, self.columns, 0..self.k, self.panels),
        }
    }
}

/// All rows of a product, for columns whose panels of `b` are packed.
struct Rows<'a> {
    on: Machine,
    product: Product<'a>,
    plan: Plan,
    columns: Range<usize>,
    panels: &'a [f32],
}

impl Rows<'_> {
    fn multiply(&self, c: &mut [f32], preactivation: Option<&mut [f32]>) {
        let rows = self.plan.rows * self.product.dims.n;
        match preactivation {
            _ if rows >= c.len() => self.block(0, c, preactivation),
            None => {
                let pieces = c.par_chunks_mut(rows).enumerate().with_max_len(1);
                pieces.for_each(|(i, c)| self.block(i, c, None));
            }
            Some(u) => {
                let pieces = c.par_chunks_mut(rows).zip(u.par_chunks_mut(rows)).enumerate().with_max_len(1);
                pieces.for_each(|(i, (c, u))| self.block(i, c, Some(u)));
            }
        }
    }

    fn block(&self, index: usize, c: &mut [f32], preactivation: Option<&mut [f32]>) {
        match self.on.tiling {
            Tiling::Registers16 => self.block_of::<6, 1>(index, c, preactivation),
            Tiling::Registers32 => self.block_of::<14, 2>(index, c, preactivation),
        }
    }

    fn block_of<const MR: usize, const NV: usize>(
        &self,
        index: usize,
        c: &mut [f32],
        preactivation: Option<&mut [f32]>,
    ) {
        let Rows { on, product, plan, .. } = self;
        let packed = if packs_a(product.a, product.dims.n) { plan.rows * plan.steps } else { 0 };
        buffer::with(&buffer::A, packed, |scratch| {
            let block = Block::<MR, NV> {
                product,
                first_row: index * plan.rows,
                columns: self.columns.clone(),
                steps: plan.steps,
                b: self.panels,
                scratch: (packed > 0).then_some(scratch),
                c,
                preactivation,
            };
            dispatch_wide(on.isa, block);
        });
    }
}
