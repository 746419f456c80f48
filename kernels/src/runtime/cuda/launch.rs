//! One launch of a kernel: grid, shared memory, parameters.

use bytemuck::NoUninit;

use super::{Gpu, Operand, driver};
use crate::{Error, Result};

/// The PTX of a kernel folder.
#[derive(Debug)]
pub struct Source {
    /// The folder's name.
    pub name: &'static str,
    /// What nvcc made of its `.cu`.
    pub ptx: &'static str,
}

/// How many threads, in which blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Blocks along x, y, z: below 2^31, 2^16, 2^16.
    pub blocks: [u32; 3],
    /// Threads of a block along x, y, z; their product is at most 1024.
    pub threads: [u32; 3],
    /// Bytes of dynamic shared memory a block.
    pub shared_bytes: usize,
}

/// Blocks a multiprocessor, beyond which another one only waits.
pub(super) const BUSY: usize = 16;
/// Threads of a block of kernels that have no other wish.
const THREADS: u32 = 256;

/// Shared memory that a kernel may have without asking for more.
const DEFAULT_SHARED_BYTES: usize = 48 << 10;

impl Grid {
    /// Blocks of `threads` in a row, enough for `items` of which a thread takes `each`; at most as many blocks as keep
    /// the GPU busy, since kernels with this grid go on to the items that are left.
    pub fn over(gpu: &Gpu, items: usize, threads: u32, each: usize) -> Self {
        let wanted = items.div_ceil(threads as usize * each.max(1));
        let blocks = wanted.clamp(1, gpu.multiprocessors() * BUSY) as u32;
        Grid { blocks: [blocks, 1, 1], threads: [threads, 1, 1], shared_bytes: 0 }
    }

    /// Blocks over the `rows` rows of a matrix (along x) and the `columns` items of a row (along y), with threads along x
    /// over items and along y over rows; as for [`Grid::over`] kernels go on to what is left.
    pub fn matrix(gpu: &Gpu, rows: usize, columns: usize) -> Self {
        const THREADS: usize = self::THREADS as usize;
        // Few items: whole rows beside each other in a warp. Many: as many threads as divide them without a small rest.
        let x = if columns <= 32 {
            columns.max(1).next_power_of_two()
        } else {
            columns.div_ceil(columns.div_ceil(THREADS)).next_multiple_of(32)
        };
        let y = THREADS / x;
        let busy = gpu.multiprocessors() * BUSY;
        let down = rows.div_ceil(y).min(busy);
        let across = columns.div_ceil(x).min((busy / down.max(1)).max(1));
        Grid { blocks: [down as u32, across as u32, 1], threads: [x as u32, y as u32, 1], shared_bytes: 0 }
    }

    /// One block of `threads` for each of `count` things.
    ///
    /// # Errors
    /// More of them than a grid has blocks.
    pub fn each(op: &'static str, count: usize, threads: u32) -> Result<Self> {
        let blocks = i32::try_from(count).map_err(|_| Error::Overflow { op })?;
        Ok(Grid { blocks: [blocks as u32, 1, 1], threads: [threads, 1, 1], shared_bytes: 0 })
    }

    /// With `bytes` of dynamic shared memory a block.
    pub fn shared(self, bytes: usize) -> Self {
        Grid { shared_bytes: bytes, ..self }
    }
}

/// A launch that is being put together.
#[derive(Debug)]
pub struct Launch<'g> {
    gpu: &'g Gpu,
    op: &'static str,
    kernel: &'static str,
    function: driver::Function,
    params: Vec<u8>,
}

impl<'g> Launch<'g> {
    /// Of `kernel` in `source`.
    ///
    /// # Errors
    /// PTX that the driver refuses.
    pub fn new(gpu: &'g Gpu, op: &'static str, source: &Source, kernel: &'static str) -> Result<Self> {
        let function = gpu.function(op, source, kernel)?;
        Ok(Launch { gpu, op, kernel, function, params: Vec::new() })
    }

