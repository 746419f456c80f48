//! Products on a GPU: which kernel, which tile of `c` a block computes, and in how many chunks the sums are.

use bytemuck::{Pod, Zeroable};

use super::{Args, Dims, Epilogue, Layout, OP, Prepack, Write};
use crate::runtime::cuda::{Gpu, Grid, Launch, Memory, Operand, Source};
use crate::view::extent;
use crate::{DType, Error, In, Result};

#[cfg(test)]
mod tests;

const TENSOR: Source = Source { name: "gemm_tensor", ptx: include_str!(concat!(env!("OUT_DIR"), "/gemm_tensor.ptx")) };
const SCALAR: Source = Source { name: "gemm_scalar", ptx: include_str!(concat!(env!("OUT_DIR"), "/gemm_scalar.ptx")) };
const SUM: Source = Source { name: "gemm_sum", ptx: include_str!(concat!(env!("OUT_DIR"), "/gemm_sum.ptx")) };

/// Terms to whose multiples sums are cut into chunks: the tiles of all kernels divide it.
const TERMS: usize = 32;
/// Terms of a chunk at least, blocks of 128 x 128 beyond which a product is not cut (two for each multiprocessor of an
/// A100), and f32 partial sums at most (64 MiB).
const CHUNK: usize = 512;
const BLOCKS: usize = 216;
const PARTIALS: usize = 1 << 24;
/// Elements of an operand whose 16-byte pieces 32 bits can count.
const COUNTABLE: usize = 1 << 34;

/// A kernel, once for each layout, and what a block of it does.
#[derive(Debug)]
struct Tiling {
    source: &'static Source,
    /// `NN`, `NT`, `TN`
    kernels: [&'static str; 3],
    rows: usize,
    columns: usize,
    threads: u32,
    shared_bytes: usize,
    /// Cycles that 16 terms keep a multiprocessor of an A100 busy: its tensor cores, or where they wait for it, its
    /// shared memory.
    cycles: usize,
}

/// bf16 by bf16, lines of both at multiples of 16 bytes. Larger tiles first, which read less.
const TENSOR_TILINGS: [Tiling; 3] = [
    tensor(["gemm_tensor_128x256_nn", "gemm_tensor_128x256_nt", "gemm_tensor_128x256_tn"], [128, 256], 256, 512),
    tensor(["gemm_tensor_128x128_nn", "gemm_tensor_128x128_nt", "gemm_tensor_128x128_tn"], [128, 128], 128, 256),
    tensor(["gemm_tensor_64x64_nn", "gemm_tensor_64x64_nt", "gemm_tensor_64x64_tn"], [64, 64], 128, 96),
];

/// bf16 by bf16, lines anywhere.
const TENSOR_PLAIN_TILINGS: [Tiling; 1] =
    [tensor(["gemm_tensor_plain_nn", "gemm_tensor_plain_nt", "gemm_tensor_plain_tn"], [64, 64], 128, 96)];

/// f32 by f32, lines of both at multiples of 16 bytes.
const SCALAR_TILINGS: [Tiling; 2] = [
    scalar(["gemm_scalar_128_nn", "gemm_scalar_128_nt", "gemm_scalar_128_tn"], 128),
    scalar(["gemm_scalar_64_nn", "gemm_scalar_64_nt", "gemm_scalar_64_tn"], 64),
];

/// Anything by anything, lines anywhere.
const SCALAR_PLAIN_TILINGS: [Tiling; 2] = [
    scalar(["gemm_scalar_plain_128_nn", "gemm_scalar_plain_128_nt", "gemm_scalar_plain_128_tn"], 128),
    scalar(["gemm_scalar_plain_64_nn", "gemm_scalar_plain_64_nt", "gemm_scalar_plain_64_tn"], 64),
];

/// Four stages of 32 terms in bf16 are in shared memory.
const fn tensor(kernels: [&'static str; 3], [rows, columns]: [usize; 2], threads: u32, cycles: usize) -> Tiling {
    Tiling { source: &TENSOR, kernels, rows, columns, threads, shared_bytes: 4 * (rows + columns) * 64, cycles }
}

/// A thread has 8 x 8 elements of a square tile; two stages of 16 terms in f32 are in shared memory. A multiprocessor has
/// 64 units for f32.
const fn scalar(kernels: [&'static str; 3], side: usize) -> Tiling {
    let (threads, shared_bytes) = ((side * side / 64) as u32, 2 * (side + side) * 64);
    Tiling { source: &SCALAR, kernels, rows: side, columns: side, threads, shared_bytes, cycles: 16 * side * side / 64 }
}

impl Tiling {
    fn blocks(&self, m: usize, n: usize, parts: usize) -> Result<usize> {
        extent(OP, &[m.div_ceil(self.rows), n.div_ceil(self.columns), parts])
    }

    /// The one of `tilings` with which the busiest multiprocessor is done first. Sums do not depend on it.
    fn fastest<'t>(tilings: &'t [Tiling], gpu: &Gpu, product: &Product) -> &'t Tiling {
        let time = |tiling: &&Tiling| match tiling.blocks(product.m as usize, product.n as usize, product.parts()) {
            Ok(blocks) => blocks.div_ceil(gpu.multiprocessors()).saturating_mul(tiling.cycles),
            Err(_) => usize::MAX,
        };
        tilings.iter().min_by_key(time).unwrap_or(&tilings[0])
    }
}

/// `Product` in `product.cuh`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Product {
    a: Operand,
    b: Operand,
    c: Operand,
    partials: Operand,
    preactivation: Operand,
    bias: Operand,
    residual: Operand,
    gate: Operand,
    stride_a: u64,
    stride_b: u64,
    stride_c: u64,
    m: u32,
    n: u32,
    k: u32,
    chunk: u32,
    chunks: u32,
    rows_per_group: u32,
    activation: u32,
    accumulate: u32,
    vectors: u32,
    vectors_a: u32,
    vectors_b: u32,
    count: u32,
}

