//! Matrix product: `c (= or +=) epilogue(op(a) op(b))`, one or a batch of them.
//!
//! With `[m, k] x [k, n] -> [m, n]`, the epilogue of one product is, in this order and each part optional,
//!
//! ```text
//! u = ab + bias          preactivation = u
//! y = activation(u)      c = residual + gate[row / rows_per_group] * y
//! ```
//!
//! so that a linear layer, its activation and its gated residual are one pass over `c`. The three layouts are those of
//! a linear layer `y = x W^T` with `W [out, in]`: forward `NT`, gradient of `x` `NN`, gradient of `W` `TN`.

mod block;
pub(crate) mod buffer;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod epilogue;
pub(crate) mod micro;
mod pack;
pub(crate) mod plan;
mod reference;
mod row;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::simd::Isa;
use crate::view::extent;
use crate::{DType, Error, In, Out, Result, Runtime};

pub use row::Row;

const OP: &str = "gemm";

/// How `a` and `b` are stored; `N` as the formula reads them, `T` transposed, `P` in panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `a [m, k]`, `b [k, n]`
    NN,
    /// `a [m, k]`, `b [n, k]`
    NT,
    /// `a [k, m]`, `b [k, n]`
    TN,
    /// `a [m, k]`, `b` as [`prepack`] lays it out on the same runtime, f32
    NP,
}

/// Extents of one product `[m, k] x [k, n]`. Any may be zero; `k = 0` gives a zero product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Rows of `c`.
    pub m: usize,
    /// Columns of `c`.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
}

/// How many products, and how far apart their operands are, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Number of products.
    pub count: usize,
    /// From one `a` to the next; 0 shares one `a`.
    pub stride_a: usize,
    /// From one `b` to the next; 0 shares one `b`.
    pub stride_b: usize,
    /// From one `c` to the next, at least `m * n`.
    pub stride_c: usize,
}

impl Batch {
    /// A single product.
    pub const fn one() -> Self {
        Batch { count: 1, stride_a: 0, stride_b: 0, stride_c: 0 }
    }
}

/// What happens to what `c` held before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Write {
    /// `c = ab`
    #[default]
    Overwrite,
    /// `c += ab`
    Accumulate,
}

/// The pointwise function of an epilogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `u`
    #[default]
    None,
    /// `u/2 (1 + tanh(sqrt(2/pi) (u + 0.044715 u^3)))`
    GeluTanh,
    /// `u/2 (1 + erf(u / sqrt 2))`
    GeluErf,
    /// `u sigmoid(u)`
    Silu,
}

/// A residual connection with an optional gate a group of rows: `c = residual + gate * y`.
#[derive(Clone, Copy, Debug)]
pub struct Gated<'a> {
    /// `[m, n]`
    pub residual: In<'a>,
    /// `[m / rows_per_group, n]`; `None` is a gate of 1
    pub gate: Option<In<'a>>,
    /// Consecutive rows that share one row of `gate`; divides `m`. Without a gate it is not looked at.
    pub rows_per_group: usize,
}

/// What is done to the product on its way into `c`. The default is nothing.
#[derive(Debug, Default)]
pub struct Epilogue<'a> {
    /// `[n]`
    pub bias: Option<In<'a>>,
    /// After the bias.
    pub activation: Activation,
    /// `[m, n]` (`=`): what the activation was given, for its backward pass.
    pub preactivation: Option<Out<'a>>,
    /// After the activation.
    pub gated: Option<Gated<'a>>,
}

impl Epilogue<'_> {
    fn is_nothing(&self) -> bool {
        let plain = self.activation == Activation::None;
        plain && self.bias.is_none() && self.preactivation.is_none() && self.gated.is_none()
    }
}

/// `c (= or +=) epilogue(op(a) op(b))`
///
/// Any operand may be f32 or bf16, whatever the others are. An operand of a batch has `(count - 1) * stride` elements
/// and one matrix.
#[derive(Debug)]
pub struct Args<'a> {
    /// `[m, k]`, or `[k, m]` in `TN`
    pub a: In<'a>,
    /// `[k, n]`, or `[n, k]` in `NT`
    pub b: In<'a>,
    /// `[m, n]`
    pub c: Out<'a>,
    /// Which operand is transposed.
    pub layout: Layout,
    /// Extents of one product.
    pub dims: Dims,
    /// How many products.
    pub batch: Batch,
    /// Whether `c` is added to.
    pub write: Write,
    /// Only for one product that overwrites `c`.
    pub epilogue: Epilogue<'a>,
}

/// Lays `b` out in the order in which products read it, which they otherwise do every time: for weights that stay.
///
/// A product with [`Layout::NP`] gives the bits of the one with the layout that `b` had, except that on the host without
/// an epilogue a sum over very many steps for few elements may be cut differently, and that on a GPU the product of two
/// bf16 operands has an order of its own.
#[derive(Debug)]
pub struct Prepack<'a> {
    /// `[n, k]`
    pub b: In<'a>,
    /// f32 [`panels_len`] (`=`)
    pub panels: Out<'a>,
    /// Columns of the product.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
}

/// Elements of the panels of `n` columns and `k` terms on this runtime.
///
/// # Errors
/// Extents that overflow.
pub fn panels_len(rt: &Runtime, n: usize, k: usize) -> Result<usize> {
    let isa = match *rt {
        Runtime::Cpu(isa) => isa,
        Runtime::Dry => Isa::detect(),
        // Weights lie best as they are: panels are the weight in f32.
        #[cfg(feature = "cuda")]
        Runtime::Cuda(_) => return extent(OP, &[n, k]),
    };
    let width = plan::Tiling::of(isa).columns();
    extent(OP, &[n.checked_next_multiple_of(width).ok_or(Error::Overflow { op: OP })?, k])
}

