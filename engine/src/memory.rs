//! Storage and the pool that it returns to.
//!
//! A training step allocates the same sizes in the same order every time. Freed storage goes back to its device's pool
//! and serves the next request of about its size, so that a steady state asks nothing of the system allocator and
//! touches no fresh pages.
//!
//! Small buffers are kept by size. Large ones share mappings in which free memory is divided anew
//! (`memory/arena.rs`): kept by size as well, they left 8 % of what a training step held unused at size S, and 18 % with
//! checkpointed blocks, where gradients found only buffers of activations free.
//!
//! The memory of a GPU is counted here and reused by its driver, in the order of the GPU's stream.
//!
//! A dry device ([`crate::Device::dry`]) has a pool that counts the same, and reserves addresses instead of memory.

mod arena;
mod buffer;
mod holes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[cfg(feature = "cuda")]
use flg_kernels::runtime::cuda::{Gpu, Memory};
use flg_kernels::{In, Out, bf16};
use memmap2::MmapOptions;
use rayon::prelude::*;

use self::arena::Arena;
use self::buffer::Buffer;
use crate::{DType, Result};

/// Memory of a device, counted and reused.
#[derive(Debug, Default)]
pub struct Pool {
    state: Mutex<State>,
    /// Whether this is a rehearsal.
    dry: bool,
    /// Whose memory it is, if not the host's.
    #[cfg(feature = "cuda")]
    gpu: Option<&'static Gpu>,
}

#[derive(Debug, Default)]
struct State {
    /// Small free buffers by type and capacity in elements.
    free: BTreeMap<(u8, usize), Vec<Buffer>>,
    /// Bytes in them.
    small: usize,
    /// Large buffers.
    arena: Arena,
    usage: Usage,
    /// What parts that would run at once would hold beside what one of them does, in a rehearsal.
    beside: usize,
    /// What the passes that are being walked back kept.
    walking: usize,
}

/// Bytes that a pool accounts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In living tensors now.
    pub live: usize,
    /// The most that was ever in living tensors.
    pub peak: usize,
    /// Kept for reuse now.
    pub free: usize,
    /// The most that was ever held: in living tensors, or kept for reuse.
    pub held: usize,
    /// The most that passes kept for their walk back when that began. Means something in rehearsals
    /// only, where one thing happens at a time.
    pub saved: usize,
}

/// One allocation; goes back to its pool when dropped, if it came from there.
#[derive(Debug)]
pub struct Storage {
    /// `None` only while dropping.
    buffer: Option<Buffer>,
    len: usize,
    origin: Origin,
    pool: Arc<Pool>,
}

/// Who allocated a buffer, and so who gets it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The pool, for the next request of its size.
    Pool,
    /// A caller, with elements in it. Were it kept for reuse, a step that brings such buffers along would leave more behind
    /// than it takes, and the pool would grow with every step.
    Caller,
}

/// Small free buffers up to this factor larger than a request may serve it.
const SLACK: usize = 2;
/// Bytes from which on a buffer is large: several pages, of which the last may be filled in part.
const LARGE: usize = 1 << 16;

impl Pool {
    /// The pool of a rehearsal.
    pub(crate) fn dry() -> Self {
        Pool { dry: true, ..Pool::default() }
    }

    /// The pool of a GPU's memory.
    #[cfg(feature = "cuda")]
    pub(crate) fn of_gpu(gpu: &'static Gpu) -> Self {
        Pool { gpu: Some(gpu), ..Pool::default() }
    }

    /// Runs `body` for each of `count` parts at the same time, on as many threads as there are; returns what they
    /// return, in order. A rehearsal runs them one after the other, and counts what they need as if it did not.
    pub fn side_by_side<T: Send>(&self, count: usize, body: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
        if !self.dry {
            return (0..count).into_par_iter().map(body).collect();
        }
        let at_once = rayon::current_num_threads().min(count);
        (0..count).map(|i| self.count_as(at_once.min(count - i), || body(i))).collect()
    }

