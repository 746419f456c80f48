//! Sums: down the columns (a bias's gradient), over everything (norms, means), along the rows (a loss a sample).

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod reference;
mod row;

pub use row::Row;

use crate::view::extent;
use crate::{Error, In, Out, Result, Runtime};

const OP: &str = "reduce";

/// What is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// `x`
    Sum,
    /// `x^2`
    Square,
    /// `x y`
    Product,
    /// `|x - y|`
    AbsDifference,
    /// `|x|`, and the largest is taken instead of the sum; 0 of nothing, NaN where there is one.
    Magnitude,
}

impl Term {
    /// Whether it has a second operand.
    pub const fn is_binary(self) -> bool {
        matches!(self, Term::Product | Term::AbsDifference)
    }
}

/// `sum_acc[j] += sum_r x[r, j]`
#[derive(Debug)]
pub struct ColumnSum<'a> {
    /// `[rows, width]`
    pub x: In<'a>,
    /// `[width]`, f32, added to
    pub sum_acc: Out<'a>,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

/// `out = sum_i term(x_i, y_i)`, summed in f64.
#[derive(Debug)]
pub struct Total<'a> {
    /// `[n]`
    pub x: In<'a>,
    /// `[n]`, for a binary term only
    pub y: Option<In<'a>>,
    /// `[1]`, f32
    pub out: Out<'a>,
    /// What is summed.
    pub term: Term,
}

/// `out[r] = sum_j term(x[r, j], y[r, j])`, summed in f64.
#[derive(Debug)]
pub struct RowTotal<'a> {
    /// `[rows, width]`
    pub x: In<'a>,
    /// `[rows, width]`, for a binary term only
    pub y: Option<In<'a>>,
    /// `[rows]`, f32
    pub out: Out<'a>,
    /// What is summed.
    pub term: Term,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
}

/// Adds the sum of each column to an accumulator.
///
/// # Errors
/// Operands whose length is not what the extents ask for, an accumulator that is not f32.
pub fn column_sum(rt: &Runtime, args: ColumnSum<'_>) -> Result<()> {
    args.x.check(rt, OP, "x", extent(OP, &[args.rows, args.width])?)?;
    args.sum_acc.check_f32(rt, OP, "sum_acc", args.width)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::column_sum(gpu, args)?,
        Runtime::Cpu(isa) => cpu::column_sum(*isa, &args.x.widen(), args.sum_acc.f32()),
    }
    Ok(())
}

/// Reduces an operand to one number.
///
/// # Errors
/// Operands of different lengths; a second operand that the term does not have, or none where it has one.
pub fn total(rt: &Runtime, args: Total<'_>) -> Result<()> {
    let n = args.x.len();
    args.x.check(rt, OP, "x", n)?;
    check_second(rt, args.y, args.term, n)?;
    args.out.check_f32(rt, OP, "out", 1)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::total(gpu, args)?,
        Runtime::Cpu(isa) => {
            let (x, y) = (args.x.widen(), args.y.map(|y| y.widen()));
            args.out.f32()[0] = cpu::total(*isa, args.term, &x, y.as_deref()) as f32;
        }
    }
    Ok(())
}

/// Reduces each row to one number.
///
/// # Errors
/// Operands whose length is not what the extents ask for; a second operand that the term does not have, or none where
/// it has one.
pub fn row_total(rt: &Runtime, args: RowTotal<'_>) -> Result<()> {
    let n = extent(OP, &[args.rows, args.width])?;
    args.x.check(rt, OP, "x", n)?;
    check_second(rt, args.y, args.term, n)?;
    args.out.check_f32(rt, OP, "out", args.rows)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::row_total(gpu, args)?,
        Runtime::Cpu(isa) => {
            let (x, y) = (args.x.widen(), args.y.map(|y| y.widen()));
            cpu::row_total(*isa, args.term, &x, y.as_deref(), args.out.f32(), args.width);
        }
    }
    Ok(())
}

fn check_second(rt: &Runtime, y: Option<In<'_>>, term: Term, n: usize) -> Result<()> {
    match y {
        Some(y) if term.is_binary() => y.check(rt, OP, "y", n),
        Some(y) => Err(Error::Length { op: OP, operand: "y", expected: 0, got: y.len() }),
        None if term.is_binary() => Err(Error::Length { op: OP, operand: "y", expected: n, got: 0 }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(term: Term, x: &[f32], y: Option<&[f32]>) -> Result<f32> {
        let mut out = [0.0];
        let args = Total { x: In::F32(x), y: y.map(In::F32), out: Out::F32(&mut out), term };
        total(&Runtime::cpu(), args).map(|()| out[0])
    }

    #[test]
    fn a_nan_anywhere_is_the_magnitude() {
        for i in 0..40 {
            let mut x = [1.0; 40];
            x[i] = f32::NAN;
            assert!(run(Term::Magnitude, &x, None).unwrap().is_nan(), "element {i}");
        }
        assert_eq!(run(Term::Magnitude, &[-3.0, 2.0], None), Ok(3.0));
    }

    #[test]
    fn sums_are_in_f64() {
        let x = vec![0.1f32; 10_000_019];
        assert_eq!(run(Term::Sum, &x, None).unwrap(), (10_000_019.0 * 0.1f32 as f64) as f32);
    }

    #[test]
    fn the_second_operand_belongs_to_the_term() {
        assert!(run(Term::Product, &[1.0], None).is_err());
        assert!(run(Term::Sum, &[1.0], Some(&[1.0])).is_err());
        assert!(run(Term::AbsDifference, &[1.0, 2.0], Some(&[1.0])).is_err());
    }
}
