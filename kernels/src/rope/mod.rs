//! Rotary position embedding (Su et al., "RoFormer", 2021) on adjacent pairs, as in Wan:
//! `(a, b) -> (a * cos - b * sin, a * sin + b * cos)` for elements `2i` and `2i + 1` of each head, with the angles of
//! the token.
//!
//! The rotation by the negated angle, [`Direction::Inverse`], is the backward pass.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;
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
    if !width.is_multiple_of(2) {
        return Err(Error::Domain { op: OP, what: "width", expected: "an even number", got: width as i64 });
    }
    let n = extent(OP, &[batch, tokens, heads, width])?;
    let angles = extent(OP, &[tokens, width / 2])?;
    args.x.check(rt, OP, "x", n)?;
    args.y.check(rt, OP, "y", n)?;
    args.cos.check_type(rt, DType::F32, OP, "cos", angles)?;
    args.sin.check_type(rt, DType::F32, OP, "sin", angles)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => {
            let (x, cos, sin) = (args.x.widen(), args.cos.f32(), args.sin.f32());
            let inputs = cpu::Inputs { x: &x, cos, sin, dims: args.dims, direction: args.direction };
            args.y.write(|y| cpu::rope(*isa, inputs, y));
        }
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::rope(gpu, args)?,
    }
    Ok(())
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
