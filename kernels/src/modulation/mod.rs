//! The modulation vectors of a block: a learned table plus what the time embedding projects to, one `[groups, width]`
//! matrix a slot (shift, scale, gate, ...): `y[s, g, :] = table[s, :] + projection[g, s * width ..]` (PixArt's
//! adaLN-single, as in Wan).
//!
//! Backward: `dprojection[g, s * width ..] = dy[s, g, :]`, `dtable[s, :] += sum over g of dy[s, g, :]`.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;
mod row;

use crate::view::extent;
use crate::{In, Out, Result, Runtime};

pub use row::Row;

const OP: &str = "modulation";

/// `y[s, g, :] = table[s, :] + projection[g, s * width ..]`
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[slots, width]`
    pub table: In<'a>,
    /// `[groups, slots * width]`
    pub projection: In<'a>,
    /// `[slots, groups, width]`
    pub y: Out<'a>,
    /// Vectors of a group: 6 in a block (shift, scale and gate, twice), 2 before the output.
    pub slots: usize,
    /// Samples, or tokens.
    pub groups: usize,
    /// Elements of a vector.
    pub width: usize,
}

/// `dprojection[g, s * width ..] = dy[s, g, :]` and the table's gradient
#[derive(Debug)]
pub struct Backward<'a> {
    /// `[slots, groups, width]`
    pub dy: In<'a>,
    /// f32 `[slots, width]`, `+= sum over the groups of dy`
    pub dtable_acc: Out<'a>,
    /// `[groups, slots * width]`
    pub dprojection: Out<'a>,
    /// As in the forward pass.
    pub slots: usize,
    /// As in the forward pass.
    pub groups: usize,
    /// As in the forward pass.
    pub width: usize,
}

/// Runs the forward pass.
///
/// # Errors
/// Operands whose lengths are not those of the extents.
pub fn forward(rt: &Runtime, mut args: Forward<'_>) -> Result<()> {
    let dims = Dims { slots: args.slots, groups: args.groups, width: args.width };
    let n = extent(OP, &[args.slots, args.groups, args.width])?;
    args.table.check(rt, OP, "table", extent(OP, &[args.slots, args.width])?)?;
    args.projection.check(rt, OP, "projection", n)?;
    args.y.check(rt, OP, "y", n)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => {
            let (table, projection) = (args.table.widen(), args.projection.widen());
            args.y.write(|y| cpu::forward(*isa, dims, &table, &projection, y));
        }
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::forward(gpu, dims, args)?,
    }
    Ok(())
}

/// Runs the backward pass.
///
/// # Errors
/// As [`forward`]; an accumulator that is not f32.
pub fn backward(rt: &Runtime, mut args: Backward<'_>) -> Result<()> {
    let dims = Dims { slots: args.slots, groups: args.groups, width: args.width };
    let n = extent(OP, &[args.slots, args.groups, args.width])?;
    args.dy.check(rt, OP, "dy", n)?;
    args.dprojection.check(rt, OP, "dprojection", n)?;
    args.dtable_acc.check_f32(rt, OP, "dtable_acc", extent(OP, &[args.slots, args.width])?)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => {
            let (dy, dtable) = (args.dy.widen(), args.dtable_acc.f32());
            args.dprojection.write(|dp| cpu::backward(*isa, dims, &dy, dtable, dp));
        }
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::backward(gpu, dims, args)?,
    }
    Ok(())
}

/// The three extents of both passes.
#[derive(Clone, Copy)]
struct Dims {
    slots: usize,
    groups: usize,
    width: usize,
}
