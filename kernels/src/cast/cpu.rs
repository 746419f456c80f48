//! Conversion in pieces, each by the conversion of slices of `half`.

use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use crate::{In, Out};

/// Elements of one task.
const PIECE: usize = 1 << 16;

pub(super) fn cast(x: In<'_>, y: Out<'_>) {
    match (x, y) {
        (In::F32(x), Out::F32(y)) => pieces(x, y, |x, y| y.copy_from_slice(x)),
        (In::Bf16(x), Out::Bf16(y)) => pieces(x, y, |x, y| y.copy_from_slice(x)),
        (In::Bf16(x), Out::F32(y)) => pieces(x, y, |x, y| x.convert_to_f32_slice(y)),
        (In::F32(x), Out::Bf16(y)) => pieces(x, y, |x, y| y.convert_from_f32_slice(x)),
        // `check` has refused indices.
        (In::I32(_), _) => {}
        #[cfg(feature = "cuda")]
        (In::Cuda(_), _) | (_, Out::Cuda(_)) => unreachable!("a check refuses operands of another device"),
    }
}

fn pieces<X: Sync, Y: Send>(x: &[X], y: &mut [Y], convert: impl Fn(&[X], &mut [Y]) + Sync) {
    if x.len() <= PIECE {
        return convert(x, y);
    }
    x.par_chunks(PIECE).zip(y.par_chunks_mut(PIECE)).for_each(|(x, y)| convert(x, y));
}
