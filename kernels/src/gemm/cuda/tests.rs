//! What the catalog's shapes do not reach: every tiling at sizes of several blocks, lines that start anywhere, batches
//! that share an operand, sums in chunks with an epilogue.

use super::*;
use crate::catalog::{Expected, Stored, operands};
use crate::gemm::{Activation, Batch, Gated, reference};
use crate::runtime::gpu_of_tests;
use crate::{Out, Runtime};

fn gpu() -> &'static Gpu {
    match gpu_of_tests() {
        Some(Runtime::Cuda(gpu)) => gpu,
        _ => unreachable!("built with the feature `cuda`"),
    }
}

/// Values on the GPU that begin `first` elements behind an aligned address, and what was rounded there.
struct Held {
    memory: Memory,
    values: Vec<f64>,
    first: usize,
    dtype: DType,
}

impl Held {
    fn new(values: Vec<f32>, dtype: DType, first: usize) -> Self {
        let padded: Vec<f32> = vec![777.0; first].into_iter().chain(values).collect();
        let stored = Stored::new(padded, dtype);
        let values = stored.f64().split_off(first);
        let Stored::Cuda { memory, .. } = stored.on_gpu(gpu(), 0).unwrap() else { unreachable!() };
        Held { memory, values, first, dtype }
    }

    fn random(stream: u64, len: usize, dtype: DType, first: usize) -> Self {
        Held::new(operands(5, stream, len), dtype, first)
    }

    fn input(&self) -> In<'_> {
        In::Cuda(self.memory.slice(self.first, self.values.len(), self.dtype))
    }

    fn output(&mut self) -> Out<'_> {
        Out::Cuda(self.memory.slice_mut(self.first, self.values.len(), self.dtype))
    }

    /// What is there now.
    fn now(&mut self) -> Vec<f32> {
        let (first, len, dtype) = (self.first, self.values.len(), self.dtype);
        let memory = std::mem::replace(&mut self.memory, Memory::new(gpu(), 0).unwrap());
        let stored = Stored::Cuda { memory, first: 0, len: first + len, dtype };
        let mut all = stored.f32();
        let Stored::Cuda { memory, .. } = stored else { unreachable!() };
        self.memory = memory;
        let inside = all.split_off(first);
        assert!(all.iter().all(|&x| Stored::new(vec![777.0], dtype).f32() == [x]), "written before the first element");
        inside
    }
}

fn assert_near(got: &[f32], want: &Expected, dtype: DType, at: &str) {
    assert_eq!(got.len(), want.value.len());
    for (i, (&got, &value)) in got.iter().zip(&want.value).enumerate() {
        let bound = want.bound(i, dtype);
        assert!((f64::from(got) - value).abs() <= bound, "{at}: [{i}] is {got}, expected {value} within {bound:e}");
    }
}

const LAYOUTS: [Layout; 3] = [Layout::NN, Layout::NT, Layout::TN];

/// Bias, gate and residual over `ab`, computed with each of `tilings`; all of them give the same bits.
fn check_tilings(tilings: &[&Tiling], layout: Layout, dims: Dims, dtypes: [DType; 3]) {
    let Dims { m, n, k } = dims;
    let a = Held::random(0, m * k, dtypes[0], 0);
    let b = Held::random(1, n * k, dtypes[1], 0);
    let [bias, gate] = [2, 3].map(|stream| Held::random(stream, n, dtypes[2], 0));
    let residual = Held::random(4, m * n, dtypes[2], 0);
    let (mut value, mut scale) = reference::product(layout, dims, &a.values, &b.values);
    for i in 0..m * n {
        let (bias, gate, residual) = (bias.values[i % n], gate.values[i % n], residual.values[i]);
        value[i] = residual + gate * (value[i] + bias);
        scale[i] = residual.abs() + gate.abs() * (scale[i] + bias.abs());
    }
    let expected = Expected::reduction(value, scale, k + 3);
    let mut first: Option<Vec<f32>> = None;
    for tiling in tilings {
        let at = format!("{} {layout:?} {dims:?} {dtypes:?}", tiling.kernels[0]);
        let mut c = Held::new(vec![777.0; m * n], dtypes[2], 0);
        let gated = Gated { residual: residual.input(), gate: Some(gate.input()), rows_per_group: m };
        let epilogue = Epilogue { bias: Some(bias.input()), gated: Some(gated), ..Epilogue::default() };
        let (batch, write) = (Batch::one(), Write::Overwrite);
        let args = Args { a: a.input(), b: b.input(), c: c.output(), layout, dims, batch, write, epilogue };
        Product::new(args).unwrap().run(gpu(), layout, tiling).unwrap();
        let got = c.now();
        assert_near(&got, &expected, dtypes[2], &at);
        let same = first.get_or_insert_with(|| got.clone()).iter().zip(&got).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{at}: other bits than {}", tilings[0].kernels[0]);
    }
}

