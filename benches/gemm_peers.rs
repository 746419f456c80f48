//! Our matrix product beside those of the crates `gemm` and `matrixmultiply`, on one thread, at the shapes of
//! `flg bench --kernels`: `cargo bench --bench gemm_peers -- nt/2048x384`.
//!
//! They are here to be compared with, and nowhere else: `deny.toml` keeps them out of every crate of ours.

mod table;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use flg_kernels::catalog::{Work, operands};
use flg_kernels::gemm::{self as ours, Args, Batch, Dims, Epilogue, Layout, Write};
use flg_kernels::{In, Out, Runtime};
use flg_train::bench::PEERS;
use table::{SAMPLES, Table};

/// One product, `c = op(a) op(b)`.
struct Product {
    layout: Layout,
    dims: Dims,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

/// What computes it.
type Side = fn(&mut Product);

const SIDES: &[(&str, Side)] =
    &[("ours", Product::ours), ("gemm", Product::gemm), ("matrixmultiply", Product::matrixmultiply)];

impl Product {
    fn new(layout: Layout, dims: Dims) -> Self {
        let Dims { m, k, n } = dims;
        Product { layout, dims, a: operands(0, 0, m * k), b: operands(0, 1, k * n), c: vec![0.0; m * n] }
    }

    /// Strides of rows and columns of `op(a)` and of `op(b)`, for whom a transposed operand is another stride.
    fn strides(&self) -> [[isize; 2]; 2] {
        let [m, k, n] = [self.dims.m, self.dims.k, self.dims.n].map(usize::cast_signed);
        match self.layout {
            Layout::NN => [[k, 1], [n, 1]],
            Layout::NT => [[k, 1], [1, k]],
            Layout::TN => [[1, m], [n, 1]],
            Layout::NP => unreachable!("peers pack their operands themselves"),
        }
    }

    fn ours(&mut self) {
        let args = Args {
            a: In::F32(&self.a),
            b: In::F32(&self.b),
            c: Out::F32(&mut self.c),
            layout: self.layout,
            dims: self.dims,
            batch: Batch::one(),
            write: Write::Overwrite,
            epilogue: Epilogue::default(),
        };
        ours::gemm(&Runtime::cpu(), args).expect("lengths are those of `new`");
    }

    fn gemm(&mut self) {
        let Dims { m, k, n } = self.dims;
        let ([[a_row, a_column], [b_row, b_column]], c_row) = (self.strides(), n.cast_signed());
        let (a, b, c) = (self.a.as_ptr(), self.b.as_ptr(), self.c.as_mut_ptr());
        let one_thread = gemm::Parallelism::None;
        // SAFETY: `new` made a, b and c of m k, k n and m n elements, which is what these extents and strides reach; c
        // is a vector of its own, so it overlaps neither.
        unsafe {
            gemm::gemm(
                m, n, k, c, 1, c_row, false, a, a_column, a_row, b, b_column, b_row, 0.0, 1.0, false, false, false,
                one_thread,
            );
        }
    }

    fn matrixmultiply(&mut self) {
        let Dims { m, k, n } = self.dims;
        let ([[a_row, a_column], [b_row, b_column]], c_row) = (self.strides(), n.cast_signed());
        let (a, b, c) = (self.a.as_ptr(), self.b.as_ptr(), self.c.as_mut_ptr());
        // SAFETY: as in `gemm`.
        unsafe { matrixmultiply::sgemm(m, k, n, 1.0, a, a_row, a_column, b, b_row, b_column, 0.0, c, c_row, 1) }
    }

    /// Runs `side` over a result that it must replace.
    fn result(&mut self, side: Side) -> Vec<f32> {
        self.c.fill(f32::NAN);
        side(self);
        self.c.clone()
    }

    /// Who computes something else is not a peer. Operands are at most 2, so sums of k terms are below 4 k.
    fn check(&mut self) {
        let bound = 4.0 * self.dims.k as f32 * 1e-6;
        let expected = self.result(Product::ours);
        for &(name, side) in SIDES {
            let agrees = self.result(side).iter().zip(&expected).all(|(x, y)| (x - y).abs() <= bound);
            assert!(agrees, "{name} computes another product at {:?}", self.dims);
        }
    }
}

fn peers(c: &mut Criterion) {
    // On the thread that calls, so that no call waits to be handed to a pool: the peers' do not either.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
    pool.build_global().expect("nothing has used the pool before");
    let mut table = Table::new(&Runtime::cpu(), 1);
    for call in PEERS.iter().flat_map(|peers| peers.calls()).filter(|call| call.kernel().name() == "gemm") {
        let (layout, &[1, m, k, n]) = (call.variant(), call.shape()) else { continue };
        let layout = match layout {
            "nn" => Layout::NN,
            "nt" => Layout::NT,
            _ => Layout::TN,
        };
        let dims = Dims { m, k, n };
        let mut product = Product::new(layout, dims);
        product.check();
        let mut group = c.benchmark_group(call.name());
        let work: Work = call.work();
        for &(name, side) in SIDES {
            table.time(&mut group, name, work, || side(&mut product));
        }
        group.finish();
        table.print(&call.name());
    }
}

/// Shorter than criterion's default: there are 72 benches, and a reader compares neighbours.
fn config() -> Criterion {
    Criterion::default()
        .sample_size(SAMPLES)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group!(name = benches; config = config(); targets = peers);
criterion_main!(benches);