    /// The next parameter, in the order of the kernel's declaration and with the layout that C gives its type.
    #[must_use]
    pub fn arg<T: NoUninit>(mut self, value: T) -> Self {
        self.params.resize(self.params.len().next_multiple_of(align_of::<T>()), 0);
        self.params.extend_from_slice(bytemuck::bytes_of(&value));
        self
    }

    /// The next parameters, one after the other.
    #[must_use]
    pub fn args<T: NoUninit>(self, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(self, Launch::arg)
    }

    /// Extents, which kernels take as 64 bits.
    #[must_use]
    pub fn extents<const N: usize>(self, extents: [usize; N]) -> Self {
        self.args(extents.map(|extent| extent as u64))
    }

    /// Ends the parameters with the number of elements, `n`, and whether `operands` are accessed four elements at a time,
    /// and runs on a [`Grid::over`] them.
    ///
    /// # Errors
    /// As [`Launch::run`].
    ///
    /// # Safety
    /// As for [`Launch::run`], where the kernel touches elements below `n` only.
    pub unsafe fn run_over(self, n: usize, operands: &[Operand]) -> Result<()> {
        let (vectors, grid) = (Operand::all_in_fours(operands), Grid::over(self.gpu, n, THREADS, 4));
        // SAFETY: the caller's promise.
        unsafe { self.extents([n]).arg(u32::from(vectors)).run(grid) }
    }

    /// Ends the parameters with whether the rows of `operands`, of `width` elements, are accessed four elements at a
    /// time, and runs on a [`Grid::matrix`] of `rows` of them.
    ///
    /// # Errors
    /// As [`Launch::run`].
    ///
    /// # Safety
    /// As for [`Launch::run`], where the kernel touches rows below `rows` and elements of them below `width` only.
    pub unsafe fn run_over_rows(self, rows: usize, width: usize, operands: &[Operand]) -> Result<()> {
        let vectors = width.is_multiple_of(4) && Operand::all_in_fours(operands);
        let grid = Grid::matrix(self.gpu, rows, if vectors { width / 4 } else { width });
        // SAFETY: the caller's promise.
        unsafe { self.arg(u32::from(vectors)).run(grid) }
    }

    /// Puts the launch into the GPU's stream. A grid without blocks is nothing to do.
    ///
    /// # Errors
    /// What the driver refuses: a grid or shared memory outside the limits, the failure of earlier work.
    ///
    /// # Safety
    /// The parameters are those that the kernel declares, and each memory that it is given has, for this grid, the
    /// extent that it reads or writes. The driver compares the parameters' total length only.
    pub unsafe fn run(mut self, grid: Grid) -> Result<()> {
        if grid.blocks.contains(&0) {
            return Ok(());
        }
        let Grid { blocks, threads, shared_bytes } = grid;
        let shared = i32::try_from(shared_bytes).map_err(|_| Error::Overflow { op: self.op })?;
        if shared_bytes > DEFAULT_SHARED_BYTES {
            // SAFETY: the function is one that the driver gave out.
            self.gpu.call(self.op, "cuFuncSetAttribute", |_| unsafe {
                driver::cuFuncSetAttribute(self.function, driver::MAX_DYNAMIC_SHARED_BYTES, shared)
            })?;
        }
        self.gpu.note(self.op, self.kernel, grid);
        let mut bytes = self.params.len();
        let key = std::ptr::without_provenance_mut;
        let mut extra = [
            key(driver::PARAM_BUFFER),
            self.params.as_mut_ptr().cast(),
            key(driver::PARAM_BUFFER_BYTES),
            (&raw mut bytes).cast(),
            key(driver::PARAM_END),
        ];
        // SAFETY: the parameters lie in `params`, which like `bytes` and `extra` outlives the call (the driver copies
        // them); that they fit the kernel is the caller's promise.
        self.gpu.call(self.op, "cuLaunchKernel", |gpu| unsafe {
            driver::cuLaunchKernel(
                self.function,
                blocks[0],
                blocks[1],
                blocks[2],
                threads[0],
                threads[1],
                threads[2],
                shared as u32,
                gpu.raw_stream(),
                std::ptr::null_mut(),
                extra.as_mut_ptr(),
            )
        })
    }
}