    /// Runs `body`, and counts what it needs for a while as needed by `parts` at once.
    fn count_as<T>(&self, parts: usize, body: impl FnOnce() -> T) -> T {
        let before = self.usage();
        {
            let usage = &mut self.lock().usage;
            (usage.peak, usage.saved) = (usage.live, 0);
        }
        let result = body();
        let mut state = self.lock();
        let others = (parts - 1) * (state.usage.peak - before.live);
        state.beside = state.beside.max(others);
        let usage = &mut state.usage;
        usage.peak = before.peak.max(usage.peak + others);
        usage.saved = before.saved.max(parts * usage.saved);
        state.watch();
        result
    }

    /// Hears that a pass which began at `before` living bytes begins its walk back; returns what it has kept. A walk
    /// within a walk (that of a block that is computed again) finds what the outer one kept still there.
    pub(crate) fn walk_begins(&self, before: usize) -> usize {
        let mut state = self.lock();
        let kept = state.usage.live.saturating_sub(before);
        state.walking += kept;
        state.usage.saved = state.usage.saved.max(state.walking);
        kept
    }

    /// Hears that a walk back is at its end.
    pub(crate) fn walk_ends(&self, kept: usize) {
        self.lock().walking -= kept;
    }

    /// Whether this is a rehearsal, in which contents do not matter.
    pub(crate) fn is_dry(&self) -> bool {
        self.dry
    }

    /// What is in use.
    pub fn usage(&self) -> Usage {
        self.lock().usage
    }

    /// Starts a new measurement of the peak.
    pub fn reset_peak(&self) {
        let usage = &mut self.lock().usage;
        usage.peak = usage.live;
    }

    /// Gives unused buffers back to the system.
    pub fn trim(&self) {
        let mut state = self.lock();
        state.free.clear();
        state.small = 0;
        state.arena.trim();
        state.watch();
    }

