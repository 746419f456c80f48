//! Picks rows: `y[b, p, :] = x[b, index[p], :]`, zeros where the index is -1.
//!
//! The index is the same for every item of the batch. Backward adds `dy[b, p, :]` to `dx[b, index[p], :]`, in the order
//! of `p`.
//!
//! Every index is looked at before anything is written. That of a GPU is fetched for it, so a call there waits for the
//! work that was asked for before.

mod by_row;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;

use std::borrow::Cow;

use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, operands};
use crate::view::extent;
use crate::{DType, Error, In, Out, Result, Runtime};

const OP: &str = "gather";

/// `y[b, p, :] = x[b, index[p], :]`
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[batch, rows, width]`
    pub x: In<'a>,
    /// `[picks]`, i32 in `-1..rows`
    pub index: In<'a>,
    /// `[batch, picks, width]`
    pub y: Out<'a>,
    /// Items that share the index.
    pub batch: usize,
    /// Rows to pick from.
    pub rows: usize,
    /// Picked rows.
    pub picks: usize,
    /// Elements of a row.
    pub width: usize,
}

/// `dx[b, index[p], :] += dy[b, p, :]`
#[derive(Debug)]
pub struct Backward<'a> {
    /// `[batch, picks, width]`
    pub dy: In<'a>,
    /// `[picks]`, i32 in `-1..rows`
    pub index: In<'a>,
    /// `[batch, rows, width]`, f32, added to
    pub dx_acc: Out<'a>,
    /// Items that share the index.
    pub batch: usize,
    /// Rows to pick from.
    pub rows: usize,
    /// Picked rows.
    pub picks: usize,
    /// Elements of a row.
    pub width: usize,
}

/// Runs the forward pass.
///
/// # Errors
/// Operands whose length is not what the extents ask for, an index outside `-1..rows`.
pub fn forward(rt: &Runtime, args: Forward<'_>) -> Result<()> {
    let index = check_index(rt, args.index, args.picks, args.rows)?;
    args.x.check(rt, OP, "x", extent(OP, &[args.batch, args.rows, args.width])?)?;
    args.y.check(rt, OP, "y", extent(OP, &[args.batch, args.picks, args.width])?)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(_) => cpu::forward(args.x, &index, args.y, args.rows, args.width),
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::forward(gpu, args)?,
    }
    Ok(())
}

/// Runs the backward pass.
///
/// # Errors
/// As for [`forward`], and an accumulator that is not f32.
pub fn backward(rt: &Runtime, args: Backward<'_>) -> Result<()> {
    let index = check_index(rt, args.index, args.picks, args.rows)?;
    args.dy.check(rt, OP, "dy", extent(OP, &[args.batch, args.picks, args.width])?)?;
    args.dx_acc.check_f32(rt, OP, "dx_acc", extent(OP, &[args.batch, args.rows, args.width])?)?;
    match rt {
        Runtime::Dry => {}
        Runtime::Cpu(isa) => {
            let (dy, dx) = (args.dy.widen(), args.dx_acc.f32());
            cpu::backward(*isa, &dy, &index, dx, args.rows, args.width);
        }
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::backward(gpu, args, &index)?,
    }
    Ok(())
}

/// The indices, on the host, all of them in range.
fn check_index<'a>(rt: &Runtime, index: In<'a>, picks: usize, rows: usize) -> Result<Cow<'a, [i32]>> {
    index.check_type(rt, DType::I32, OP, "index", picks)?;
    let index = index.indices(rt)?;
    match index.iter().find(|&&i| i < -1 || i64::from(i) >= rows as i64) {
        Some(&i) => Err(Error::Domain { op: OP, what: "index", expected: "-1 or below the rows", got: i.into() }),
        None => Ok(index),
    }
}

/// The catalog row.
#[derive(Debug)]
pub struct Row;

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "y[b, p, :] = x[b, index[p], :], or 0 where index[p] = -1"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["forward", "backward"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["batch", "rows", "picks", "width"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[&[0, 1, 2, 3], &[2, 0, 3, 5], &[2, 3, 0, 5], &[2, 3, 5, 0], &[1, 1, 1, 1], &[3, 7, 5, 13], &[2, 5, 600, 128]]
    }
    fn limits(&self) -> &'static [usize] {
        &[3, 9, 13, 30]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[4, 1024, 512, 384]]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n = (shape[0] * shape[2] * shape[3]) as u64;
        if variant == "forward" { Work { flops: 0, bytes: 8 * n } } else { Work { flops: n, bytes: 12 * n } }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let &[batch, rows, picks, width] = shape else { unreachable!("a shape has as many entries as extents") };
        // Uniform over -1..rows, from numbers in -2..2.
        let index: Vec<i32> = operands(seed, 1, picks)
            .into_iter()
            .map(|x| ((x + 2.0) / 4.0 * (rows + 1) as f32) as i32 - 1)
            .map(|i| i.min(rows as i32 - 1))
            .collect();
        let (dims, index) = (Dims { batch, rows, picks, width }, Stored::I32(index));
        if variant == "forward" {
            let x = Stored::new(operands(seed, 0, batch * rows * width), dtype);
            forward_problem(x, index, Stored::unwritten(batch * picks * width, dtype), dims)
        } else {
            let dy = Stored::new(operands(seed, 0, batch * picks * width), dtype);
            backward_problem(dy, index, Stored::new(operands(seed, 2, batch * rows * width), DType::F32), dims)
        }
    }
}

#[derive(Clone, Copy)]
struct Dims {
    batch: usize,
    rows: usize,
    picks: usize,
    width: usize,
}

fn forward_problem(x: Stored, index: Stored, y: Stored, dims: Dims) -> Box<dyn Problem> {
    let Dims { batch, rows, picks, width } = dims;
    Case::boxed(
        vec![x, index],
        vec![("y", y)],
        move |rt, inputs, out| {
            let (x, index, y) = (inputs[0].input(), inputs[1].input(), out[0].output());
            forward(rt, Forward { x, index, y, batch, rows, picks, width })
        },
        move |inputs| vec![Expected::exact(reference::forward(&inputs[0].f64(), &inputs[1].i32(), batch, width))],
    )
}

fn backward_problem(dy: Stored, index: Stored, dx: Stored, dims: Dims) -> Box<dyn Problem> {
    let Dims { batch, rows, picks, width } = dims;
    let before = dx.f64();
    Case::boxed(
        vec![dy, index],
        vec![("dx_acc", dx)],
        move |rt, inputs, out| {
            let (dy, index, dx_acc) = (inputs[0].input(), inputs[1].input(), out[0].output());
            backward(rt, Backward { dy, index, dx_acc, batch, rows, picks, width })
        },
        move |inputs| {
            let (dy, indices) = (inputs[0].f64(), inputs[1].i32());
            let magnitudes = |x: &[f64]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
            let value = reference::backward(&dy, &indices, &before, batch, width);
            let scale = reference::backward(&magnitudes(&dy), &indices, &magnitudes(&before), batch, width);
            vec![Expected::reduction(value, scale, picks + 1).stored_in_f32()]
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_outside_is_refused() {
        for bad in [-2, 3, i32::MAX] {
            let mut y = [0.0; 2];
            let (x, index) = (In::F32(&[1.0, 2.0, 3.0]), [0, bad]);
            let args =
                Forward { x, index: In::I32(&index), y: Out::F32(&mut y), batch: 1, rows: 3, picks: 2, width: 1 };
            assert!(matches!(forward(&Runtime::cpu(), args), Err(Error::Domain { what: "index", .. })), "{bad}");
        }
    }
}
