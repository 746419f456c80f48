//! Layer normalisation over the last extent, with the affine map or the adaLN modulation that follows it fused in:
//! `y = (x - mean) * rstd * (weight_offset + weight[g]) + bias[g]`, `rstd = 1 / sqrt(variance + eps)`.
//!
//! The variance is biased and taken in a second pass over the row. `g` is the row's group of `rows_per_group` rows:
//! one group and `weight_offset = 0` is `torch.nn.LayerNorm`; a group per sample or per token, `weight = scale`,
//! `bias = shift` and `weight_offset = 1` is the modulation of Peebles and Xie, "Scalable Diffusion Models with
//! Transformers" (2023).
//!
//! Backward, with `xhat = (x - mean) * rstd` and `d = dy * (weight_offset + weight[g])`:
//! `dx = rstd * (d - mean(d) - xhat * mean(d * xhat))`, `dweight[g] += sum dy * xhat`, `dbias[g] += sum dy`.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;
mod row;
#[cfg(test)]
mod tests;

use crate::groups::Groups;
use crate::{DType, In, Out, Result, Runtime};

pub use row::{AFFINE, MODULATED, Row};

const OP: &str = "layer_norm";

/// `y = (x - mean) * rstd * (weight_offset + weight[g]) + bias[g]`
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[rows, width]`
    pub x: In<'a>,
    /// `[groups, width]`; the whole factor is 1 where it is absent
    pub weight: Option<In<'a>>,
    /// `[groups, width]`; 0 where it is absent
    pub bias: Option<In<'a>>,
    /// `[rows, width]`
    pub y: Out<'a>,
    /// f32 `[rows]`, for the backward pass
    pub mean: Out<'a>,
    /// f32 `[rows]`, for the backward pass
    pub rstd: Out<'a>,
    /// Rows that are normalised.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// Consecutive rows that share a row of `weight` and `bias`; divides `rows`.
    pub rows_per_group: usize,
    /// Added to `weight`: 0 for an affine map, 1 for a modulation.
    pub weight_offset: f32,
    /// Added to the variance.
    pub eps: f32,
}

/// `dx = rstd * (d - mean(d) - xhat * mean(d * xhat))` and the gradients of weight and bias
#[derive(Debug)]
pub struct Backward<'a> {
    /// `[rows, width]`, the input of the forward pass
    pub x: In<'a>,
    /// `[groups, width]`
    pub weight: Option<In<'a>>,
    /// f32 `[rows]`, from the forward pass
    pub mean: In<'a>,
    /// f32 `[rows]`, from the forward pass
    pub rstd: In<'a>,
    /// `[rows, width]`
    pub dy: In<'a>,
    /// `[rows, width]`
    pub dx: Out<'a>,
    /// f32 `[groups, width]`, `+= sum over the group of dy * xhat`
    pub dweight_acc: Option<Out<'a>>,
    /// f32 `[groups, width]`, `+= sum over the group of dy`
    pub dbias_acc: Option<Out<'a>>,
    /// Rows that are normalised.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// Consecutive rows that share a row of `weight`; divides `rows`.
    pub rows_per_group: usize,
    /// Added to `weight`: 0 for an affine map, 1 for a modulation.
    pub weight_offset: f32,
}

/// Runs the forward pass.
///
/// # Errors
/// Operands whose lengths are not those of the extents, statistics that are not f32, `rows_per_group` that does not
/// divide `rows`.
pub fn forward(rt: &Runtime, mut args: Forward<'_>) -> Result<()> {
    let groups = Groups::new(OP, args.rows, args.width, args.rows_per_group)?;
    args.x.check(rt, OP, "x", groups.len())?;
    args.y.check(rt, OP, "y", groups.len())?;
    groups.check(rt, OP, "weight", args.weight.as_ref())?;
    groups.check(rt, OP, "bias", args.bias.as_ref())?;
    args.mean.check_f32(rt, OP, "mean", args.rows)?;
    args.rstd.check_f32(rt, OP, "rstd", args.rows)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::forward(gpu, args)?,
        Runtime::Cpu(isa) => {
            let (x, weight, bias) = (args.x.widen(), args.weight.map(|w| w.widen()), args.bias.map(|b| b.widen()));
            let inputs = cpu::Forward {
                groups,
                x: &x,
                weight: weight.as_deref(),
                bias: bias.as_deref(),
                weight_offset: args.weight_offset,
                eps: args.eps,
            };
            let (mean, rstd) = (args.mean.f32(), args.rstd.f32());
            args.y.write(|y| cpu::forward(*isa, inputs, y, mean, rstd));
        }
    }
    Ok(())
}

/// Runs the backward pass.
///
/// # Errors
/// As [`forward`]; accumulators that are not f32.
pub fn backward(rt: &Runtime, mut args: Backward<'_>) -> Result<()> {
    let groups = Groups::new(OP, args.rows, args.width, args.rows_per_group)?;
    args.x.check(rt, OP, "x", groups.len())?;
    args.dy.check(rt, OP, "dy", groups.len())?;
    args.dx.check(rt, OP, "dx", groups.len())?;
    groups.check(rt, OP, "weight", args.weight.as_ref())?;
    args.mean.check_type(rt, DType::F32, OP, "mean", args.rows)?;
    args.rstd.check_type(rt, DType::F32, OP, "rstd", args.rows)?;
    groups.check_accumulator(rt, OP, "dweight_acc", args.dweight_acc.as_ref())?;
    groups.check_accumulator(rt, OP, "dbias_acc", args.dbias_acc.as_ref())?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::backward(gpu, args)?,
        Runtime::Cpu(isa) => {
            let (x, weight, dy) = (args.x.widen(), args.weight.map(|w| w.widen()), args.dy.widen());
            let inputs = cpu::Backward {
                groups,
                x: &x,
                weight: weight.as_deref(),
                mean: args.mean.f32(),
                rstd: args.rstd.f32(),
                dy: &dy,
                weight_offset: args.weight_offset,
            };
            let (dweight, dbias) = (args.dweight_acc.map(Out::f32), args.dbias_acc.map(Out::f32));
            args.dx.write(|dx| cpu::backward(*isa, inputs, dx, dweight, dbias));
        }
    }
    Ok(())
}
