//! What the catalog's random operands do not reach.

use super::*;
use crate::{Error, bf16};

/// `mean` and `rstd` of the rows of `x`, and `y` without weight and bias.
fn normalise(x: &[f32], rows: usize, width: usize) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![0.0; rows], vec![0.0; rows]);
    let args = Forward {
        x: In::F32(x),
        weight: None,
        bias: None,
        y: Out::F32(&mut y),
        mean: Out::F32(&mut mean),
        rstd: Out::F32(&mut rstd),
        rows,
        width,
        rows_per_group: rows,
        weight_offset: 0.0,
        eps: 1e-6,
    };
    forward(&Runtime::cpu(), args).unwrap();
    (y, mean, rstd)
}

#[test]
fn a_large_mean_does_not_drown_the_variance() {
    // E[x^2] - E[x]^2 would lose every digit here: 1e8 against 1.25.
    let x: Vec<f32> = (0..384).map(|i| 1e4 + (i % 4) as f32).collect();
    let (_, mean, rstd) = normalise(&x, 1, 384);
    assert!((mean[0] - 10_001.5).abs() <= 0.01, "{}", mean[0]);
    assert!((rstd[0] as f64 - 1.25f64.powf(-0.5)).abs() <= 1e-4, "{}", rstd[0]);
}

#[test]
fn nan_and_infinity_stay_in_their_rows() {
    let (rows, width) = (5, 37);
    let mut x: Vec<f32> = (0..rows * width).map(|i| (i % 11) as f32).collect();
    x[width + 36] = f32::NAN;
    x[3 * width] = f32::INFINITY;
    let (y, ..) = normalise(&x, rows, width);
    for (r, y) in y.chunks(width).enumerate() {
        assert!(y.iter().all(|v| v.is_nan() == (r == 1 || r == 3)), "row {r}: {y:?}");
    }
}

#[test]
fn operands_may_mix_types() {
    let x = [1.0f32, 2.0, 4.0, 8.0].map(bf16::from_f32);
    let (mut y, mut mean, mut rstd) = ([0.0; 4], [0.0; 2], [0.0; 2]);
    let args = Forward {
        x: In::Bf16(&x),
        weight: Some(In::F32(&[1.0, 2.0])),
        bias: Some(In::Bf16(&[bf16::ONE; 2])),
        y: Out::F32(&mut y),
        mean: Out::F32(&mut mean),
        rstd: Out::F32(&mut rstd),
        rows: 2,
        width: 2,
        rows_per_group: 2,
        weight_offset: 0.0,
        eps: 0.0,
    };
    forward(&Runtime::cpu(), args).unwrap();
    assert_eq!((y, mean, rstd), ([0.0, 3.0, 0.0, 3.0], [1.5, 6.0], [2.0, 0.5]));
}

#[test]
fn an_accumulator_is_f32_and_as_long_as_the_groups() {
    let row = [1.0f32; 8];
    let run = |dweight: Out<'_>| {
        let mut dx = [0.0; 8];
        let args = Backward {
            x: In::F32(&row),
            weight: None,
            mean: In::F32(&row[..4]),
            rstd: In::F32(&row[..4]),
            dy: In::F32(&row),
            dx: Out::F32(&mut dx),
            dweight_acc: Some(dweight),
            dbias_acc: None,
            rows: 4,
            width: 2,
            rows_per_group: 2,
            weight_offset: 1.0,
        };
        backward(&Runtime::cpu(), args)
    };
    assert_eq!(run(Out::F32(&mut [0.0; 4])), Ok(()));
    let short = run(Out::F32(&mut [0.0; 2]));
    assert_eq!(short, Err(Error::Length { op: OP, operand: "dweight_acc", expected: 4, got: 2 }));
    assert!(matches!(run(Out::Bf16(&mut [bf16::ZERO; 4])), Err(Error::DType { operand: "dweight_acc", .. })));
}
