//! Layer normalisation: affine, and modulated by a network (adaLN).

use flg_kernels::{Out, layer_norm};

use crate::ops::OpCase;
use crate::{Again, Cx, DType, Error, GradSink, Kept, Op, Result, Tensor, Var};

/// What backward needs: the input and two numbers a row. The normalised rows are recomputed.
#[derive(Debug)]
pub struct Saved {
    x: Kept,
    weight: Tensor,
    mean: Tensor,
    rstd: Tensor,
}

/// Which part of the last operand multiplies and which is added.
struct Affine<'a> {
    weight: &'a Tensor,
    bias: &'a Tensor,
    weight_offset: f32,
    groups: usize,
}

fn forward(x: &Tensor, affine: Affine<'_>, eps: f32) -> Result<(Tensor, Saved)> {
    let (rows, width) = (x.shape().rows(), x.shape().width());
    let mut y = Tensor::empty(x.device(), x.shape(), x.dtype())?;
    let statistics = || Tensor::empty(x.device(), [rows], DType::F32);
    let (mut mean, mut rstd) = (statistics()?, statistics()?);
    let args = layer_norm::Forward {
        x: x.input()?,
        weight: Some(affine.weight.input()?),
        bias: Some(affine.bias.input()?),
        y: y.output()?,
        mean: mean.output()?,
        rstd: rstd.output()?,
        rows,
        width,
        rows_per_group: rows_per_group(rows, affine.groups),
        weight_offset: affine.weight_offset,
        eps,
    };
    layer_norm::forward(x.device().runtime(), args)?;
    Ok((y, Saved { x: Kept::Value(x.clone()), weight: affine.weight.clone(), mean, rstd }))
}

/// Rows that share one row of parameters; 1 where there is nothing to share.
pub(super) fn rows_per_group(rows: usize, groups: usize) -> usize {
    rows.checked_div(groups).unwrap_or(1).max(1)
}

/// Runs the kernel's backward; `gradients` are `(dweight, dbias)`, added to.
fn backward(
    saved: &Saved,
    dy: &Tensor,
    weight_offset: f32,
    groups: usize,
    gradients: Option<(flg_kernels::Out<'_>, flg_kernels::Out<'_>)>,
) -> Result<Tensor> {
    let (rows, width) = (dy.shape().rows(), dy.shape().width());
    let x = saved.x.get()?;
    let mut dx = Tensor::empty(dy.device(), dy.shape(), DType::F32)?;
    let (dweight_acc, dbias_acc) = gradients.unzip();
    let args = layer_norm::Backward {
        x: x.input()?,
        weight: Some(saved.weight.input()?),
        mean: saved.mean.input()?,
        rstd: saved.rstd.input()?,
        dy: dy.input()?,
        dx: dx.output()?,
        dweight_acc,
        dbias_acc,
        rows,
        width,
        rows_per_group: rows_per_group(rows, groups),
        weight_offset,
    };
    layer_norm::backward(dy.device().runtime(), args)?;
    Ok(dx)
}

fn saved_bytes(saved: &Saved) -> usize {
    saved.x.bytes() + saved.mean.bytes() + saved.rstd.bytes()
}

/// `LN(x) * weight + bias`. Inputs `x [.., d]`, `weight [d]`, `bias [d]`.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    eps: f32,
}

impl Op<3> for LayerNorm {
    const NAME: &'static str = "layer_norm";
    type Saved = Saved;

    fn forward(&self, [x, weight, bias]: [&Tensor; 3]) -> Result<(Tensor, Saved)> {
        let width = x.shape().width();
        weight.shape().expect("layer_norm", [width])?;
        bias.shape().expect("layer_norm", [width])?;
        forward(x, Affine { weight, bias, weight_offset: 0.0, groups: 1 }, self.eps)
    }

    fn backward(self, saved: Saved, dy: Tensor, dx: &mut GradSink<'_, '_, 3>) -> Result<()> {
        let (device, width) = (dy.device().clone(), dy.shape().width());
        if !dx.wants(1) && !dx.wants(2) {
            return dx.add(0, backward(&saved, &dy, 0.0, 1, None)?);
        }
        let (mut dweight, mut dbias) = (Tensor::zeros(&device, [width])?, Tensor::zeros(&device, [width])?);
        let gradients = Some((dweight.output()?, dbias.output()?));
        let gradient = backward(&saved, &dy, 0.0, 1, gradients)?;
        dx.add(0, gradient)?;
        dx.add(1, dweight)?;
        dx.add(2, dbias)
    }

    fn forget(saved: &mut Saved, [x, ..]: [Option<Again>; 3]) {
        saved.x.forget(x);
    }

    fn saved_bytes(saved: &Saved) -> usize {
        saved_bytes(saved)
    }
}

