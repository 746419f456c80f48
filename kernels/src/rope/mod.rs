//! Rotary position embedding (Su et al., "RoFormer", 2021) on adjacent pairs, as in Wan:
//! `(a, b) -> (a * cos - b * sin, a * sin + b * cos)` for elements `2i` and `2i + 1` of each head, with the angles of
//! the token.
//!
//! The rotation by the negated angle, [`Direction::Inverse`], is the backward pass.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod reference;
mod row;

use crate::view::extent;
use crate::{DType, Error, In, Out, Result, Runtime};

pub use row::Row;

const OP: &str = "rope";

/// Which way pairs turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// By the angle.
    Forward,
    /// By the negated angle: the inverse where `cos^2 + sin^2 = 1`, and always the transpose.
    Inverse,
}

/// The extents of queries or keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Samples; all have the same positions.
    pub batch: usize,
    /// Tokens of a sample.
    pub tokens: usize,
    /// Heads of a token.
    pub heads: usize,
    /// Elements of a head; even.
    pub width: usize,
}

/// `y = rotate(x)`
#[derive(Debug)]
pub struct Args<'a> {
    /// `[batch, tokens, heads * width]`
    pub x: In<'a>,
    /// f32 `[tokens, width / 2]`
    pub cos: In<'a>,
    /// f32 `[tokens, width / 2]`
    pub sin: In<'a>,
    /// `[batch, tokens, heads * width]`
    pub y: Out<'a>,
    /// The extents.
    pub dims: Dims,
    /// Forward or backward.
    pub direction: Direction,
}

/// Rotates every pair by its token's angle.
///
/// # Errors
/// An odd head width, operands whose lengths are not those of the extents, tables that are not f32.
pub fn rope(rt: &Runtime, mut args: Args<'_>) -> Result<()> {
    let Dims { batch, tokens, heads, width } = args.dims;
    let n = extent(OP, &[batch, tokens, heads, width])?;
    check_tables(rt, OP, args.cos, args.sin, args.dims)?;
    args.x.check(rt, OP, "x", n)?;
    args.y.check(rt, OP, "y", n)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => {
            let (x, angles) = (args.x.widen(), angles(args.cos, args.sin, args.dims, args.direction));
            args.y.write(|y| cpu::rope(*isa, angles, &x, y));
        }
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::rope(gpu, args)?,
    }
    Ok(())
}

/// Checks the tables of angles, for `op`.
pub(crate) fn check_tables(rt: &Runtime, op: &'static str, cos: In<'_>, sin: In<'_>, dims: Dims) -> Result<()> {
    if !dims.width.is_multiple_of(2) {
        return Err(Error::Domain { op, what: "width", expected: "an even number", got: dims.width as i64 });
    }
    let angles = extent(op, &[dims.tokens, dims.width / 2])?;
    cos.check_type(rt, DType::F32, op, "cos", angles)?;
    sin.check_type(rt, DType::F32, op, "sin", angles)
}

/// The tables, checked, as the host reads them.
pub(crate) fn angles<'a>(cos: In<'a>, sin: In<'a>, dims: Dims, direction: Direction) -> cpu::Angles<'a> {
    cpu::Angles { cos: cos.f32(), sin: sin.f32(), dims, direction }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(x: &[f32], angle: f32, direction: Direction) -> Result<Vec<f32>> {
        let mut y = vec![0.0; x.len()];
        let dims = Dims { batch: 1, tokens: 1, heads: 1, width: x.len() };
        let (cos, sin) = (vec![angle.cos(); x.len() / 2], vec![angle.sin(); x.len() / 2]);
        let (cos, sin) = (In::F32(&cos), In::F32(&sin));
        rope(&Runtime::cpu(), Args { x: In::F32(x), cos, sin, y: Out::F32(&mut y), dims, direction })?;
        Ok(y)
    }

    #[test]
    fn a_quarter_turn_there_and_back() {
        let x = [1.0, 0.0, 0.0, 2.0, 3.0, 4.0];
        let quarter = turn(&x, std::f32::consts::FRAC_PI_2, Direction::Forward).unwrap();
        let back = turn(&quarter, std::f32::consts::FRAC_PI_2, Direction::Inverse).unwrap();
        for (i, want) in [0.0, 1.0, -2.0, 0.0, -4.0, 3.0].into_iter().enumerate() {
            assert!((quarter[i] - want).abs() < 1e-6 && (back[i] - x[i]).abs() < 1e-6, "{quarter:?} {back:?}");
        }
    }

    #[test]
    fn a_head_has_whole_pairs() {
        let error = turn(&[1.0, 2.0, 3.0], 0.0, Direction::Forward).unwrap_err();
        assert_eq!(error, Error::Domain { op: OP, what: "width", expected: "an even number", got: 3 });
    }
}
