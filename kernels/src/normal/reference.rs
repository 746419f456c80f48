//! The numbers by their definition, with the standard library's functions.

use std::f64::consts::TAU;

use super::Key;

pub(super) fn normal(key: Key, offset: u64, n: usize) -> Vec<f64> {
    (0..n as u64)
        .map(|i| {
            let (block, k) = ((offset + i) / 4, ((offset + i) % 4) as usize);
            let words = key.block(block).map(f64::from);
            let radius = (-2.0 * ((words[k & 2] + 1.0) / 4_294_967_296.0).ln()).sqrt();
            let angle = TAU * words[(k & 2) + 1] / 4_294_967_296.0;
            radius * if k % 2 == 0 { angle.cos() } else { angle.sin() }
        })
        .collect()
}

pub(super) fn uniform(key: Key, offset: u64, n: usize) -> Vec<f64> {
    (0..n as u64)
        .map(|i| {
            let word = key.block((offset + i) / 4)[((offset + i) % 4) as usize];
            f64::from(word >> 8) / 16_777_216.0
        })
        .collect()
}
