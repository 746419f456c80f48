//! Keeping given frames of latents as they are.

use flg_engine::{Result, Tensor};

/// Overwrites the first frames of `x [b, c, f, h, w]` with those of `first [b, c, n, h, w]`.
pub(super) fn put_first(x: &mut Tensor, first: &Tensor) -> Result<()> {
    let [b, c, f, h, w] = x.shape().expect_rank("first frame")?;
    let [_, _, n, _, _] = first.shape().expect_rank("first frame")?;
    first.shape().expect("first frame", [b, c, n.min(f), h, w])?;
    x.overwrite(2, 0, first)
}