impl Product {
    fn new(args: Args<'_>) -> Result<Self> {
        let Args { a, b, c, layout, dims, batch, write, epilogue } = args;
        let Epilogue { bias, activation, preactivation, gated } = epilogue;
        let small = |extent: usize| i32::try_from(extent).map(|e| e as u32).map_err(|_| Error::Overflow { op: OP });
        let chunk = chunk(dims, batch.count);
        let mut product = Product {
            a: a.into(),
            b: b.into(),
            c: c.into(),
            partials: Operand::NONE,
            preactivation: preactivation.into(),
            bias: bias.into(),
            residual: gated.map(|g| g.residual).into(),
            gate: gated.and_then(|g| g.gate).into(),
            stride_a: batch.stride_a as u64,
            stride_b: batch.stride_b as u64,
            stride_c: batch.stride_c as u64,
            m: small(dims.m)?,
            n: small(dims.n)?,
            k: small(dims.k)?,
            chunk: small(chunk)?,
            chunks: small(dims.k.div_ceil(chunk).max(1))?,
            // Without a gate it is not looked at, and may be anything.
            rows_per_group: gated.filter(|g| g.gate.is_some()).map_or(Ok(1), |g| small(g.rows_per_group))?,
            activation: activation as u32,
            accumulate: u32::from(write == Write::Accumulate),
            vectors: 0,
            vectors_a: 0,
            vectors_b: 0,
            count: small(batch.count)?,
        };
        product.vectors = u32::from(product.rows_are_vectors());
        product.vectors_a = u32::from(product.lines_start_at_multiples_of(4, layout)[0]);
        product.vectors_b = u32::from(product.lines_start_at_multiples_of(4, layout)[1]);
        Ok(product)
    }

    /// Products, times chunks of their sums.
    fn parts(&self) -> usize {
        self.count as usize * self.chunks as usize
    }

    /// Whether everything with `n` columns can be accessed by four elements at a time.
    fn rows_are_vectors(&self) -> bool {
        let operands = [self.c, self.preactivation, self.bias, self.residual, self.gate];
        let strides = self.count == 1 || self.stride_c.is_multiple_of(4);
        self.n.is_multiple_of(4) && strides && Operand::all_in_fours(&operands)
    }

