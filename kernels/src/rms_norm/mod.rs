//! Root-mean-square normalisation over the last extent: `y = x * rstd * weight`, `rstd = 1 / sqrt(mean(x^2) + eps)`
//! (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).
//!
//! Backward, with `xhat = x * rstd` and `d = dy * weight`: `dx = rstd * (d - xhat * mean(d * xhat))`,
//! `dweight += sum dy * xhat`.
//!
//! With a [`Rotation`] the normalised row is turned on its way out, as [`crate::rope`] turns it: queries and keys in one
//! pass. In f32 the result has the bits of the two kernels one after the other; in bf16 it is rounded once, not twice.
//! The backward pass turns `dy` back first.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;
mod rotated_row;
mod row;

use crate::groups::Groups;
use crate::rope::{self, Direction};
use crate::{DType, Error, In, Out, Result, Runtime};

pub use rotated_row::RotatedRow;
pub use row::Row;

const OP: &str = "rms_norm";

/// What normalised rows are turned by: the operands of [`crate::rope::Args`].
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    /// f32 `[tokens, width / 2]`, the width that of a head
    pub cos: In<'a>,
    /// f32 `[tokens, width / 2]`
    pub sin: In<'a>,
    /// `batch * tokens` rows of `heads * width` elements.
    pub dims: rope::Dims,
}

impl<'a> Rotation<'a> {
    fn check(self, rt: &Runtime, rows: Groups) -> Result<()> {
        let rope::Dims { batch, tokens, heads, width } = self.dims;
        let domain = |what, expected, got: usize| Err(Error::Domain { op: OP, what, expected, got: got as i64 });
        if batch.checked_mul(tokens) != Some(rows.rows) {
            return domain("tokens", "rows / batch", tokens);
        }
        if heads.checked_mul(width) != Some(rows.width) {
            return domain("heads", "the row's width over that of a head", heads);
        }
        rope::check_tables(rt, OP, self.cos, self.sin, self.dims)
    }

    fn angles(self, direction: Direction) -> rope::cpu::Angles<'a> {
        rope::angles(self.cos, self.sin, self.dims, direction)
    }
}

/// `y = x * rstd * weight`, turned where a rotation is given
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
    /// What the normalised rows are turned by.
    pub rotation: Option<Rotation<'a>>,
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
    /// As in the forward pass: `dy` is turned back before anything else is done with it.
    pub rotation: Option<Rotation<'a>>,
}

/// Runs the forward pass.
///
/// # Errors
/// Operands whose lengths are not those of the extents, statistics or tables that are not f32, a rotation of other rows
/// or of heads with an odd width.
pub fn forward(rt: &Runtime, mut args: Forward<'_>) -> Result<()> {
    let rows = Groups::new(OP, args.rows, args.width, args.rows)?;
    args.x.check(rt, OP, "x", rows.len())?;
    args.weight.check(rt, OP, "weight", args.width)?;
    args.y.check(rt, OP, "y", rows.len())?;
    args.rstd.check_f32(rt, OP, "rstd", args.rows)?;
    args.rotation.map_or(Ok(()), |rotation| rotation.check(rt, rows))?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::forward(gpu, args)?,
        Runtime::Cpu(isa) => {
            let (x, weight) = (args.x.widen(), args.weight.widen());
            let rotation = args.rotation.map(|rotation| rotation.angles(Direction::Forward));
            let inputs = cpu::Forward { width: args.width, x: &x, weight: &weight, eps: args.eps, rotation };
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
    args.rotation.map_or(Ok(()), |rotation| rotation.check(rt, rows))?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::backward(gpu, args)?,
        Runtime::Cpu(isa) => {
            let (x, weight, dy) = (args.x.widen(), args.weight.widen(), args.dy.widen());
            let rstd = args.rstd.f32();
            let rotation = args.rotation.map(|rotation| rotation.angles(Direction::Inverse));
            let inputs = cpu::Backward { width: args.width, x: &x, weight: &weight, rstd, dy: &dy, rotation };
            let dweight = args.dweight_acc.f32();
            args.dx.write(|dx| cpu::backward(*isa, rows, inputs, dx, dweight));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::operands;
    use crate::simd::Isa;

    const DIMS: rope::Dims = rope::Dims { batch: 2, tokens: 37, heads: 3, width: 22 };
    const ROWS: usize = DIMS.batch * DIMS.tokens;
    const WIDTH: usize = DIMS.heads * DIMS.width;

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    /// `y, rstd, dx, dweight` of the norm, given what it is turned by.
    fn run(rt: &Runtime, dy: &[f32], rotation: Option<Rotation<'_>>) -> [Vec<f32>; 4] {
        let (x, weight) = (operands(1, 0, ROWS * WIDTH), operands(1, 1, WIDTH));
        let [mut y, mut dx] = [(); 2].map(|()| vec![0.0; ROWS * WIDTH]);
        let (mut rstd, mut dweight) = (vec![0.0; ROWS], operands(1, 2, WIDTH));
        let (x, weight) = (In::F32(&x), In::F32(&weight));
        let (rows, width) = (ROWS, WIDTH);
        let (out, statistics) = (Out::F32(&mut y), Out::F32(&mut rstd));
        forward(rt, Forward { x, weight, y: out, rstd: statistics, rows, width, eps: 1e-6, rotation }).unwrap();
        let (dy, gradient, dweight_acc) = (In::F32(dy), Out::F32(&mut dx), Out::F32(&mut dweight));
        let rstd_in = In::F32(&rstd);
        backward(rt, Backward { x, weight, rstd: rstd_in, dy, dx: gradient, dweight_acc, rows, width, rotation })
            .unwrap();
        [y, rstd, dx, dweight]
    }

    #[test]
    fn a_rotation_in_the_same_pass_has_the_bits_of_one_that_follows() {
        let [cos, sin] = [3, 4].map(|stream| operands(1, stream, DIMS.tokens * DIMS.width / 2));
        let (cos, sin) = (In::F32(&cos), In::F32(&sin));
        let dy = operands(1, 5, ROWS * WIDTH);
        for isa in Isa::available() {
            let rt = Runtime::Cpu(isa);
            let turn = |x: &[f32], direction| {
                let mut y = vec![0.0; x.len()];
                let args = rope::Args { x: In::F32(x), cos, sin, y: Out::F32(&mut y), dims: DIMS, direction };
                rope::rope(&rt, args).unwrap();
                y
            };
            let fused = run(&rt, &dy, Some(Rotation { cos, sin, dims: DIMS }));
            let mut apart = run(&rt, &turn(&dy, Direction::Inverse), None);
            apart[0] = turn(&apart[0], Direction::Forward);
            assert_eq!(fused.map(|x| bits(&x)), apart.map(|x| bits(&x)), "{isa:?}");
        }
    }

    #[test]
    fn a_rotation_fits_its_rows() {
        let table = vec![0.0; DIMS.tokens * DIMS.width];
        let check = |dims| {
            let rows = Groups::new(OP, ROWS, WIDTH, ROWS).unwrap();
            let rotation = Rotation { cos: In::F32(&table), sin: In::F32(&table), dims };
            rotation.check(&Runtime::cpu(), rows).unwrap_err()
        };
        let what = |error| if let Error::Domain { what, .. } = error { what } else { "" };
        assert_eq!(what(check(rope::Dims { batch: 3, ..DIMS })), "tokens");
        assert_eq!(what(check(rope::Dims { heads: 4, ..DIMS })), "heads");
        assert_eq!(what(check(rope::Dims { heads: 2, width: 33, ..DIMS })), "width");
        assert!(matches!(check(DIMS), Error::Length { .. }));
    }
}
