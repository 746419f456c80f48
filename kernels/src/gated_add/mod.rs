//! A residual connection with a gate: `y = x + gate[g] * h`, where `g` is the row's group of `rows_per_group` rows.
//!
//! Backward: `dh = gate[g] * dy`, `dgate[g] += sum over the group of dy * h`; `dx` is `dy` itself.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;
mod row;

use crate::groups::Groups;
use crate::{In, Out, Result, Runtime};

pub use row::Row;

const OP: &str = "gated_add";

/// `y = x + gate[g] * h`
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[rows, width]`, the residual stream
    pub x: In<'a>,
    /// `[rows, width]`, what a branch adds to it
    pub h: In<'a>,
    /// `[groups, width]`; 1 where it is absent
    pub gate: Option<In<'a>>,
    /// `[rows, width]`
    pub y: Out<'a>,
    /// Rows of the stream.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// Consecutive rows that share a row of `gate`; divides `rows`.
    pub rows_per_group: usize,
}

/// `dh = gate[g] * dy` and the gate's gradient
#[derive(Debug)]
pub struct Backward<'a> {
    /// `[rows, width]`, of the forward pass
    pub h: In<'a>,
    /// `[groups, width]`, of the forward pass
    pub gate: Option<In<'a>>,
    /// `[rows, width]`
    pub dy: In<'a>,
    /// `[rows, width]`
    pub dh: Out<'a>,
    /// f32 `[groups, width]`, `+= sum over the group of dy * h`
    pub dgate_acc: Option<Out<'a>>,
    /// Rows of the stream.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// Consecutive rows that share a row of `gate`; divides `rows`.
    pub rows_per_group: usize,
}

/// Runs the forward pass.
///
/// # Errors
/// Operands whose lengths are not those of the extents, `rows_per_group` that does not divide `rows`.
pub fn forward(rt: &Runtime, mut args: Forward<'_>) -> Result<()> {
    let groups = Groups::new(OP, args.rows, args.width, args.rows_per_group)?;
    args.x.check(rt, OP, "x", groups.len())?;
    args.h.check(rt, OP, "h", groups.len())?;
    args.y.check(rt, OP, "y", groups.len())?;
    groups.check(rt, OP, "gate", args.gate.as_ref())?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => {
            let (x, h, gate) = (args.x.widen(), args.h.widen(), args.gate.map(|gate| gate.widen()));
            args.y.write(|y| cpu::forward(*isa, groups, &x, &h, gate.as_deref(), y));
        }
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::forward(gpu, groups, args)?,
    }
    Ok(())
}

/// Runs the backward pass.
///
/// # Errors
/// As [`forward`]; an accumulator that is not f32.
pub fn backward(rt: &Runtime, mut args: Backward<'_>) -> Result<()> {
    let groups = Groups::new(OP, args.rows, args.width, args.rows_per_group)?;
    args.h.check(rt, OP, "h", groups.len())?;
    args.dy.check(rt, OP, "dy", groups.len())?;
    args.dh.check(rt, OP, "dh", groups.len())?;
    groups.check(rt, OP, "gate", args.gate.as_ref())?;
    groups.check_accumulator(rt, OP, "dgate_acc", args.dgate_acc.as_ref())?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => {
            let (h, gate, dy) = (args.h.widen(), args.gate.map(|gate| gate.widen()), args.dy.widen());
            let inputs = cpu::Backward { groups, h: &h, gate: gate.as_deref(), dy: &dy };
            let dgate = args.dgate_acc.map(Out::f32);
            args.dh.write(|dh| cpu::backward(*isa, inputs, dh, dgate));
        }
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::backward(gpu, groups, args)?,
    }
    Ok(())
}