    /// Whether all lines of `a`, and of `b`, what is contiguous in them, start at multiples of `elements`.
    fn lines_start_at_multiples_of(&self, elements: usize, layout: Layout) -> [bool; 2] {
        let line_a = if layout == Layout::TN { self.m } else { self.k };
        let line_b = if matches!(layout, Layout::NT | Layout::NP) { self.k } else { self.n };
        [(self.a, line_a, self.stride_a), (self.b, line_b, self.stride_b)].map(|(operand, line, stride)| {
            let strides = self.count == 1 || stride.is_multiple_of(elements as u64);
            operand.is_aligned_to(elements) && line.is_multiple_of(elements as u32) && strides
        })
    }

    /// Kernels that compute it; each gives the same bits.
    fn tilings(&self, layout: Layout) -> &'static [Tiling] {
        let bf16 = [self.a, self.b].map(Operand::is_bf16);
        let pieces = if bf16[0] { 8 } else { 4 };
        let countable = u64::from(self.m.max(self.n)) * u64::from(self.k) <= COUNTABLE as u64;
        let aligned = countable && self.lines_start_at_multiples_of(pieces, layout) == [true, true];
        match (bf16, aligned) {
            ([true, true], true) => &TENSOR_TILINGS,
            ([true, true], false) => &TENSOR_PLAIN_TILINGS,
            ([false, false], true) => &SCALAR_TILINGS,
            _ => &SCALAR_PLAIN_TILINGS,
        }
    }

    fn run(mut self, gpu: &'static Gpu, layout: Layout, tiling: &Tiling) -> Result<()> {
        let (m, n) = (self.m as usize, self.n as usize);
        let partials = if self.chunks > 1 { extent(OP, &[self.parts(), m, n, size_of::<f32>()])? } else { 0 };
        let partials = Memory::new(gpu, partials)?;
        if self.chunks > 1 {
            self.partials = In::Cuda(partials.slice(0, partials.bytes() / size_of::<f32>(), DType::F32)).into();
        }
        let kernel = match layout {
            Layout::NN => tiling.kernels[0],
            Layout::NT | Layout::NP => tiling.kernels[1],
            Layout::TN => tiling.kernels[2],
        };
        let grid = Grid::each(OP, tiling.blocks(m, n, self.parts())?, tiling.threads)?.shared(tiling.shared_bytes);
        // SAFETY: blocks read rows, columns and terms below `m`, `n` and `k` of the `count` products only, for which
        // `check` found room in every operand, and write the elements of `c`, or of the partial sums taken above.
        unsafe { Launch::new(gpu, OP, tiling.source, kernel)?.arg(self).run(grid)? };
        if self.chunks > 1 {
            let grid = Grid::over(gpu, self.count as usize * m * n.div_ceil(4), 256, 1);
            // SAFETY: as above.
            unsafe { Launch::new(gpu, OP, &SUM, "gemm_sum")?.arg(self).run(grid)? };
        }
        Ok(())
    }
}

/// Terms of a chunk of the sums: less than all where `c` has few tiles and the sums are long (gradients of weights), and
/// where writing and reading the partial sums moves no more than the operands. It depends on the shape alone.
fn chunk(Dims { m, n, k }: Dims, count: usize) -> usize {
    let elements = m.saturating_mul(n).saturating_mul(count).max(1);
    let blocks = m.div_ceil(128).saturating_mul(n.div_ceil(128)).saturating_mul(count).max(1);
    let worth = (m + n).saturating_mul(k) / m.saturating_mul(n).saturating_mul(4).max(1);
    let chunks = (k / CHUNK).min(BLOCKS / blocks).min(PARTIALS / elements).min(worth).max(1);
    k.div_ceil(chunks).max(1).next_multiple_of(TERMS)
}

pub(super) fn gemm(gpu: &'static Gpu, args: Args<'_>) -> Result<()> {
    let layout = args.layout;
    if args.dims.m == 0 || args.dims.n == 0 || args.batch.count == 0 {
        return Ok(());
    }
    let product = Product::new(args)?;
    product.run(gpu, layout, Tiling::fastest(product.tilings(layout), gpu, &product))
}

pub(super) fn prepack(gpu: &Gpu, args: Prepack<'_>) -> Result<()> {
    let n = args.panels.len();
    let operands: [Operand; 2] = [args.b.into(), args.panels.into()];
    let launch = Launch::new(gpu, OP, &SUM, "gemm_panels")?.args(operands);
    // SAFETY: the kernel touches elements below `n` only, and `check` found `n` in both operands.
    unsafe { launch.run_over(n, &operands) }
}
