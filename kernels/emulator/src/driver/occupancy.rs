//! How many blocks a multiprocessor holds, by threads, blocks and shared memory. Registers would limit it further, but
//! only machine code has them: `ptxas -v` says how many.

use super::controls::settings;
use super::device::{
    MULTIPROCESSOR_BLOCKS, MULTIPROCESSOR_SHARED, MULTIPROCESSOR_THREADS, SHARED_AT_MOST, SHARED_RESERVED, WARP,
};
use super::error::{Answer, Code};
use super::function::{self, Function};
use super::pointer::Out;
use super::state::with_owner;

/// Shared memory is given out in multiples of this.
const UNIT: usize = 128;

/// Bytes of dynamic shared memory that a block of so many threads asks for.
pub type SharedBytes = Option<unsafe extern "C" fn(i32) -> usize>;

exports! {
    /// Blocks of so many threads and bytes on a multiprocessor.
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        blocks: Out<i32>, function: u64, threads: i32, shared: usize
    ) = active_blocks;
    /// Blocks of so many threads and bytes on a multiprocessor. Flags mean nothing here.
    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        blocks: Out<i32>, function: u64, threads: i32, shared: usize, flags: u32
    ) = active_blocks_with_flags;
    /// The block that fills a multiprocessor best, and the grid that fills the device.
    fn cuOccupancyMaxPotentialBlockSize(
        grid: Out<i32>, block: Out<i32>, function: u64, by_threads: SharedBytes, shared: usize, limit: i32
    ) = potential_block;
    /// Bytes of dynamic shared memory that leave room for so many blocks.
    fn cuOccupancyAvailableDynamicSMemPerBlock(
        bytes: Out<usize>, function: u64, blocks: i32, threads: i32
    ) = available_shared;
}

/// Blocks of `threads` threads and `dynamic` bytes that fit on a multiprocessor; 0 where none does.
fn blocks(function: &Function, threads: u32, dynamic: usize) -> u32 {
    if threads > function.max_threads() || dynamic > function.dynamic_shared {
        return 0;
    }
    let by_threads = MULTIPROCESSOR_THREADS / threads.next_multiple_of(WARP);
    let bytes = (function.entry().shared + dynamic + SHARED_RESERVED).next_multiple_of(UNIT);
    let by_shared = (MULTIPROCESSOR_SHARED / bytes) as u32;
    by_threads.min(by_shared).min(MULTIPROCESSOR_BLOCKS)
}

fn positive(value: i32) -> Answer<u32> {
    u32::try_from(value).ok().filter(|&value| value > 0).ok_or(Code::INVALID_VALUE)
}

fn active_blocks(to: Out<i32>, function: u64, threads: i32, shared: usize) -> Answer {
    let threads = positive(threads)?;
    with_owner(function, |context| to.put(blocks(function::find(context, function)?, threads, shared) as i32))
}

fn active_blocks_with_flags(to: Out<i32>, function: u64, threads: i32, shared: usize, _flags: u32) -> Answer {
    active_blocks(to, function, threads, shared)
}

fn potential_block(
    grid: Out<i32>,
    block: Out<i32>,
    function: u64,
    by_threads: SharedBytes,
    shared: usize,
    limit: i32,
) -> Answer {
    with_owner(function, |context| {
        let function = function::find(context, function)?;
        let most = match u32::try_from(limit) {
            Ok(limit) if limit > 0 => limit.min(function.max_threads()),
            _ => function.max_threads(),
        };
        let sizes = (1..=most / WARP).map(|warps| warps * WARP).chain((most % WARP > 0).then_some(most));
        let held = |threads: u32| {
            // SAFETY: a function of that type, by the promise of who called.
            let dynamic = by_threads.map_or(shared, |bytes| unsafe { bytes(threads as i32) });
            blocks(function, threads, dynamic)
        };
        // The largest block of those that keep most threads; of equals `max_by_key` takes the last.
        let best = sizes.map(|threads| (threads, held(threads))).max_by_key(|(threads, held)| threads * held);
        let (threads, held) = best.filter(|&(_, held)| held > 0).ok_or(Code::INVALID_VALUE)?;
        block.put(threads as i32)?;
        grid.put((held * settings().multiprocessors) as i32)
    })
}

fn available_shared(bytes: Out<usize>, function: u64, blocks: i32, threads: i32) -> Answer {
    let (blocks, threads) = (positive(blocks)?, positive(threads)?);
    with_owner(function, |context| {
        let function = function::find(context, function)?;
        if blocks > MULTIPROCESSOR_BLOCKS || blocks * threads.next_multiple_of(WARP) > MULTIPROCESSOR_THREADS {
            return Err(Code::INVALID_VALUE);
        }
        let share = MULTIPROCESSOR_SHARED / blocks as usize / UNIT * UNIT - SHARED_RESERVED;
        bytes.put(share.min(SHARED_AT_MOST).saturating_sub(function.entry().shared))
    })
}
