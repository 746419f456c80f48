//! A network whose blocks may stay in their file: each is read when a pass comes to it, and gone behind it.
//!
//! So a network runs on a machine that cannot hold it: beside the block at work only what lies outside the blocks is in
//! memory, and as many blocks as there is room for. Several passes that go through the blocks together, such as the two
//! branches of guidance, share one reading.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use flg_engine::{Cx, Device, ParamId, ParamStore, Precision, Tensor, Var};

use super::Wan;
use super::embed::{Embedded, Text};
use crate::checkpoint::{Keep, StoredNetwork};
use crate::{BlockMask, Result};

/// A network and where its blocks are.
#[derive(Debug)]
pub struct Blockwise {
    wan: Wan,
    /// All parameters; those of blocks are there by shape only.
    shell: ParamStore,
    /// The parameters of each block.
    blocks: Vec<Range<usize>>,
    file: Mutex<Reader>,
}

/// The file, and the blocks that stay in memory once they have been read.
#[derive(Debug)]
struct Reader {
    stored: StoredNetwork,
    keep: Keep,
    /// Blocks that may stay: those below this number.
    resident: usize,
    there: BTreeMap<usize, Vec<Tensor>>,
}

/// A pass on its way through the blocks.
#[derive(Clone, Debug)]
pub struct Pass {
    /// What blocks and head need beside the stream.
    pub embedded: Embedded,
    /// The residual stream, `[b, tokens, d]`.
    pub stream: Var,
}

impl From<Embedded> for Pass {
    /// In front of the first block.
    fn from(embedded: Embedded) -> Self {
        Pass { stream: embedded.tokens.clone(), embedded }
    }
}

impl Blockwise {
    /// A network of which at most `resident` blocks stay in memory. On a dry device nothing is read.
    ///
    /// # Errors
    /// As [`StoredNetwork::tensor`].
    pub fn new(mut stored: StoredNetwork, keep: Keep, resident: usize, device: &Device) -> Result<Self> {
        let config = stored.config().clone();
        let (mut shell, mut blocks) = (ParamStore::new(device), vec![0..0; config.num_layers]);
        for (place, parameter) in config.parameters().into_iter().enumerate() {
            let value = match block_of(&parameter.name) {
                Some(block) => {
                    if blocks[block].is_empty() {
                        blocks[block].start = place;
                    }
                    blocks[block].end = place + 1;
                    Tensor::empty(&Device::dry(), parameter.shape, stored.dtype(&parameter.name, keep))?
                }
                None => stored.take(&parameter.name, keep, device)?,
            };
            shell.insert(parameter.name, value)?;
        }
        let wan = Wan::bind(config, &shell)?;
        let reader = Reader { stored, keep, resident, there: BTreeMap::new() };
        Ok(Blockwise { wan, shell, blocks, file: Mutex::new(reader) })
    }

    /// The architecture.
    pub fn wan(&self) -> &Wan {
        &self.wan
    }

    /// What lies outside the blocks; the parameters of blocks can not be computed with.
    pub fn shell(&self) -> &ParamStore {
        &self.shell
    }

    /// Lets go of the blocks that stayed in memory, until they are needed again.
    pub fn forget(&self) {
        self.reader().there.clear();
    }

    /// Takes `passes` through the blocks that `mask` keeps, one block for all of them after the other. `on_block` hears of
    /// each block that is done.
    ///
    /// # Errors
    /// Weights that cannot be read; a mask for another number of blocks; what `on_block` returns.
    pub fn blocks(
        &self,
        precision: Precision,
        passes: &mut [Pass],
        mask: &BlockMask,
        on_block: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        self.wan.expect_mask(mask)?;
        for block in mask.kept() {
            let weights = self.with_block(block)?;
            let cx = Cx::inference(&weights).with_precision(precision);
            for Pass { embedded, stream } in passes.iter_mut() {
                *stream = self.wan.blocks(&cx, embedded, stream.clone(), block..block + 1, mask)?;
            }
            on_block(block)?;
        }
        Ok(())
    }

    /// Computes the keys and values of the blocks that stay in memory, once for a whole run: the others' are computed with
    /// every pass, which is little beside the pass.
    ///
    /// # Errors
    /// Weights that cannot be read.
    pub fn remember_keys_values(&self, precision: Precision, texts: &mut [Text], mask: &BlockMask) -> Result<()> {
        let resident = self.reader().resident;
        for block in mask.kept().into_iter().filter(|&block| block < resident) {
            let weights = self.with_block(block)?;
            let cx = Cx::inference(&weights).with_precision(precision);
            texts.iter_mut().try_for_each(|text| self.wan.remember_keys_values(&cx, text, block))?;
        }
        Ok(())
    }

    /// All parameters, of which those outside the blocks and those of one block can be computed with.
    fn with_block(&self, block: usize) -> Result<ParamStore> {
        let places = self.blocks[block].clone();
        let names = places.clone().map(|place| self.shell.name(ParamId::from_index(place)));
        let values = self.reader().block(block, names, self.shell.device())?;
        let mut weights = self.shell.clone();
        for (place, value) in places.zip(values) {
            *weights.get_mut(ParamId::from_index(place)) = value;
        }
        Ok(weights)
    }

    fn reader(&self) -> std::sync::MutexGuard<'_, Reader> {
        // A panic elsewhere leaves whole blocks: they stay usable.
        self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Reader {
    fn block<'n>(
        &mut self,
        block: usize,
        names: impl Iterator<Item = &'n str>,
        device: &Device,
    ) -> Result<Vec<Tensor>> {
        if let Some(values) = self.there.get(&block) {
            return Ok(values.clone());
        }
        let values = names.map(|name| self.stored.take(name, self.keep, device)).collect::<Result<Vec<_>>>()?;
        if block < self.resident {
            self.there.insert(block, values.clone());
        }
        Ok(values)
    }
}

/// The block that a parameter belongs to.
fn block_of(name: &str) -> Option<usize> {
    name.strip_prefix("blocks.")?.split_once('.')?.0.parse().ok()
}
