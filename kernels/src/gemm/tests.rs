//! What the catalog's tests, which know one call a shape, cannot say.

use half::bf16;

use super::plan::Tiling;
use super::*;
use crate::catalog::operands;
use crate::simd::Isa;

fn args<'a>(a: &'a [f32], b: &'a [f32], c: &'a mut [f32], layout: Layout, dims: Dims) -> Args<'a> {
    Args {
        a: In::F32(a),
        b: In::F32(b),
        c: Out::F32(c),
        layout,
        dims,
        batch: Batch::one(),
        write: Write::Overwrite,
        epilogue: Epilogue::default(),
    }
}

#[test]
fn an_empty_sum_is_the_epilogue_of_zero() {
    let (dims, bias) = (Dims { m: 13, n: 17, k: 0 }, vec![0.5; 17]);
    for layout in [Layout::NN, Layout::NT, Layout::TN] {
        let mut c = vec![7.0; 13 * 17];
        gemm(&Runtime::cpu(), args(&[], &[], &mut c, layout, dims)).unwrap();
        assert!(c.iter().all(|&c| c == 0.0), "{layout:?}");
        let epilogue = Epilogue { bias: Some(In::F32(&bias)), ..Epilogue::default() };
        gemm(&Runtime::cpu(), Args { epilogue, ..args(&[], &[], &mut c, layout, dims) }).unwrap();
        assert!(c.iter().all(|&c| c == 0.5), "{layout:?}");
        let write = Write::Accumulate;
        gemm(&Runtime::cpu(), Args { write, ..args(&[], &[], &mut c, layout, dims) }).unwrap();
        assert!(c.iter().all(|&c| c == 0.5), "{layout:?}");
    }
}

#[test]
fn nan_and_infinity_reach_their_row_and_no_other() {
    // 300 columns pack `a` and 20 do not; 1100 terms of a small product are summed in chunks.
    for dims in [Dims { m: 20, n: 20, k: 33 }, Dims { m: 20, n: 300, k: 33 }, Dims { m: 20, n: 20, k: 1100 }] {
        let Dims { m, n, k } = dims;
        let (mut a, b) = (operands(1, 0, m * k), vec![0.0; n * k]);
        (a[3 * k + 7], a[8 * k + k - 1]) = (f32::NAN, f32::INFINITY);
        for rt in [Runtime::cpu(), Runtime::portable()] {
            let mut c = vec![7.0; m * n];
            gemm(&rt, args(&a, &b, &mut c, Layout::NT, dims)).unwrap();
            for (i, row) in c.chunks(n).enumerate() {
                // Infinity times the zeros of `b` is NaN too.
                let expected = i == 3 || i == 8;
                assert!(row.iter().all(|c| c.is_nan() == expected && (expected || *c == 0.0)), "{dims:?} row {i}");
            }
        }
    }
}

#[test]
fn bf16_weights_are_their_widened_values() {
    let (dims, x) = (Dims { m: 50, n: 70, k: 45 }, operands(1, 0, 50 * 45));
    let w: Vec<_> = operands(1, 1, 70 * 45).into_iter().map(bf16::from_f32).collect();
    let wide: Vec<f32> = w.iter().map(|w| w.to_f32()).collect();
    let (mut narrow_c, mut wide_c) = (vec![0.0; 50 * 70], vec![1.0; 50 * 70]);
    let layout = Layout::NT;
    gemm(&Runtime::cpu(), args(&x, &wide, &mut wide_c, layout, dims)).unwrap();
    gemm(&Runtime::cpu(), Args { b: In::Bf16(&w), ..args(&x, &wide, &mut narrow_c, layout, dims) }).unwrap();
    assert_eq!(narrow_c, wide_c);
}

#[test]
fn a_batch_may_share_b_and_leaves_gaps_of_c_alone() {
    let (dims, count, stride_c) = (Dims { m: 5, n: 7, k: 9 }, 3, 5 * 7 + 4);
    let (a, b) = (operands(1, 0, count * 5 * 9), operands(1, 1, 9 * 7));
    let mut c = vec![7.0; 2 * stride_c + 5 * 7];
    let batch = Batch { count, stride_a: 5 * 9, stride_b: 0, stride_c };
    gemm(&Runtime::cpu(), Args { batch, ..args(&a, &b, &mut c, Layout::NN, dims) }).unwrap();
    for (i, c) in c.chunks(stride_c).enumerate() {
        let mut one = vec![0.0; 5 * 7];
        gemm(&Runtime::cpu(), args(&a[i * 45..][..45], &b, &mut one, Layout::NN, dims)).unwrap();
        assert_eq!(c[..35], one);
        assert!(c[35..].iter().all(|&gap| gap == 7.0));
    }
}

#[test]
fn mistakes_are_refused_before_anything_is_written() {
    let (dims, x, layout) = (Dims { m: 6, n: 4, k: 2 }, vec![0.0; 24], Layout::NN);
    let mut c = vec![7.0; 24];
    let run = |args: Args<'_>| gemm(&Runtime::cpu(), args).unwrap_err().to_string();
    let error = run(args(&x, &x[..8], &mut c, layout, dims));
    assert!(error.contains("operand `a` has 24 elements, its extents ask for 12"), "{error}");
    let gated = |rows_per_group| Some(Gated { residual: In::F32(&x), gate: Some(In::F32(&x[..8])), rows_per_group });
    for (gated, write, what) in [
        (gated(0), Write::Overwrite, "rows_per_group"),
        (gated(4), Write::Overwrite, "rows_per_group"),
        (gated(3), Write::Accumulate, "write"),
    ] {
        let epilogue = Epilogue { gated, ..Epilogue::default() };
        let error = run(Args { epilogue, write, ..args(&x[..12], &x[..8], &mut c, layout, dims) });
        assert!(error.contains(what), "{error}");
    }
    let batch = Batch { count: 2, stride_a: 0, stride_b: 0, stride_c: 23 };
    let error = run(Args { batch, ..args(&x[..12], &x[..8], &mut c, layout, dims) });
    assert!(error.contains("stride_c"), "{error}");
    assert!(c.iter().all(|&c| c == 7.0));
}

#[test]
fn every_tiling_gives_the_same_bits() {
    // Edges of both tilings, rows of `a` that are not packed, several parts of the sum, several blocks of rows.
    for (m, n, k) in [(1, 1, 1), (14, 32, 8), (15, 33, 9), (29, 20, 401), (61, 300, 390), (400, 270, 33)] {
        let dims = Dims { m, n, k };
        let (a, b, bias) = (operands(1, 0, m * k), operands(1, 1, n * k), operands(1, 2, n));
        for layout in [Layout::NN, Layout::NT, Layout::TN] {
            let product = cpu::Product {
                a: pack::Operand::a(In::F32(&a), layout, dims),
                b: pack::Operand::b(In::F32(&b), layout, dims),
                dims,
                write: Write::Overwrite,
                epilogue: epilogue::Epilogue {
                    bias: Some(&bias),
                    activation: Activation::GeluTanh,
                    residual: None,
                    gate: None,
                    rows_per_group: 1,
                },
            };
            let run = |isa, tiling| {
                let [mut c, mut u] = [(); 2].map(|()| vec![7.0; m * n]);
                cpu::run(cpu::Machine { isa, tiling }, product, Batch::one(), &mut c, Some(&mut u));
                [c, u].concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            for isa in Isa::available() {
                let [small, large] = [Tiling::Registers16, Tiling::Registers32].map(|tiling| run(isa, tiling));
                assert!(small == large, "{dims:?} {layout:?} {isa:?}");
            }
        }
    }
}
