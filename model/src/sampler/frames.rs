//! Keeping given frames of latents as they are.

use flg_engine::{DType, Result, Tensor};

/// Overwrites the first frames of `x [b, c, f, h, w]` with those of `first [b, c, n, h, w]`.
pub(super) fn put_first(x: &mut Tensor, first: &Tensor) -> Result<()> {
    let [b, c, f, h, w] = x.shape().expect_rank("first frame")?;
    let [_, _, n, _, _] = first.shape().expect_rank("first frame")?;
    first.shape().expect("first frame", [b, c, n.min(f), h, w])?;
    let first = first.contiguous()?.cast(DType::F32)?;
    let (given, all) = (n * h * w, f * h * w);
    if given == 0 {
        return Ok(());
    }
    for (video, frame) in x.as_f32_mut()?.chunks_mut(all).zip(first.as_f32()?.chunks(given)) {
        video[..given].copy_from_slice(frame);
    }
    Ok(())
}
