//! Attention on a GPU: which kernel, on which grid, and what lies between the two halves of backward.
//!
//! Where `q`, `k` and `v` are bf16 and a head has at most 256 columns, the products run on tensor cores; else in f32.

use bytemuck::{Pod, Zeroable};

use super::{Backward, Dims, Forward, OP};
use crate::runtime::cuda::{Gpu, Grid, Launch, Memory, Operand, Source};
use crate::view::extent;
use crate::{DType, Error, In, Result};

const SOURCE: Source = Source { name: OP, ptx: include_str!(concat!(env!("OUT_DIR"), "/attention.ptx")) };

/// Kernels for tensor cores, by the widest head that they take. Numbers as in `attention.cu`.
const FORWARD: [Tensor; 5] = [
    Tensor { width: 32, kernel: "attention_forward_32", own: 128, passing: 64, split: 1 },
    Tensor { width: 64, kernel: "attention_forward_64", own: 128, passing: 32, split: 1 },
    Tensor { width: 96, kernel: "attention_forward_96", own: 128, passing: 32, split: 1 },
    Tensor { width: 128, kernel: "attention_forward_128", own: 128, passing: 32, split: 1 },
    Tensor { width: 256, kernel: "attention_forward_256", own: 64, passing: 32, split: 1 },
];
const BACKWARD_KEYS: [Tensor; 5] = [
    Tensor { width: 32, kernel: "attention_backward_keys_32", own: 128, passing: 32, split: 1 },
    Tensor { width: 64, kernel: "attention_backward_keys_64", own: 128, passing: 32, split: 1 },
    Tensor { width: 96, kernel: "attention_backward_keys_96", own: 64, passing: 32, split: 1 },
    Tensor { width: 128, kernel: "attention_backward_keys_128", own: 64, passing: 32, split: 1 },
    Tensor { width: 256, kernel: "attention_backward_keys_256", own: 64, passing: 16, split: 2 },
];
const BACKWARD_QUERIES: [Tensor; 5] = [
    Tensor { width: 32, kernel: "attention_backward_queries_32", own: 128, passing: 64, split: 1 },
    Tensor { width: 64, kernel: "attention_backward_queries_64", own: 128, passing: 64, split: 1 },
    Tensor { width: 96, kernel: "attention_backward_queries_96", own: 64, passing: 32, split: 1 },
    Tensor { width: 128, kernel: "attention_backward_queries_128", own: 64, passing: 32, split: 1 },
    Tensor { width: 256, kernel: "attention_backward_queries_256", own: 64, passing: 16, split: 1 },
];

/// Threads of a block on tensor cores; in f32; of the kernels that prepare.
const TENSOR_THREADS: u32 = 128;
const FP32_THREADS: u32 = 256;
const WARPS_OF_ROWS: u32 = 256;
/// Tokens that a block in f32 owns.
const FP32_TOKENS: usize = 64;
/// Lanes of a warp, and keys of a word of the mask.
const WARP: usize = 32;

/// A kernel for tensor cores.
struct Tensor {
    /// Columns of its tiles.
    width: usize,
    kernel: &'static str,
    /// Tokens that a block owns.
    own: usize,
    /// Tokens of a tile that passes by.
    passing: usize,
    /// Blocks that share out the columns of a result.
    split: u32,
}

impl Tensor {
    /// Bytes of shared memory for `tiles` tiles of owned tokens, and two pairs of tiles that pass by.
    fn shared_bytes(&self, tiles: usize) -> usize {
        let pitch = 2 * self.width + 16;
        (tiles * self.own + 4 * self.passing) * pitch
    }
}

/// `Problem` in `problem.cuh`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Problem {
    heads: u32,
    queries: u32,
    keys: u32,
    width: u32,
    scale: f32,
    vectors: u32,
    attended: u64,
}

/// One kernel out of several, and its grid.
struct Choice {
    kernel: &'static str,
    grid: Grid,
}