/// Fills the panels.
///
/// # Errors
/// Operands of the wrong length; panels that are not f32; extents that overflow.
pub fn prepack(rt: &Runtime, args: Prepack<'_>) -> Result<()> {
    let Prepack { b, panels, n, k } = args;
    b.check(rt, OP, "b", extent(OP, &[n, k])?)?;
    panels.check_f32(rt, OP, "panels", panels_len(rt, n, k)?)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::prepack(gpu, Prepack { b, panels, n, k })?,
        Runtime::Cpu(isa) => {
            let b = pack::Operand::b(b, Layout::NT, Dims { m: 0, n, k });
            cpu::pack_b(cpu::Machine::new(*isa), b, 0..n, k, panels.f32());
        }
    }
    Ok(())
}

/// Runs the product.
///
/// # Errors
/// Operands of the wrong length, products that overlap in `c`, an epilogue on a batch or on an accumulation, groups that
/// do not divide the rows.
pub fn gemm(rt: &Runtime, args: Args<'_>) -> Result<()> {
    check(rt, &args)?;
    match rt {
        Runtime::Dry => {}
        #[cfg(feature = "cuda")]
        Runtime::Cuda(gpu) => cuda::gemm(gpu, args)?,
        Runtime::Cpu(isa) => on_cpu(*isa, args),
    }
    Ok(())
}

fn on_cpu(isa: Isa, args: Args<'_>) {
    let Args { a, b, c, layout, dims, batch, write, epilogue } = args;
    let Epilogue { bias, activation, preactivation, gated } = epilogue;
    let (bias, gate) = (bias.map(|x| x.widen()), gated.and_then(|g| g.gate).map(|x| x.widen()));
    let residual = gated.map(|g| g.residual.widen());
    let product = cpu::Product {
        a: pack::Operand::a(a, layout, dims),
        b: pack::Operand::b(b, layout, dims),
        dims,
        write,
        epilogue: epilogue::Epilogue {
            bias: bias.as_deref(),
            activation,
            residual: residual.as_deref(),
            gate: gate.as_deref(),
            rows_per_group: gated.map_or(1, |g| g.rows_per_group.max(1)),
        },
    };
    let on = cpu::Machine::new(isa);
    in_f32(c, write, |c| match preactivation {
        Some(u) => in_f32(u, Write::Overwrite, |u| cpu::run(on, product, batch, c, Some(u))),
        None => cpu::run(on, product, batch, c, None),
    });
}

/// Gives `body` the elements of `out` as f32 and rounds them back; [`Write::Accumulate`] shows it the old ones.
fn in_f32(mut out: Out<'_>, write: Write, body: impl FnOnce(&mut [f32])) {
    let old = match &out {
        Out::Bf16(x) if write == Write::Accumulate => In::Bf16(x).widen(),
        _ => Cow::Borrowed(&[][..]),
    }
    .into_owned();
    out.write(|x| {
        if !old.is_empty() {
            x.copy_from_slice(&old);
        }
        body(x);
    });
}

fn check(rt: &Runtime, args: &Args<'_>) -> Result<()> {
    let (Dims { m, n, k }, batch) = (args.dims, args.batch);
    let elements = |matrix: usize, stride: usize| match batch.count {
        0 if stride > 0 => Ok(0),
        0 | 1 => Ok(matrix),
        count => {
            let last = extent(OP, &[count - 1, stride])?;
            last.checked_add(matrix).ok_or(Error::Overflow { op: OP })
        }
    };
    args.a.check(rt, OP, "a", elements(extent(OP, &[m, k])?, batch.stride_a)?)?;
    let b = if args.layout == Layout::NP { panels_len(rt, n, k)? } else { extent(OP, &[k, n])? };
    args.b.check(rt, OP, "b", elements(b, batch.stride_b)?)?;
    if args.layout == Layout::NP {
        args.b.check_type(rt, DType::F32, OP, "b", args.b.len())?;
    }
    let matrix = extent(OP, &[m, n])?;
    if batch.count > 1 && batch.stride_c < matrix {
        return domain("stride_c", "at least m * n", batch.stride_c);
    }
    args.c.check(rt, OP, "c", if batch.count == 0 { 0 } else { elements(matrix, batch.stride_c)? })?;
    if args.epilogue.is_nothing() { Ok(()) } else { check_epilogue(rt, args, matrix) }
}

fn check_epilogue(rt: &Runtime, args: &Args<'_>, matrix: usize) -> Result<()> {
    let Epilogue { bias, preactivation, gated, .. } = &args.epilogue;
    if args.batch.count != 1 {
        return domain("batch.count", "1 with an epilogue", args.batch.count);
    }
    if args.write == Write::Accumulate {
        return domain("write", "Overwrite (0) with an epilogue", 1);
    }
    if let Some(bias) = bias {
        bias.check(rt, OP, "bias", args.dims.n)?;
    }
    if let Some(preactivation) = preactivation {
        preactivation.check(rt, OP, "preactivation", matrix)?;
    }
    let Some(Gated { residual, gate, rows_per_group }) = gated else { return Ok(()) };
    residual.check(rt, OP, "residual", matrix)?;
    let Some(gate) = gate else { return Ok(()) };
    if *rows_per_group == 0 || !args.dims.m.is_multiple_of(*rows_per_group) {
        return domain("rows_per_group", "a divisor of m", *rows_per_group);
    }
    gate.check(rt, OP, "gate", args.dims.m / rows_per_group * args.dims.n)
}

fn domain(what: &'static str, expected: &'static str, got: usize) -> Result<()> {
    Err(Error::Domain { op: OP, what, expected, got: i64::try_from(got).unwrap_or(i64::MAX) })
}
