//! Weighted squared error: `loss = scale * sum_r w_r sum_j (a - b)^2`.
//!
//! With `scale = 1 / (rows * width)` and no weights it is the mean. Backward gives `da`; `db = -da`.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod reference;

use crate::catalog::{Case, Expected, Kernel, Problem, Stored, Work, central_differences, operands};
use crate::view::extent;
use crate::{DType, In, Out, Result, Runtime};

const OP: &str = "mse";

/// `loss = scale * sum_r w_r sum_j (a - b)^2`, summed in f64.
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[rows, width]`
    pub a: In<'a>,
    /// `[rows, width]`
    pub b: In<'a>,
    /// `[rows]`, f32; absent: 1
    pub weights: Option<In<'a>>,
    /// `[1]`, f32
    pub loss: Out<'a>,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// Factor of the sum.
    pub scale: f32,
}

/// `da = 2 * scale * dloss * w_r * (a - b)`
#[derive(Debug)]
pub struct Backward<'a> {
    /// `[rows, width]`
    pub a: In<'a>,
    /// `[rows, width]`
    pub b: In<'a>,
    /// `[rows]`, f32; absent: 1
    pub weights: Option<In<'a>>,
    /// `[1]`, f32
    pub dloss: In<'a>,
    /// `[rows, width]`
    pub da: Out<'a>,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub width: usize,
    /// Factor of the sum.
    pub scale: f32,
}

/// Runs the forward pass.
///
/// # Errors
/// Operands whose length is not what the extents ask for; weights or a loss that are not f32.
pub fn forward(rt: &Runtime, args: Forward<'_>) -> Result<()> {
    let n = extent(OP, &[args.rows, args.width])?;
    args.a.check(rt, OP, "a", n)?;
    args.b.check(rt, OP, "b", n)?;
    check_weights(rt, args.weights, args.rows)?;
    args.loss.check_f32(rt, OP, "loss", 1)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::forward(gpu, args)?,
        Runtime::Cpu(isa) => {
            let weights = args.weights.map(|w| w.f32());
            let sum = cpu::forward(*isa, &args.a.widen(), &args.b.widen(), weights, args.width);
            args.loss.f32()[0] = (f64::from(args.scale) * sum) as f32;
        }
    }
    Ok(())
}

/// Runs the backward pass.
///
/// # Errors
/// Operands whose length is not what the extents ask for; weights or `dloss` that are not f32.
pub fn backward(rt: &Runtime, mut args: Backward<'_>) -> Result<()> {
    let n = extent(OP, &[args.rows, args.width])?;
    args.a.check(rt, OP, "a", n)?;
    args.b.check(rt, OP, "b", n)?;
    args.da.check(rt, OP, "da", n)?;
    check_weights(rt, args.weights, args.rows)?;
    args.dloss.check_type(rt, DType::F32, OP, "dloss", 1)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::backward(gpu, args)?,
        Runtime::Cpu(isa) => {
            let weights = args.weights.map(|w| w.f32());
            let factor = 2.0 * args.scale * args.dloss.f32()[0];
            let (a, b) = (args.a.widen(), args.b.widen());
            args.da.write(|da| cpu::backward(*isa, [&a, &b], weights, factor, da, args.width));
        }
    }
    Ok(())
}

/// The catalog row.
#[derive(Debug)]
pub struct Row;

const SCALE: f32 = 0.37;
const DLOSS: f32 = -1.6;

impl Kernel for Row {
    fn name(&self) -> &'static str {
        OP
    }
    fn formula(&self) -> &'static str {
        "loss = scale * sum_r w_r sum_j (a - b)^2"
    }
    fn variants(&self) -> &'static [&'static str] {
        &["forward", "forward_weighted", "backward", "backward_weighted"]
    }
    fn extents(&self) -> &'static [&'static str] {
        &["rows", "width"]
    }
    fn shapes(&self) -> &'static [&'static [usize]] {
        &[&[0, 3], &[3, 0], &[1, 1], &[1, 7], &[3, 8], &[5, 13], &[31, 17]]
    }
    fn limits(&self) -> &'static [usize] {
        &[7, 40]
    }
    fn bench_shapes(&self) -> &'static [&'static [usize]] {
        &[&[64, 16384]]
    }
    fn work(&self, variant: &str, shape: &[usize]) -> Work {
        let n = (shape[0] * shape[1]) as u64;
        if variant.starts_with("forward") {
            Work { flops: 3 * n, bytes: 8 * n }
        } else {
            Work { flops: 2 * n, bytes: 12 * n }
        }
    }
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem> {
        let (rows, width) = (shape[0], shape[1]);
        let mut inputs = vec![0, 1].into_iter().map(|i| Stored::new(operands(seed, i, rows * width), dtype)).collect();
        if variant.ends_with("weighted") {
            Vec::push(&mut inputs, Stored::new(operands(seed, 2, rows), DType::F32));
        }
        if variant.starts_with("forward") {
            forward_problem(inputs, rows, width)
        } else {
            backward_problem(inputs, ("da", Stored::unwritten(rows * width, dtype)), rows, width)
        }
    }
}

fn check_weights(rt: &Runtime, weights: Option<In<'_>>, rows: usize) -> Result<()> {
    weights.map_or(Ok(()), |weights| weights.check_type(rt, DType::F32, OP, "weights", rows))
}

fn weights(inputs: &[Stored], rows: usize) -> Vec<f64> {
    inputs.get(2).map_or_else(|| vec![1.0; rows], Stored::f64)
}

fn forward_problem(inputs: Vec<Stored>, rows: usize, width: usize) -> Box<dyn Problem> {
    Case::boxed(
        inputs,
        vec![("loss", Stored::unwritten(1, DType::F32))],
        move |rt, inputs, out| {
            let (a, b, weights) = (inputs[0].input(), inputs[1].input(), inputs.get(2).map(Stored::input));
            forward(rt, Forward { a, b, weights, loss: out[0].output(), rows, width, scale: SCALE })
        },
        move |inputs| {
            let (a, b, w) = (inputs[0].f64(), inputs[1].f64(), weights(inputs, rows));
            let magnitudes: Vec<f64> = w.iter().map(|w| w.abs()).collect();
            let value = reference::forward(&a, &b, &w, SCALE.into());
            let scale = reference::forward(&a, &b, &magnitudes, SCALE.into());
            vec![Expected::reduction(vec![value], vec![scale], 1).stored_in_f32()]
        },
    )
}

/// `inputs`: `a`, `b`, and weights where there are any.
fn backward_problem(
    mut inputs: Vec<Stored>,
    da: (&'static str, Stored),
    rows: usize,
    width: usize,
) -> Box<dyn Problem> {
    inputs.push(Stored::new(vec![DLOSS], DType::F32));
    let dloss = inputs.len() - 1;
    let weighted = dloss == 3;
    Case::boxed(
        inputs,
        vec![da],
        move |rt, inputs, out| {
            let (a, b, weights) = (inputs[0].input(), inputs[1].input(), weighted.then(|| inputs[2].input()));
            let (dloss, da) = (inputs[dloss].input(), out[0].output());
            backward(rt, Backward { a, b, weights, dloss, da, rows, width, scale: SCALE })
        },
        move |inputs| {
            let (a, b, w) = (inputs[0].f64(), inputs[1].f64(), weights(&inputs[..dloss], rows));
            let dloss = inputs[dloss].f64()[0];
            // Each row alone: the other rows' terms would only add rounding noise to the differences.
            let da: Vec<f64> = (0..rows)
                .flat_map(|r| {
                    let row = r * width..(r + 1) * width;
                    central_differences(&a[row.clone()], |a| {
                        dloss * reference::forward(a, &b[row.clone()], &w[r..r + 1], SCALE.into())
                    })
                })
                .collect();
            vec![Expected::pointwise(da, 4.0 * f64::from(f32::EPSILON), 1e-7)]
        },
    )
}
