//! Arithmetic between operands of one shape: `combine`, `accumulate`, `multiply`, and a factor a row (`scale_rows`).
//!
//! Their backward passes are calls of the same four: `d(alpha x) = alpha dy`, `d(a b)/da = b`.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;
mod row;

pub use row::Row;

use crate::view::extent;
use crate::{DType, In, Out, Result, Runtime};

const OP: &str = "elementwise";

/// `out = alpha * x + beta * y`
#[derive(Debug)]
pub struct Combine<'a> {
    /// `[n]`
    pub x: In<'a>,
    /// `[n]`; absent: `out = alpha * x`
    pub y: Option<In<'a>>,
    /// Factor of `x`.
    pub alpha: f32,
    /// Factor of `y`.
    pub beta: f32,
    /// `[n]`
    pub out: Out<'a>,
}

/// `y += alpha * x`
#[derive(Debug)]
pub struct Accumulate<'a> {
    /// `[n]`
    pub x: In<'a>,
    /// Factor of `x`.
    pub alpha: f32,
    /// `[n]`, f32, added to
    pub y_acc: Out<'a>,
}

/// `out = a * b`
#[derive(Debug)]
pub struct Multiply<'a> {
    /// `[n]`
    pub a: In<'a>,
    /// `[n]`
    pub b: In<'a>,
    /// `[n]`
    pub out: Out<'a>,
}

/// `out[r, :] = factors[r] * x[r, :] + y[r, :]`
#[derive(Debug)]
pub struct ScaleRows<'a> {
    /// `[rows, width]`
    pub x: In<'a>,
    /// `[rows]`, f32
    pub factors: In<'a>,
    /// `[rows, width]`; absent: nothing is added
    pub y: Option<In<'a>>,
    /// `[rows, width]`
    pub out: Out<'a>,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

/// Weighs and adds two operands.
///
/// # Errors
/// Operands of different lengths.
pub fn combine(rt: &Runtime, mut args: Combine<'_>) -> Result<()> {
    let n = args.out.len();
    args.x.check(rt, OP, "x", n)?;
    args.y.map_or(Ok(()), |y| y.check(rt, OP, "y", n))?;
    args.out.check(rt, OP, "out", n)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => {
            let (x, y) = (args.x.widen(), args.y.map(|y| y.widen()));
            args.out.write(|out| match &y {
                Some(y) => cpu::combine(*isa, [&x, y], [args.alpha, args.beta], out),
                None => cpu::scale(*isa, &x, args.alpha, out),
            });
        }
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::combine(gpu, args)?,
    }
    Ok(())
}

/// Adds a multiple of an operand to an accumulator.
///
/// # Errors
/// Operands of different lengths, an accumulator that is not f32.
pub fn accumulate(rt: &Runtime, args: Accumulate<'_>) -> Result<()> {
    let n = args.x.len();
    args.x.check(rt, OP, "x", n)?;
    args.y_acc.check_f32(rt, OP, "y_acc", n)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => cpu::accumulate(*isa, &args.x.widen(), args.alpha, args.y_acc.f32()),
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::accumulate(gpu, args)?,
    }
    Ok(())
}

/// Multiplies element by element.
///
/// # Errors
/// Operands of different lengths.
pub fn multiply(rt: &Runtime, mut args: Multiply<'_>) -> Result<()> {
    let n = args.out.len();
    args.a.check(rt, OP, "a", n)?;
    args.b.check(rt, OP, "b", n)?;
    args.out.check(rt, OP, "out", n)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => args.out.write(|out| cpu::multiply(*isa, [&args.a.widen(), &args.b.widen()], out)),
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::multiply(gpu, args)?,
    }
    Ok(())
}

/// Multiplies each row by its factor, and adds an operand.
///
/// # Errors
/// Operands whose length is not what the extents ask for, factors that are not f32.
pub fn scale_rows(rt: &Runtime, mut args: ScaleRows<'_>) -> Result<()> {
    let n = extent(OP, &[args.rows, args.width])?;
    args.x.check(rt, OP, "x", n)?;
    args.y.map_or(Ok(()), |y| y.check(rt, OP, "y", n))?;
    args.out.check(rt, OP, "out", n)?;
    args.factors.check_type(rt, DType::F32, OP, "factors", args.rows)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => {
            let (x, y) = (args.x.widen(), args.y.map(|y| y.widen()));
            let factors = args.factors.f32();
            args.out.write(|out| cpu::scale_rows(*isa, &x, factors, y.as_deref(), out, args.width));
        }
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::scale_rows(gpu, args)?,
    }
    Ok(())
}
