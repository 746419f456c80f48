//! The table that tests, benches and documentation iterate: one row a kernel.
//!
//! A row knows how to make a *problem* of a given shape: random operands, one call of the kernel, and what the f64
//! reference says about the same operands. Everything generic (odd shapes, bf16, thread counts, running twice, timing)
//! is written once, over the rows.

mod case;
mod stored;

pub use case::Case;
pub use stored::Stored;

use crate::{DType, Result, Runtime};

/// Every kernel. A new kernel is a folder and a line here.
pub const KERNELS: &[&dyn Kernel] = &[
    &crate::adamw::Row,
    &crate::attention::Row,
    &crate::cast::Row,
    &crate::conv::Row,
    &crate::elementwise::Row,
    &crate::gated_add::Row,
    &crate::gather::Row,
    &crate::gelu::Row(crate::gelu::Form::Erf),
    &crate::gelu::Row(crate::gelu::Form::Tanh),
    &crate::gemm::Row,
    &crate::layer_norm::AFFINE,
    &crate::layer_norm::MODULATED,
    &crate::lerp::Row,
    &crate::modulation::Row,
    &crate::mse::Row,
    &crate::normal::Row,
    &crate::patchify::Row,
    &crate::reduce::Row,
    &crate::regroup::Row,
    &crate::rms_norm::Row,
    &crate::rms_norm::RotatedRow,
    &crate::rope::Row,
    &crate::silu::Row,
    &crate::softmax::Row,
    &crate::strided_copy::Row,
    &crate::unit_norm::Row,
];

/// A row of the catalog.
pub trait Kernel: Sync {
    /// The folder's name; with variant and extents it names a bench (`layer_norm/forward/4096x384`).
    fn name(&self) -> &'static str;
    /// The formula in one line.
    fn formula(&self) -> &'static str;
    /// Directions or layouts (`forward`, `backward`; `nn`, `nt`, `tn`).
    fn variants(&self) -> &'static [&'static str];
    /// The names of the extents that a shape lists.
    fn extents(&self) -> &'static [&'static str];
    /// Shapes that tests always try: with 0, with 1, with primes, with a multiple of every vector width.
    fn shapes(&self) -> &'static [&'static [usize]];
    /// Shapes that benches time.
    fn bench_shapes(&self) -> &'static [&'static [usize]];
    /// Element types that the kernel stores its main operands in.
    fn dtypes(&self) -> &'static [DType] {
        &[DType::F32, DType::Bf16]
    }
    /// Whether the formula multiplies zeros that stand in no operand: a NaN reaches results then that do not change with
    /// the number in its place. Which ones, the reference says.
    fn multiplies_padding(&self) -> bool {
        false
    }
    /// The largest value of each extent that a random shape of a property test may have.
    fn limits(&self) -> &'static [usize];
    /// What one call costs.
    fn work(&self, variant: &str, shape: &[usize]) -> Work;
    /// Operands for one call, drawn from `seed`.
    fn problem(&self, variant: &'static str, shape: &[usize], dtype: DType, seed: u64) -> Box<dyn Problem>;
}

/// What a call costs, for benches: multiply and add count as one operation each; every operand is moved once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written, at f32.
    pub bytes: u64,
}

/// One call of a kernel and what it should give.
pub trait Problem: Send {
    /// Runs the kernel once. Accumulators and operands *in place* go on from what they hold.
    fn run(&mut self, rt: &Runtime) -> Result<()>;
    /// Puts accumulators and operands *in place* back to where they start; tests do so before they run again.
    fn reset(&mut self) {}
    /// What the kernel reads, and what its outputs hold before it runs. Tests put other values of the same length and
    /// type there, then [`Problem::reset`]; [`Problem::expected`] sees the former, and not always the latter.
    fn operands(&mut self) -> Vec<&mut Stored>;
    /// Moves all operands to where `rt` computes, and puts them back to where they start.
    ///
    /// # Errors
    /// A GPU that fails.
    fn move_to(&mut self, rt: &Runtime) -> Result<()> {
        for operand in self.operands() {
            *operand = std::mem::replace(operand, Stored::F32(Vec::new())).on(rt)?;
        }
        self.reset();
        Ok(())
    }
    /// What the last [`Problem::run`] wrote, widened to f32.
    fn outputs(&self) -> Vec<(&'static str, Vec<f32>)>;
    /// What the reference gives for the same, already rounded, operands; in the order of [`Problem::outputs`].
    fn expected(&self) -> Vec<Expected>;
}

/// One output of the reference, and how far an honest f32 kernel may be from it.
///
/// An element passes when `|got - value| <= tolerance * scale + atol`.
#[derive(Clone, Debug)]
pub struct Expected {
    /// f64 values.
    pub value: Vec<f64>,
    /// For a reduction the sum of the terms' magnitudes (so that honest cancellation passes), else `|value|`.
    pub scale: Vec<f64>,
    /// Relative tolerance, derived and not tuned: `4 eps sqrt(k)` for a reduction of `k` terms.
    pub tolerance: f64,
    /// Absolute tolerance, for results of functions whose own error is absolute (a polynomial's 5e-7).
    pub atol: f64,
    /// Roundings to bf16 on the way to this output when operands are bf16; each adds `2^-8 * scale`.
    pub roundings: u32,
}

impl Expected {
    /// A pointwise result: the scale is the value itself.
    pub fn pointwise(value: Vec<f64>, tolerance: f64, atol: f64) -> Self {
        let scale = value.iter().map(|v| v.abs()).collect();
        Expected { value, scale, tolerance, atol, roundings: 1 }
    }

    /// A copy: every bit is prescribed.
    pub fn exact(value: Vec<f64>) -> Self {
        let scale = vec![0.0; value.len()];
        Expected { value, scale, tolerance: 0.0, atol: 0.0, roundings: 0 }
    }

    /// The same, for an output that is stored in f32 whatever the type of the operands.
    pub fn stored_in_f32(self) -> Self {
        Expected { roundings: 0, ..self }
    }

    /// A reduction of `terms` terms, whose magnitudes sum to `scale`.
    pub fn reduction(value: Vec<f64>, scale: Vec<f64>, terms: usize) -> Self {
        let tolerance = 4.0 * f32::EPSILON as f64 * (terms.max(1) as f64).sqrt();
        Expected { value, scale, tolerance, atol: 1e-30, roundings: 1 }
    }

    /// The largest allowed distance of element `i` when the kernel stored its outputs as `dtype`.
    pub fn bound(&self, i: usize, dtype: DType) -> f64 {
        let rounding = if dtype == DType::Bf16 { self.roundings as f64 / 256.0 } else { 0.0 };
        self.atol + self.scale[i] * (self.tolerance + rounding)
    }
}

/// A reproducible stream of test operands, about uniform in -2..2. Not the product's random numbers: those are Philox.
pub fn operands(seed: u64, stream: u64, len: usize) -> Vec<f32> {
    let mut state = seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..len).map(|_| ((next() >> 40) as f32 / (1u32 << 24) as f32) * 4.0 - 2.0).collect()
}

/// The gradient of `f` at `x` by central differences with step 1e-5, in f64: what backward kernels are held to.
///
/// Costs two calls of `f` an element, so shapes of backward tests are small.
pub fn central_differences(x: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    const H: f64 = 1e-5;
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let here = x[i];
            x[i] = here + H;
            let up = f(&x);
            x[i] = here - H;
            let down = f(&x);
            x[i] = here;
            (up - down) / (2.0 * H)
        })
        .collect()
}
