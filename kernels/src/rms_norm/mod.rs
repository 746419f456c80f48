//! Root-mean-square normalisation over the last extent: `y = x * rstd * weight`, `rstd = 1 / sqrt(mean(x^2) + eps)`
//! (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).
//!
//! Backward, with `xhat = x * rstd` and `d = dy * weight`: `dx = rstd * (d - xhat * mean(d * xhat))`,
//! `dweight += sum dy * xhat`.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;
mod row;

use crate::groups::Groups;
use crate::{DType, In, Out, Result, Runtime};

pub use row::Row;

const OP: &str = "rms_norm";

/// `y = x * rstd * weight`
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[rows, width]`
    pub x: In<'a>,
    /// `[width]`
    pub weight: In<'a>,
    /// `[rows, width]`
    pub y: Out<'a>,
    /// f32 `[rows]`, for the backward pass
    pub rstd: Out<'a>,
    /// Rows that are normalised.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// Added to the mean square.
    pub eps: f32,
}

/// `dx = rstd * (d - xhat * mean(d * xhat))` and the weight's gradient
#[derive(Debug)]
pub struct Backward<'a> {
    /// `[rows, width]`, the input of the forward pass
    pub x: In<'a>,
    /// `[width]`
    pub weight: In<'a>,
    /// f32 `[rows]`, from the forward pass
    pub rstd: In<'a>,
    /// `[rows, width]`
    pub dy: In<'a>,
    /// `[rows, width]`
    pub dx: Out<'a>,
    /// f32 `[width]`, `+= sum over the rows of dy * xhat`
    pub dweight_acc: Out<'a>,
    /// Rows that are normalised.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

/// Runs the forward pass.
///
/// # Errors
/// Operands whose lengths are not those of the extents, statistics that are not f32.
pub fn forward(rt: &Runtime, mut args: Forward<'_>) -> Result<()> {
    let rows = Groups::new(OP, args.rows, args.width, args.rows)?;
    args.x.check(rt, OP, "x", rows.len())?;
    args.weight.check(rt, OP, "weight", args.width)?;
    args.y.check(rt, OP, "y", rows.len())?;
    args.rstd.check_f32(rt, OP, "rstd", args.rows)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::forward(gpu, args)?,
        Runtime::Cpu(isa) => {
            let (x, weight) = (args.x.widen(), args.weight.widen());
            let inputs = cpu::Forward { width: args.width, x: &x, weight: &weight, eps: args.eps };
            let rstd = args.rstd.f32();
            args.y.write(|y| cpu::forward(*isa, inputs, y, rstd));
        }
    }
    Ok(())
}

/// Runs the backward pass.
///
/// # Errors
/// As [`forward`]; an accumulator that is not f32.
pub fn backward(rt: &Runtime, mut args: Backward<'_>) -> Result<()> {
    let rows = Groups::new(OP, args.rows, args.width, args.rows)?;
    args.x.check(rt, OP, "x", rows.len())?;
    args.weight.check(rt, OP, "weight", args.width)?;
    args.dy.check(rt, OP, "dy", rows.len())?;
    args.dx.check(rt, OP, "dx", rows.len())?;
    args.rstd.check_type(rt, DType::F32, OP, "rstd", args.rows)?;
    args.dweight_acc.check_f32(rt, OP, "dweight_acc", args.width)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::backward(gpu, args)?,
        Runtime::Cpu(isa) => {
            let (x, weight, dy) = (args.x.widen(), args.weight.widen(), args.dy.widen());
            let rstd = args.rstd.f32();
            let inputs = cpu::Backward { width: args.width, x: &x, weight: &weight, rstd, dy: &dy };
            let dweight = args.dweight_acc.f32();
            args.dx.write(|dx| cpu::backward(*isa, rows, inputs, dx, dweight));
        }
    }
    Ok(())
}