#[test]
fn every_tensor_tiling_gives_the_same_bits() {
    let tilings: Vec<_> = TENSOR_TILINGS.iter().chain(&TENSOR_PLAIN_TILINGS).collect();
    for layout in LAYOUTS {
        // Several blocks of each tiling, ragged; fewer tiles than stages; one term more than a tile.
        for (m, n, k) in [(136, 264, 200), (8, 8, 8), (64, 72, 40)] {
            check_tilings(&tilings, layout, Dims { m, n, k }, [DType::Bf16, DType::Bf16, DType::F32]);
        }
        let plain: Vec<_> = TENSOR_PLAIN_TILINGS.iter().collect();
        check_tilings(&plain, layout, Dims { m: 67, n: 131, k: 101 }, [DType::Bf16; 3]);
    }
}

#[test]
fn every_scalar_tiling_gives_the_same_bits() {
    let tilings: Vec<_> = SCALAR_TILINGS.iter().chain(&SCALAR_PLAIN_TILINGS).collect();
    for layout in LAYOUTS {
        for (m, n, k) in [(132, 196, 52), (4, 4, 4)] {
            check_tilings(&tilings, layout, Dims { m, n, k }, [DType::F32, DType::F32, DType::Bf16]);
        }
        let plain: Vec<_> = SCALAR_PLAIN_TILINGS.iter().collect();
        for [a, b] in [[DType::F32, DType::Bf16], [DType::Bf16, DType::F32], [DType::F32, DType::F32]] {
            check_tilings(&plain, layout, Dims { m: 67, n: 132, k: 36 }, [a, b, DType::F32]);
            check_tilings(&plain, layout, Dims { m: 65, n: 67, k: 19 }, [a, b, DType::F32]);
        }
    }
}

/// Products of a batch that share `b`, between gaps that stay as they are, at every distance from aligned addresses.
#[test]
fn operands_may_begin_anywhere() {
    let (dims, count, gap) = (Dims { m: 16, n: 8, k: 24 }, 3, 4);
    let Dims { m, n, k } = dims;
    for dtype in [DType::F32, DType::Bf16] {
        for (first, layout) in (0..9).flat_map(|first| LAYOUTS.map(|layout| (first, layout))) {
            let a = Held::random(0, count * m * k, dtype, first);
            let b = Held::random(1, n * k, dtype, 8 - first);
            let stride_c = m * n + gap;
            let mut c = Held::new(vec![777.0; (count - 1) * stride_c + m * n], dtype, first / 2);
            let batch = Batch { count, stride_a: m * k, stride_b: 0, stride_c };
            let args = Args {
                a: a.input(),
                b: b.input(),
                c: c.output(),
                layout,
                dims,
                batch,
                write: Write::Overwrite,
                epilogue: Epilogue::default(),
            };
            gemm(gpu(), args).unwrap();
            let (untouched, got) = (Stored::new(vec![777.0], dtype).f32()[0], c.now());
            for (i, got) in got.chunks(stride_c).enumerate() {
                let (value, scale) = reference::product(layout, dims, &a.values[i * m * k..][..m * k], &b.values);
                let at = format!("{dtype} {layout:?} first {first} product {i}");
                assert_near(&got[..m * n], &Expected::reduction(value, scale, k), dtype, &at);
                assert!(got[m * n..].iter().all(|&x| x == untouched), "{at}: a gap was written");
            }
        }
    }
}