/// `LN(x) * (1 + scale[g]) + shift[g]`, with scale and shift two slots of a modulation `[slots, groups, d]`.
///
/// Group `g` of a row: rows are split into `groups` equal runs (one a sample, or one a frame where frames have their own
/// time). Inputs `x [.., d]` and the modulation.
#[derive(Clone, Copy, Debug)]
pub struct ModulatedNorm {
    /// Slot of the modulation that is added.
    pub shift: usize,
    /// Slot of the modulation that multiplies.
    pub scale: usize,
    /// Added to the variance.
    pub eps: f32,
}

/// One slot `[groups, d]` of a modulation.
pub(super) fn slot(modulation: &Tensor, slot: usize) -> Result<Tensor> {
    let [_, groups, width] = modulation.shape().expect_rank("modulation slot")?;
    modulation.narrow(0, slot, 1)?.reshape([groups, width])
}

impl Op<2> for ModulatedNorm {
    const NAME: &'static str = "modulated_norm";
    type Saved = (Saved, Tensor);

    fn forward(&self, [x, modulation]: [&Tensor; 2]) -> Result<(Tensor, Self::Saved)> {
        let [slots, groups, _] = modulation.shape().expect_rank("modulated_norm")?;
        modulation.shape().expect("modulated_norm", [slots, groups, x.shape().width()])?;
        let (weight, bias) = (slot(modulation, self.scale)?, slot(modulation, self.shift)?);
        let affine = Affine { weight: &weight, bias: &bias, weight_offset: 1.0, groups };
        let (y, saved) = forward(x, affine, self.eps)?;
        Ok((y, (saved, modulation.clone())))
    }

    fn backward(self, (saved, modulation): Self::Saved, dy: Tensor, dx: &mut GradSink<'_, '_, 2>) -> Result<()> {
        let [_, groups, width] = modulation.shape().expect_rank("modulated_norm")?;
        let device = dy.device().clone();
        if !dx.wants(1) {
            return dx.add(0, backward(&saved, &dy, 1.0, groups, None)?);
        }
        let mut gradient = None;
        dx.accumulate(1, &device, modulation.shape(), |sum| {
            let gradients = two_slots(sum, groups * width, self.scale, self.shift);
            gradient = Some(backward(&saved, &dy, 1.0, groups, Some(gradients))?);
            Ok::<_, Error>(())
        })?;
        gradient.map_or(Ok(()), |gradient| dx.add(0, gradient))
    }

    fn forget((saved, _): &mut Self::Saved, [x, _]: [Option<Again>; 2]) {
        saved.x.forget(x);
    }

    fn saved_bytes((saved, _): &Self::Saved) -> usize {
        saved_bytes(saved)
    }
}

/// Slots `a` and `b` (different) of a buffer of slots of `len` elements.
fn two_slots(buffer: Out<'_>, len: usize, a: usize, b: usize) -> (Out<'_>, Out<'_>) {
    let (low, high) = (a.min(b), a.max(b));
    let (front, back) = buffer.split_at(high * len);
    let (low, high) = (front.split_at(low * len).1.split_at(len).0, back.split_at(len).0);
    if a < b { (low, high) } else { (high, low) }
}

impl<'w> Cx<'w> {
    /// Layer normalisation of the last dimension with weight and bias `[d]`; biased variance.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn layer_norm(&self, x: &Var, weight: &Var, bias: &Var, eps: f32) -> Result<Var> {
        self.apply_again(LayerNorm { eps }, [x, weight, bias])
    }

    /// Layer normalisation without weights, then `* (1 + scale) + shift` from two slots of `modulation [slots, groups, d]`.
    ///
    /// # Errors
    /// Shapes that do not fit; rows that do not split into the groups.
    pub fn modulated_norm(&self, x: &Var, modulation: &Var, norm: ModulatedNorm) -> Result<Var> {
        self.apply_again(norm, [x, modulation])
    }
}

pub(super) const CASES: &[OpCase] = &[
    OpCase {
        name: "layer_norm",
        kernel: "layer_norm",
        shapes: &[&[&[1, 2], &[2], &[2]], &[&[3, 5, 7], &[7], &[7]], &[&[2, 16], &[16], &[16]]],
        run: |cx, v| cx.layer_norm(&v[0], &v[1], &v[2], 1e-6),
    },
    OpCase {
        name: "modulated_norm",
        kernel: "layer_norm_modulate",
        shapes: &[&[&[2, 3, 5], &[3, 2, 5]], &[&[2, 4, 8], &[3, 8, 8]], &[&[1, 6, 3], &[3, 3, 3]]],
        run: |cx, v| cx.modulated_norm(&v[0], &v[1], ModulatedNorm { shift: 2, scale: 0, eps: 1e-6 }),
    },
];