pub(super) fn forward(gpu: &'static Gpu, args: Forward<'_>) -> Result<()> {
    let Forward { q, k, v, key_mask, out, lse, dims, scale } = args;
    let [q, k, v]: [Operand; 3] = [q, k, v].map(Operand::from);
    let mask = Mask::new(gpu, key_mask, dims)?;
    let tensor = is_for_tensor_cores([q, k, v], dims);
    let vectors = tensor && rows_are_aligned(&[q, k, v], dims);
    let problem = problem(dims, scale, vectors, &mask)?;
    let choice = if tensor {
        on_tensor_cores(&FORWARD, dims, dims.queries, 1)?
    } else {
        let kernels = ["attention_forward_fp32_64", "attention_forward_fp32_128"];
        in_fp32(kernels, dims, dims.queries)?
    };
    let launch = Launch::new(gpu, OP, &SOURCE, choice.kernel)?.arg(problem).arg(q).arg(k).arg(v);
    let launch = launch.arg(Operand::from(out)).arg(Operand::from(lse).address());
    // SAFETY: `check` found in every operand the number of elements that `dims` says; the kernel touches tokens of the
    // batches, heads, queries and keys in `problem` and columns below its width only, and `mask` has a word for every
    // 32 keys. The grid has no more batches than `dims`.
    unsafe { launch.run(choice.grid) }
}

pub(super) fn backward(gpu: &'static Gpu, args: Backward<'_>) -> Result<()> {
    let Backward { q, k, v, key_mask, out, lse, dout, dq, dk, dv, dims, scale } = args;
    let [q, k, v, out, lse, mut dout]: [Operand; 6] = [q, k, v, out, lse, dout].map(Operand::from);
    let mask = Mask::new(gpu, key_mask, dims)?;
    let tensor = is_for_tensor_cores([q, k, v], dims);
    // Tensor cores multiply bf16: a wider gradient is rounded once, for all kernels to see the same.
    let copy = if tensor && !dout.is_bf16() { dims.query_len()? } else { 0 };
    let rounded = Memory::new(gpu, copy * DType::Bf16.size())?;
    let rounded = if copy > 0 { In::Cuda(rounded.slice(0, copy, DType::Bf16)).into() } else { Operand::NONE };
    let rows = dims.row_len()?;
    let statistics = Memory::new(gpu, extent(OP, &[rows, 2, DType::F32.size()])?)?;
    let statistics = Operand::from(In::Cuda(statistics.slice(0, 2 * rows, DType::F32))).address();
    let unaligned = problem(dims, scale, false, &mask)?;
    let prepare = Launch::new(gpu, OP, &SOURCE, "attention_statistics")?.arg(unaligned).arg(narrow(dims.batch)?);
    let prepare = prepare.arg(out).arg(dout).arg(lse.address()).arg(statistics).arg(rounded);
    // SAFETY: `check` found in `out`, `dout` and `lse` what `dims` says; `statistics` has two floats a row and
    // `rounded`, where present, the elements of `dout`; the kernel loops over the rows of `dims`, whatever the grid.
    unsafe { prepare.run(Grid::over(gpu, rows * WARP, WARPS_OF_ROWS, 1))? };
    if copy > 0 {
        dout = rounded;
    }

    let vectors = tensor && rows_are_aligned(&[q, k, v, dout], dims);
    let problem = problem(dims, scale, vectors, &mask)?;
    let launch = |kernel| {
        let launch = Launch::new(gpu, OP, &SOURCE, kernel)?.arg(problem).arg(q).arg(k).arg(v);
        Ok::<_, Error>(launch.arg(dout).arg(statistics))
    };
    let [keys, queries] = if tensor {
        let keys = on_tensor_cores(&BACKWARD_KEYS, dims, dims.keys, 2)?;
        [keys, on_tensor_cores(&BACKWARD_QUERIES, dims, dims.queries, 2)?]
    } else {
        let of_keys = ["attention_backward_keys_fp32_64", "attention_backward_keys_fp32_128"];
        let of_queries = ["attention_backward_queries_fp32_64", "attention_backward_queries_fp32_128"];
        [in_fp32(of_keys, dims, dims.keys)?, in_fp32(of_queries, dims, dims.queries)?]
    };
    // SAFETY: as in `forward`; `statistics` has been written for every query.
    unsafe { launch(keys.kernel)?.arg(Operand::from(dk)).arg(Operand::from(dv)).run(keys.grid)? };
    // SAFETY: as above.
    unsafe { launch(queries.kernel)?.arg(Operand::from(dq)).run(queries.grid) }
}

