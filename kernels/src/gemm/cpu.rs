//! The product on the CPU, split by rows of `c`.

use super::epilogue::Rows;
use super::{Batch, Dims, Layout, Write};
use crate::In;
use crate::runtime::cpu::for_rows;
use crate::simd::{Body, Isa, LANES, Simd, dispatch};

/// One product and what is done to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product<'a> {
    pub a: In<'a>,
    pub b: In<'a>,
    pub layout: Layout,
    pub dims: Dims,
    pub write: Write,
    pub epilogue: Rows<'a>,
}

/// Runs every product of the batch.
pub(super) fn run(isa: Isa, product: Product<'_>, batch: Batch, c: &mut [f32], preactivation: Option<&mut [f32]>) {
    let Dims { m, n, k } = product.dims;
    if m * n == 0 {
        return;
    }
    let (a, b) = (product.a.widen(), product.b.widen());
    if let Some(u) = preactivation {
        let linear = Rows { bias: product.epilogue.bias, activation: super::Activation::None, ..NOTHING };
        rows(isa, Product { epilogue: linear, ..product }, &a, &b, u);
    }
    for i in 0..batch.count {
        let (a, b) = (&a[i * batch.stride_a..][..m * k], &b[i * batch.stride_b..][..k * n]);
        rows(isa, product, a, b, &mut c[i * batch.stride_c..][..m * n]);
    }
}

const NOTHING: Rows<'static> =
    Rows { bias: None, activation: super::Activation::None, residual: None, gate: None, rows_per_group: 1 };

fn rows(isa: Isa, product: Product<'_>, a: &[f32], b: &[f32], c: &mut [f32]) {
    let Dims { n, k, .. } = product.dims;
    for_rows(c, n, 2 * n * k, |first, c| {
        for (i, c) in c.chunks_mut(n).enumerate() {
            dispatch(isa, Row { product, a, b, c, row: first + i });
        }
    });
}

struct Row<'a> {
    product: Product<'a>,
    a: &'a [f32],
    b: &'a [f32],
    c: &'a mut [f32],
    row: usize,
}

impl Body for Row<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Row { product, a, b, c, row } = self;
        let (Dims { m, n, k }, Rows { bias, activation, residual, gate, rows_per_group }) =
            (product.dims, product.epilogue);
        let mut sums = vec![0.0f32; n];
        for p in 0..k {
            let a = if product.layout == Layout::TN { a[p * m + row] } else { a[row * k + p] };
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum += a * if product.layout == Layout::NT { b[j * k + p] } else { b[p * n + j] };
            }
        }
        for (j, (c, sum)) in c.chunks_mut(LANES).zip(sums.chunks(LANES)).enumerate() {
            let at = j * LANES..j * LANES + c.len();
            let read = |x: &[f32], row: usize| s.load_partial(&x[row * n..][at.clone()], 0.0);
            let mut y = s.load_partial(sum, 0.0);
            y = bias.map_or(y, |x| s.add(y, read(x, 0)));
            y = activation.apply(s, y);
            y = gate.map_or(y, |x| s.mul(y, read(x, row / rows_per_group)));
            y = residual.map_or(y, |x| s.add(y, read(x, row)));
            if product.write == Write::Accumulate {
                y = s.add(y, s.load_partial(c, 0.0));
            }
            s.store_partial(y, c);
        }
    }
}
