//! What comes out of the blocks: a modulated norm, a projection, and the tokens put together to a video again.

use flg_engine::ops::layer_norm::ModulatedNorm;
use flg_engine::ops::patchify::{Direction, Patchify};
use flg_engine::{Cx, DType, ParamId, Tensor, Var};
use flg_kernels::patchify::{Grid, Order};

use super::Wan;
use super::embed::Embedded;
use super::linear::Linear;
use super::probe::Probe;
use crate::Result;

/// The parameters behind the blocks.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// `[1, 2, d]`: shift, then scale.
    pub(super) table: ParamId,
    pub(super) out: Linear,
}

impl Wan {
    /// The velocity `[b, c, f, h, w]`, f32, from the residual stream `x [b, tokens, d]` behind the last block.
    ///
    /// # Errors
    /// A stream of another shape.
    pub fn head(&self, cx: &Cx<'_>, embedded: &Embedded, x: &Var) -> Result<Var> {
        self.head_probed(cx, embedded, x, &mut Probe::none())
    }

    pub(super) fn head_probed(&self, cx: &Cx<'_>, embedded: &Embedded, x: &Var, probe: &mut Probe<'_>) -> Result<Var> {
        let modulation = cx.modulation(&cx.param(self.head.table), &twice(cx, &embedded.condition.embedding)?)?;
        let norm = ModulatedNorm { shift: 0, scale: 1, eps: self.config.eps as f32 };
        let n = cx.modulated_norm(x, &modulation, norm)?;
        probe.see(format_args!("norm_out.modulated"), &n);
        let y = self.head.out.forward(cx, &n)?;
        probe.see(format_args!("proj_out"), &y);
        let grid = Grid { channels: self.config.out_channels, ..embedded.grid };
        // The output channel is the fastest axis of a token, unlike in the patch embedding.
        let patchify = Patchify { grid, order: Order::ChannelLast, direction: Direction::ToVideo };
        Ok(cx.cast(&cx.patchify(&y, patchify)?, DType::F32)?)
    }
}

/// `[groups, d]` as `[groups, 2 d]`: shift and scale add the same embedding to their rows of the table.
fn twice(cx: &Cx<'_>, embedding: &Var) -> flg_engine::Result<Var> {
    let [groups, d] = embedding.value().shape().expect_rank("time embedding")?;
    let index = Tensor::from_indices(cx.device(), (0..2 * groups as i32).map(|i| i / 2).collect(), [2 * groups])?;
    let doubled = cx.gather(&cx.reshape(embedding, [1, groups, d])?, &index)?;
    cx.reshape(&doubled, [groups, 2 * d])
}
