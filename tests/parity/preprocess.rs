//! Pixels that transformers' `CLIPImageProcessor` (over PIL) makes of images of several shapes.

use std::path::Path;

use flg_model::clip::{Image, Preprocess};

use super::report::Report;
use super::tensors::Tensors;

/// Whole numbers are equal, and so is arithmetic in f32 in the same order.
const EXACT: f64 = 0.0;

pub fn check(folder: &Path, report: &mut Report) {
    let outputs = Tensors::read(&folder.join("outputs.safetensors"));
    for (name, want) in outputs.iter() {
        let (height, width) = name.split_once('x').unwrap();
        let (height, width) = (height.parse().unwrap(), width.parse().unwrap());
        let pixels = drawn(height, width);
        let got = Preprocess::clip(want.shape[1]).apply(&Image { width, height, pixels: &pixels }).unwrap();
        report.close(name, &got, &want.values, EXACT);
    }
}

/// The image that the fixture was made of.
fn drawn(height: usize, width: usize) -> Vec<u8> {
    let at = |y: usize, x: usize, c: usize| x * x * 7 + y * 13 * (c + 1) + x * y * 3 + ((x * 29) ^ (y * 17)) + c * 101;
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    places.flat_map(|(y, x)| (0..3).map(move |c| at(y, x, c) as u8)).collect()
}