    /// Storage for `len` elements with unspecified contents.
    ///
    /// # Errors
    /// A GPU without enough memory left.
    pub(crate) fn allocate(self: &Arc<Self>, len: usize, dtype: DType) -> Result<Storage> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = self.gpu {
            let memory = Memory::new(gpu, len.saturating_mul(dtype.size()))?;
            return Ok(self.adopt(Buffer::Gpu(memory, dtype), len, Origin::Pool));
        }
        let ours = self.lock().take(len, dtype);
        Ok(self.adopt(ours.unwrap_or_else(|| Buffer::new(len, dtype)), len, Origin::Pool))
    }

    /// Storage around elements that exist already; on a GPU around a copy of them.
    ///
    /// # Errors
    /// A GPU without enough memory left.
    pub(crate) fn adopt_f32(self: &Arc<Self>, values: Vec<f32>) -> Result<Storage> {
        self.adopt_host(Buffer::F32(values))
    }

    /// [`Pool::adopt_f32`] for bf16.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn adopt_bf16(self: &Arc<Self>, values: Vec<bf16>) -> Result<Storage> {
        self.adopt_host(Buffer::Bf16(values))
    }

    /// [`Pool::adopt_f32`] for indices.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn adopt_i32(self: &Arc<Self>, values: Vec<i32>) -> Result<Storage> {
        self.adopt_host(Buffer::I32(values))
    }

    fn adopt_host(self: &Arc<Self>, values: Buffer) -> Result<Storage> {
        let len = values.elements();
        #[cfg(feature = "cuda")]
        if let Some(gpu) = self.gpu {
            let mut memory = Memory::new(gpu, values.bytes())?;
            memory.upload(0, values.host_bytes())?;
            return Ok(self.adopt(Buffer::Gpu(memory, values.dtype()), len, Origin::Pool));
        }
        Ok(self.adopt(values, len, Origin::Caller))
    }

    /// Storage as a caller would bring it along, in a rehearsal.
    pub(crate) fn bring(self: &Arc<Self>, len: usize, dtype: DType) -> Storage {
        let bytes = len.saturating_mul(dtype.size());
        let large = (bytes >= LARGE).then(|| MmapOptions::new().no_reserve_swap().len(bytes).map_anon());
        // Where the system does not even give addresses, it is asked as for any other buffer.
        let buffer = match large {
            Some(Ok(map)) => Buffer::Dry(map, dtype),
            _ => Buffer::new(len, dtype),
        };
        self.adopt(buffer, len, Origin::Caller)
    }

    fn adopt(self: &Arc<Self>, buffer: Buffer, len: usize, origin: Origin) -> Storage {
        let mut state = self.lock();
        state.usage.live += buffer.bytes();
        state.watch();
        Storage { buffer: Some(buffer), len, origin, pool: self.clone() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic elsewhere leaves the counters as they were: the pool stays usable.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    /// Counts what is free, and keeps the largest of what changes.
    fn watch(&mut self) {
        let (beside, usage) = (self.beside, &mut self.usage);
        usage.free = self.small + self.arena.free();
        usage.peak = usage.peak.max(usage.live);
        usage.held = usage.held.max(usage.live + usage.free + beside);
    }

    fn take(&mut self, len: usize, dtype: DType) -> Option<Buffer> {
        let bytes = len.saturating_mul(dtype.size());
        if bytes >= LARGE {
            return Some(Buffer::Region(self.arena.take(bytes)?, dtype));
        }
        let range = (dtype as u8, len)..=(dtype as u8, len.saturating_mul(SLACK));
        let (&key, list) = self.free.range_mut(range).next()?;
        let buffer = list.pop();
        if list.is_empty() {
            self.free.remove(&key);
        }
        self.small -= buffer.as_ref().map_or(0, Buffer::bytes);
        buffer
    }

    /// Keeps for reuse what the pool made.
    fn give(&mut self, buffer: Buffer) {
        match buffer {
            Buffer::Region(region, _) => self.arena.give(region),
            // The driver keeps it for reuse.
            #[cfg(feature = "cuda")]
            Buffer::Gpu(..) => {}
            // Made where the arena had no addresses: no request for so much looks here.
            buffer if buffer.bytes() >= LARGE => {}
            buffer => {
                self.small += buffer.bytes();
                self.free.entry((buffer.dtype() as u8, buffer.elements())).or_default().push(buffer);
            }
        }
    }
}

impl Storage {
    fn buffer(&self) -> &Buffer {
        self.buffer.as_ref().expect("storage is used after its drop")
    }

    pub(crate) fn dtype(&self) -> DType {
        self.buffer().dtype()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn input(&self, offset: usize, len: usize) -> In<'_> {
        self.buffer().input(offset, len)
    }

    pub(crate) fn output(&mut self, offset: usize, len: usize) -> Option<Out<'_>> {
        self.buffer.as_mut()?.output(offset, len)
    }

    /// Makes all elements zero.
    pub(crate) fn zero(&mut self) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(Buffer::Gpu(memory, _)) = &mut self.buffer {
            return Ok(memory.zero()?);
        }
        if self.pool.is_dry() {
            return Ok(());
        }
        match self.output(0, self.len) {
            Some(Out::F32(x)) => x.fill(0.0),
            Some(Out::Bf16(x)) => x.fill(bf16::ZERO),
            _ => unreachable!("no kernel writes indices"),
        }
        Ok(())
    }

    /// The memory behind these elements, where it is a GPU's.
    #[cfg(feature = "cuda")]
    pub(crate) fn on_gpu(&self) -> Option<&Memory> {
        match self.buffer() {
            Buffer::Gpu(memory, _) => Some(memory),
            _ => None,
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        let mut state = self.pool.lock();
        state.usage.live -= buffer.bytes();
        if self.origin == Origin::Pool {
            state.give(buffer);
        }
        state.watch();
    }
}
