//! Networks that run once over their weights: a tensor is read when the pass comes to it, and gone when it is used.
//!
//! A text encoder is the largest network of a video model and runs once a prompt. Whole, the published one takes 10.6 GiB
//! in bf16; a tensor at a time, 80 MiB.

use std::ops::ControlFlow;

use flg_engine::safetensors::SafeTensors;
use flg_engine::{Cx, Device, ParamStore, Tensor, Var};

use crate::{Error, Result};

/// How far a pass is.
#[derive(Clone, Copy, Debug)]
pub struct BlockDone<'a> {
    /// Blocks done, from 1; 0 stands before the first.
    pub done: usize,
    /// Blocks of the pass.
    pub blocks: usize,
    /// The residual stream now.
    pub hidden: &'a Tensor,
}

/// Is told before the first block and after every one how far a pass is, and may stop it.
pub type OnBlock<'a> = dyn FnMut(BlockDone<'_>) -> ControlFlow<()> + 'a;

/// Tells `on_block`.
///
/// # Errors
/// [`Error::EncodingStopped`] where it stops the pass.
pub(crate) fn tell(on_block: &mut OnBlock<'_>, done: BlockDone<'_>) -> Result<()> {
    let BlockDone { done: blocks_done, blocks, .. } = done;
    match on_block(done) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::EncodingStopped { done: blocks_done, blocks }),
    }
}

/// The weights of a file on their way to a device. Matrices stay as they are stored (bf16 or f32; f16 becomes f32), and
/// activations are f32 with either: products widen the weights, and no sum is ever rounded to bf16.
pub(crate) struct Streamed<'a> {
    pub(crate) file: &'a mut SafeTensors,
    pub(crate) device: &'a Device,
    /// What names in the file begin with.
    pub(crate) prefix: &'a str,
}

impl Streamed<'_> {
    /// A tensor, of which the file keeps nothing in memory.
    pub(crate) fn tensor(&mut self, name: &str) -> Result<Tensor> {
        let name = format!("{}{name}", self.prefix);
        let tensor = self.file.tensor_float(&name, self.device);
        self.file.release(&name);
        Ok(tensor?)
    }

    /// A vector, f32.
    pub(crate) fn vector(&mut self, name: &str) -> Result<Tensor> {
        Ok(self.tensor(name)?.cast(flg_engine::DType::F32)?)
    }

    /// Rows of a matrix, f32.
    pub(crate) fn rows(&mut self, name: &str, rows: &[usize]) -> Result<Tensor> {
        let name = format!("{}{name}", self.prefix);
        let picked = self.file.rows(&name, rows, self.device);
        self.file.release(&name);
        Ok(picked?.cast(flg_engine::DType::F32)?)
    }
}

/// Operations of a pass that nothing is recorded of, on plain tensors.
pub(crate) struct Pass {
    none: ParamStore,
}

impl Pass {
    pub(crate) fn new(device: &Device) -> Self {
        Pass { none: ParamStore::new(device) }
    }

    /// Runs one operation.
    pub(crate) fn run<const N: usize>(
        &self,
        inputs: [&Tensor; N],
        op: impl FnOnce(&Cx<'_>, [Var; N]) -> flg_engine::Result<Var>,
    ) -> Result<Tensor> {
        let cx = Cx::inference(&self.none);
        let inputs = inputs.map(|x| cx.input(x.clone()));
        Ok(op(&cx, inputs)?.value().clone())
    }
}

/// Bytes that a pass may hold beside what is counted: what products pack and add up on each thread, pages of a table
/// around the rows that were read. Measured with umt5-xxl on two threads: 15 MiB at 512 tokens, 31 MiB at 60.
pub const UNCOUNTED_BYTES: usize = 48 << 20;

/// The most bytes that a tensor has in the file. While it is copied, the pages that it is copied from are there too.
pub(crate) fn largest_stored<'a>(file: &SafeTensors, names: impl Iterator<Item = &'a str>) -> usize {
    let stored = |name| file.info(name).map_or(0, |info| info.shape.elements() * info.dtype.size());
    names.map(stored).max().unwrap_or(0)
}
