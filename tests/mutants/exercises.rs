//! What kernels are run with to show that they are broken: the catalog's shapes, and those beyond them that lead into
//! every path: rows that a block shares, several tiles of terms, keys and queries with a tail after each, lines next to
//! which there is NaN.
//!
//! The emulated device has one multiprocessor here (`FLG_EMULATOR_MULTIPROCESSORS`): small products are then worth the
//! largest tilings, and threads go round the loops over what a large grid would have had a thread each for.

use flg_kernels::attention::{Dims, Forward, forward};
use flg_kernels::catalog::{KERNELS, Kernel, Problem, Stored, operands};
use flg_kernels::{DType, Runtime};

use super::devices;
use super::wide;

/// How results are judged, and what the operands are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// By the reference.
    Reference,
    /// By the reference, where every second row of the operands begins with NaN: what reads beyond the terms of a row
    /// reads that of the next.
    Poisoned,
    /// By the plain path of the host, where the reference takes too long.
    Host,
    /// Attention with a negative scale, by the plain path of the host: the catalog has none.
    NegativeScale,
}

/// One problem.
pub(super) struct Exercise {
    kernel: &'static dyn Kernel,
    variant: &'static str,
    shape: Vec<usize>,
    dtype: DType,
    manner: Manner,
}

/// Everything that there is to run, in an order that does not change.
pub(super) fn all() -> Vec<Exercise> {
    let mut all = Vec::new();
    for &kernel in KERNELS {
        for &variant in kernel.variants() {
            for &dtype in kernel.dtypes() {
                let listed = kernel.shapes().iter().map(|shape| (shape.to_vec(), Manner::Reference));
                let further = further(kernel.name(), variant, dtype);
                all.extend(listed.chain(further).map(|(shape, manner)| Exercise {
                    kernel,
                    variant,
                    shape,
                    dtype,
                    manner,
                }));
            }
        }
    }
    all
}

/// Shapes beyond those that the catalog lists.
fn further(name: &str, variant: &str, dtype: DType) -> Vec<(Vec<usize>, Manner)> {
    if wide::NAMES.contains(&name) {
        return wide::SHAPES.iter().map(|shape| (shape.to_vec(), Manner::Host)).collect();
    }
    match (name, variant) {
        ("gemm", "nn" | "nt" | "tn") => products(variant, dtype),
        ("gemm", "nt_bf16_weights") => [63, 127].map(|side| (vec![1, side, 44, side], Manner::Reference)).into(),
        ("attention", _) => attention(variant, dtype),
        // Sums over rows in several pieces, by vectors and without.
        ("gated_add", "backward") => [[1, 300, 20], [2, 129, 9]].map(|shape| (shape.into(), Manner::Reference)).into(),
        // A row of a block, and one that is wider than a block keeps.
        ("rms_norm_rope", _) => [[2, 40, 4, 130], [1, 3, 2, 1300]].map(|shape| (shape.into(), Manner::Host)).into(),
        _ => Vec::new(),
    }
}

/// Products `[batch, m, k, n]` for every tiling: each with sums that end in its first tile of terms, in another one that
/// is brought before the loop, and in those that the loop brings; in each behind every line that a thread may copy, so
/// that the first one which is not there lies right behind the operand, and not in some other.
fn products(layout: &str, dtype: DType) -> Vec<(Vec<usize>, Manner)> {
    let (tiles, terms): (&[[usize; 2]], &[usize]) = match dtype {
        DType::Bf16 => {
            (&[[64, 64], [128, 128], [128, 256]], &[8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128])
        }
        _ => (&[[64, 64], [128, 128]], &[4, 8, 12, 16, 20, 24, 28, 32]),
    };
    let line = if dtype == DType::Bf16 { 8 } else { 4 };
    let mut shapes = Vec::new();
    for [m, n] in tiles {
        for &k in terms {
            // With terms side by side in neither operand their number is any.
            let k = if layout == "tn" { k - line + 1 } else { k };
            let manner = if layout == "tn" { Manner::Reference } else { Manner::Poisoned };
            shapes.push((vec![1, m - line, k, n - line], manner));
        }
    }
    // Lines that begin anywhere.
    let sides: &[usize] = if dtype == DType::Bf16 { &[61] } else { &[61, 125] };
    shapes.extend(sides.iter().flat_map(|&side| [5, 33, 139].map(|k| (vec![1, side, k, side + 2], Manner::Reference))));
    shapes
}

/// Attention `[batch, heads, queries, keys, width]` for every kernel: one token of each, none to attend to, one more
/// than a tile and than several, in heads as wide as the tiles, narrower, and of an odd width.
fn attention(variant: &str, dtype: DType) -> Vec<(Vec<usize>, Manner)> {
    let widths: &[usize] = if dtype == DType::Bf16 { &[32, 64, 96, 128, 256] } else { &[64, 128, 160] };
    let mut shapes = Vec::new();
    for &width in widths {
        shapes.extend([[1, 1, width], [1, 0, width], [33, 65, width], [131, 130, width - 8], [35, 70, width - 1]]);
    }
    // One token more than each turn of a block copies: see `products`.
    for &width in widths.iter().filter(|_| dtype == DType::Bf16) {
        let turn = 128 / (width / 8usize).next_power_of_two();
        shapes.extend((1..128 / turn).map(|turns| [turns * turn + 1, turns * turn + 1, width]));
    }
    let mut exercises: Vec<_> = shapes
        .into_iter()
        .map(|[queries, keys, width]| (vec![1, 1, queries, keys, width], Manner::Reference))
        .collect();
    if variant == "forward" {
        exercises.extend(widths.iter().map(|&width| (vec![1, 2, 67, 70, width], Manner::NegativeScale)));
    }
    exercises
}

