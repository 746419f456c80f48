//! A weight and a bias.

use flg_engine::{Cx, ParamId, Result, Var};
use flg_kernels::gemm::Activation;

/// The parameters of a linear layer, of a convolution over patches, or of a norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear {
    pub(super) weight: ParamId,
    pub(super) bias: ParamId,
}

impl Linear {
    pub(super) fn forward(&self, cx: &Cx<'_>, x: &Var) -> Result<Var> {
        self.activated(cx, x, Activation::None)
    }

    pub(super) fn activated(&self, cx: &Cx<'_>, x: &Var, activation: Activation) -> Result<Var> {
        cx.linear_activated(x, &cx.param(self.weight), &cx.param(self.bias), activation)
    }

    /// A convolution whose stride is its kernel, on rows that hold a patch each: the weight `[out, c, pt, ph, pw]` read as
    /// `[out, in]`.
    pub(super) fn over_patches(&self, cx: &Cx<'_>, x: &Var) -> Result<Var> {
        let weight = cx.param(self.weight);
        let out = weight.value().dims().first().copied().unwrap_or(1);
        let weight = cx.reshape(&weight, [out, x.value().shape().width()])?;
        cx.linear(x, &weight, &cx.param(self.bias))
    }
}