fn is_for_tensor_cores(operands: [Operand; 3], dims: Dims) -> bool {
    operands.iter().all(|operand| operand.is_bf16()) && FORWARD.iter().any(|tensor| dims.width <= tensor.width)
}

/// Whether each head's row of each operand, all bf16, starts at a multiple of 16 bytes.
fn rows_are_aligned(operands: &[Operand], dims: Dims) -> bool {
    dims.width.is_multiple_of(8) && operands.iter().all(|operand| operand.is_aligned_to(8))
}

/// The narrowest kernel that fits, and a block for every `own` of the `tokens` of each head.
fn on_tensor_cores(kernels: &[Tensor], dims: Dims, tokens: usize, tiles: usize) -> Result<Choice> {
    let tensor = kernels.iter().find(|tensor| dims.width <= tensor.width).ok_or(Error::Overflow { op: OP })?;
    let blocks = extent(OP, &[tokens.div_ceil(tensor.own), dims.heads, dims.batch])?;
    let mut grid = Grid::each(OP, blocks, TENSOR_THREADS)?.shared(tensor.shared_bytes(tiles));
    grid.blocks[1] = tensor.split;
    Ok(Choice { kernel: tensor.kernel, grid })
}

/// The kernel for heads of up to 64 columns, or the one whose blocks take 128 columns each.
fn in_fp32(kernels: [&'static str; 2], dims: Dims, tokens: usize) -> Result<Choice> {
    let blocks = extent(OP, &[tokens.div_ceil(FP32_TOKENS), dims.heads, dims.batch])?;
    let mut grid = Grid::each(OP, blocks, FP32_THREADS)?;
    if dims.width <= 64 {
        return Ok(Choice { kernel: kernels[0], grid });
    }
    grid.blocks[1] = narrow(dims.width.div_ceil(128))?;
    Ok(Choice { kernel: kernels[1], grid })
}

/// Which keys are attended to, a bit each.
struct Mask(Option<Memory>);

impl Mask {
    fn new(gpu: &'static Gpu, mask: Option<In<'_>>, dims: Dims) -> Result<Self> {
        let Some(mask) = mask else { return Ok(Mask(None)) };
        let words = extent(OP, &[dims.batch, dims.keys.div_ceil(WARP)])?;
        let memory = Memory::new(gpu, extent(OP, &[words, DType::I32.size()])?)?;
        let of = Mask(Some(memory));
        let launch = Launch::new(gpu, OP, &SOURCE, "attention_attended")?.arg(Operand::from(mask).address());
        let launch = launch.arg(of.address()).arg(narrow(dims.batch)?).arg(narrow(dims.keys)?);
        // SAFETY: `check` found `batch * keys` floats in `mask`, and the words are as many as the kernel writes.
        unsafe { launch.run(Grid::over(gpu, words * WARP, WARPS_OF_ROWS, 1))? };
        Ok(of)
    }

    /// 0 where there is no mask.
    fn address(&self) -> u64 {
        let slice = |memory: &Memory| Operand::from(In::Cuda(memory.slice(0, 0, DType::I32))).address();
        self.0.as_ref().map_or(0, slice)
    }
}

fn problem(dims: Dims, scale: f32, vectors: bool, mask: &Mask) -> Result<Problem> {
    let Dims { batch: _, heads, queries, keys, width } = dims;
    let [heads, queries, keys, width] = [narrow(heads)?, narrow(queries)?, narrow(keys)?, narrow(width)?];
    Ok(Problem { heads, queries, keys, width, scale, vectors: vectors.into(), attended: mask.address() })
}

/// Kernels count tokens in 32 bits, and go a tile beyond the last one.
fn narrow(n: usize) -> Result<u32> {
    i32::try_from(n).map(|n| n as u32).map_err(|_| Error::Overflow { op: OP })
}