#[test]
fn sums_in_chunks_take_an_epilogue_and_accumulate() {
    let dims = Dims { m: 33, n: 18, k: 1100 };
    let Dims { m, n, k } = dims;
    assert!(chunk(dims, 1) < k && chunk(dims, 2) < k);
    for dtype in [DType::F32, DType::Bf16] {
        let a = Held::random(0, 2 * m * k, dtype, 0);
        let b = Held::random(1, 2 * n * k, dtype, 0);
        let parts = |i: usize| {
            let (a, b) = (&a.values[i * m * k..][..m * k], &b.values[i * n * k..][..n * k]);
            reference::product(Layout::TN, dims, a, b)
        };
        let mut c = Held::random(2, 2 * m * n, dtype, 0);
        let batch = Batch { count: 2, stride_a: m * k, stride_b: n * k, stride_c: m * n };
        let (layout, write) = (Layout::TN, Write::Accumulate);
        let none = Epilogue::default();
        let before = c.values.clone();
        let args = Args { a: a.input(), b: b.input(), c: c.output(), layout, dims, batch, write, epilogue: none };
        gemm(gpu(), args).unwrap();
        let (mut value, mut scale) = (parts(0).0, parts(0).1);
        value.extend(parts(1).0);
        scale.extend(parts(1).1);
        for (i, before) in before.into_iter().enumerate() {
            value[i] += before;
            scale[i] += before.abs();
        }
        assert_near(&c.now(), &Expected::reduction(value, scale, k + 1), dtype, "accumulated");

        let [mut y, mut u] = [(); 2].map(|()| Held::new(vec![777.0; m * n], dtype, 0));
        let epilogue =
            Epilogue { activation: Activation::Silu, preactivation: Some(u.output()), ..Epilogue::default() };
        let (batch, write) = (Batch::one(), Write::Overwrite);
        let (one_a, one_b) = (Held::random(0, m * k, dtype, 0), Held::random(1, n * k, dtype, 0));
        let args = Args { a: one_a.input(), b: one_b.input(), c: y.output(), layout, dims, batch, write, epilogue };
        gemm(gpu(), args).unwrap();
        let (value, scale) = reference::product(layout, dims, &one_a.values, &one_b.values);
        let activated = value.iter().map(|&u| reference::activation(Activation::Silu, u)).collect();
        let wider = scale.iter().map(|scale| 1.13 * scale).collect();
        assert_near(&u.now(), &Expected::reduction(value, scale, k), dtype, "preactivation");
        assert_near(&y.now(), &Expected::reduction(activated, wider, k + 4), dtype, "activated");
    }
}

/// The order of a sum may not depend on the machine.
#[test]
fn chunks_follow_from_the_shape() {
    let chunks = |m, n, k, count| {
        let dims = Dims { m, n, k };
        k.div_ceil(chunk(dims, count))
    };
    assert_eq!(chunks(64, 64, 2048, 1), 4);
    assert_eq!(chunks(1536, 384, 32768, 1), 6);
    assert_eq!(chunks(1024, 1024, 1024, 1), 1);
    assert_eq!(chunks(4096, 4096, 4096, 1), 1);
    assert_eq!(chunks(64, 64, 2048, 256), 1);
    assert_eq!(chunk(Dims { m: 3, n: 3, k: 0 }, 1), TERMS);
    assert_eq!(chunk(Dims { m: 3, n: 3, k: 33 }, 1), 64);
}