impl Exercise {
    /// Its name, for messages.
    pub(super) fn name(&self) -> String {
        let Exercise { kernel, variant, shape, dtype, manner } = self;
        format!("{}/{variant} {shape:?} {dtype} {manner:?}", kernel.name())
    }

    fn problem(&self) -> Box<dyn Problem> {
        let mut problem = self.kernel.problem(self.variant, &self.shape, self.dtype, 1);
        if self.manner == Manner::Poisoned {
            // The operands that have their terms side by side: both in `nt`, else the first.
            let count = if self.variant == "nt" { 2 } else { 1 };
            problem.operands().into_iter().take(count).for_each(|operand| poison(operand, self.shape[2]));
        }
        problem
    }

    /// Runs it without a look at the results.
    pub(super) fn launch(&self, rt: &Runtime) {
        if self.manner == Manner::NegativeScale {
            self.negative_scale(rt);
            return;
        }
        let mut problem = self.problem();
        problem.move_to(rt).and_then(|()| problem.run(rt)).unwrap_or_else(|error| panic!("{}: {error}", self.name()));
        self.finish(rt);
    }

    /// Waits for what was launched.
    fn finish(&self, rt: &Runtime) {
        let Runtime::Cuda(gpu) = rt else { return };
        gpu.synchronize().unwrap_or_else(|error| panic!("{}: {error}", self.name()));
    }

    /// Panics where anything is wrong.
    pub(super) fn check(&self, rt: &Runtime) {
        match self.manner {
            Manner::Reference | Manner::Poisoned => self.check_by_reference(rt),
            Manner::Host => {
                let [want, got] = [&Runtime::portable(), rt].map(|rt| wide::on(self.problem(), rt));
                self.assert_near(&want, &got, wide::tolerance(&self.shape, self.dtype));
            }
            Manner::NegativeScale => {
                let [want, got] = [&Runtime::portable(), rt].map(|rt| self.negative_scale(rt));
                let tolerance = if self.dtype == DType::Bf16 { 1.0 / 64.0 } else { 1e-5 };
                self.assert_near(&want, &got, tolerance);
            }
        }
        devices::assert_no_reports(&self.name());
    }

    fn check_by_reference(&self, rt: &Runtime) {
        let at = self.name();
        let mut problem = self.problem();
        problem.move_to(rt).and_then(|()| problem.run(rt)).unwrap_or_else(|error| panic!("{at}: {error}"));
        self.finish(rt);
        // Before the results, because it says more.
        devices::assert_no_reports(&at);
        for ((name, got), want) in problem.outputs().iter().zip(problem.expected()) {
            for (i, (&got, &value)) in got.iter().zip(&want.value).enumerate() {
                let near = (f64::from(got) - value).abs() <= want.bound(i, self.dtype);
                let as_expected = if value.is_nan() { got.is_nan() } else { near };
                assert!(as_expected, "{at}: {name}[{i}] = {got}, not {value}");
            }
        }
    }

    fn assert_near(&self, want: &[(&str, Vec<f32>)], got: &[(&str, Vec<f32>)], tolerance: f64) {
        let at = self.name();
        devices::assert_no_reports(&at);
        for ((name, want), (_, got)) in want.iter().zip(got) {
            let largest = want.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            assert!(largest.is_finite() && largest > 0.0 && got.len() == want.len(), "{at}: {name}");
            for (i, (got, want)) in got.iter().zip(want).enumerate() {
                let near = f64::from((got - want).abs()) <= tolerance * f64::from(largest);
                assert!(near, "{at}: {name}[{i}] = {got}, not {want}");
            }
        }
    }

    fn negative_scale(&self, rt: &Runtime) -> Vec<(&'static str, Vec<f32>)> {
        let [batch, heads, queries, keys, width] = [0, 1, 2, 3, 4].map(|i| self.shape[i]);
        let stored = |stream: u64, tokens: usize| {
            Stored::new(operands(1, stream, batch * tokens * heads * width), self.dtype).on(rt).expect("room")
        };
        let (q, k, v) = (stored(0, queries), stored(1, keys), stored(2, keys));
        let mut out = stored(3, queries);
        let mut lse = Stored::unwritten(batch * heads * queries, DType::F32).on(rt).expect("room");
        let args = Forward {
            q: q.input(),
            k: k.input(),
            v: v.input(),
            key_mask: None,
            out: out.output(),
            lse: lse.output(),
            dims: Dims { batch, heads, queries, keys, width },
            scale: -1.0 / (width as f32).sqrt(),
        };
        forward(rt, args).unwrap_or_else(|error| panic!("{}: {error}", self.name()));
        vec![("out", out.f32()), ("lse", lse.f32())]
    }
}

/// NaN at the beginning of every second row of `terms` elements.
fn poison(operand: &mut Stored, terms: usize) {
    let mut values = operand.f32();
    values.chunks_mut(terms).skip(1).step_by(2).for_each(|row| row[0] = f32::NAN);
    *operand = Stored::new(values, operand.input().dtype());
}
