//! `cp.async`: copies that are done when they are waited for, and not before.
//!
//! Until then the destination is marked in the shadow: reading or writing it is a defect. The source is read at the
//! wait; that it changed since the copy was issued is a defect as well.

use super::address::{self, PENDING, Region};
use super::block::{Block, Stop, Use};
use super::load_store::{mark_written, read, write};
use super::registers::LANES;
use super::shuffle::lanes;
use super::warp::Warp;
use crate::memory::shadow::ALLOCATED;
use crate::ptx::Space;
use crate::ptx::op::{AsyncCopy, SINK};
use crate::report::Kind;

/// A copy of one lane that was not waited for.
#[derive(Clone, Copy, Debug)]
struct Copy {
    lane: u8,
    bytes: u8,
    /// Bytes that are read; the others are zeros.
    source_bytes: u8,
    line: u32,
    to: u64,
    from: u64,
    /// Group of the lane: groups committed before it was issued.
    group: u32,
    /// What the source held when it was issued.
    issued: [u8; 16],
}

/// Copies of a warp that were not waited for.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    open: Vec<Copy>,
    /// Groups that each lane committed.
    committed: [u32; LANES],
}

impl Copies {
    /// Closes a group of each lane of `mask`.
    pub fn commit(&mut self, mask: u32) {
        for lane in lanes(mask) {
            self.committed[lane] += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Line of the first one.
    pub fn line(&self) -> u32 {
        self.open.first().map_or(0, |copy| copy.line)
    }
}

fn usage(space: Space, width: usize) -> Use {
    let read = space == Space::Global;
    Use { space, width, read, write: !read, strong: false, collective: false }
}

/// Starts a copy in the lanes of `mask`.
pub(crate) fn issue(block: &mut Block<'_>, warp: &mut Warp, mask: u32, copy: &AsyncCopy) -> Result<(), Stop> {
    let (to, from) =
        (address::addresses(&mut warp.registers, copy.to), address::addresses(&mut warp.registers, copy.from));
    let (bytes, line) = (usize::from(copy.bytes), block.line);
    let shared = block.region(warp, Space::Shared);
    block.admit(warp, mask, &shared, &to, usage(Space::Shared, bytes))?;
    block.record(warp.index, mask, &to, usage(Space::Shared, bytes), &|_, _| false);
    let ignored = copy.ignore.map_or(0, |pred| warp.registers.test(pred));
    let sizes: [u8; LANES] = std::array::from_fn(|lane| {
        let all = if copy.source_bytes == SINK { u32::MAX } else { warp.registers.lanes(copy.source_bytes)[lane] };
        if ignored >> lane & 1 != 0 { 0 } else { all.min(u32::from(copy.bytes)) as u8 }
    });
    let global = block.plan.global;
    // Lanes that read less than all, down to nothing, may point anywhere else.
    let whole = lanes(mask).filter(|lane| sizes[*lane] == copy.bytes).fold(0, |set, lane| set | 1 << lane);
    block.admit(warp, whole, &global, &from, usage(Space::Global, bytes))?;
    block.record(warp.index, whole, &from, usage(Space::Global, bytes), &|_, _| true);
    for lane in lanes(mask & !whole).filter(|lane| sizes[*lane] > 0) {
        for byte in 0..sizes[lane] {
            let mut one = from;
            one[lane] += u64::from(byte);
            block.admit(warp, 1 << lane, &global, &one, usage(Space::Global, 1))?;
        }
    }
    if block.counted {
        block.counters.global(&from, whole, bytes, false);
        block.counters.shared(&to, mask, bytes);
    }
    for lane in lanes(mask) {
        let mut issued = [0; 16];
        if block.checked {
            fetch(&global, from[lane], &mut issued[..usize::from(sizes[lane])]);
            for byte in 0..bytes {
                // SAFETY: `admit` found the destination inside of the region, and so of its shadow.
                unsafe { *shared.shadow.add(shared.offset(lane, to[lane]) + byte) |= PENDING };
            }
        }
        let group = warp.copies.committed[lane];
        let (lane, source_bytes, to, from) = (lane as u8, sizes[lane], to[lane], from[lane]);
        warp.copies.open.push(Copy { lane, bytes: copy.bytes, source_bytes, line, to, from, group, issued });
    }
    Ok(())
}

/// Reads bytes of global memory, by words where they are whole.
fn fetch(global: &Region, from: u64, to: &mut [u8]) {
    if to.is_empty() {
        // Then the address may be anything.
        return;
    }
    let at = global.offset(0, from);
    let step = if to.len().is_multiple_of(4) { 4 } else { 1 };
    for (i, part) in to.chunks_exact_mut(step).enumerate() {
        // SAFETY: `issue` found the source inside of the region, whose host memory lives as long as the launch, and
        // aligned to the width of the copy, at least 4, where it is whole.
        let value = unsafe { read(global.host.add(at + i * step), step as u8) };
        part.copy_from_slice(&value.to_le_bytes()[..step]);
    }
}

/// Completes copies of the lanes of `mask`: all but those of the last `groups` groups of each, and those of no group
/// only if `all`.
pub(crate) fn wait(block: &mut Block<'_>, warp: &mut Warp, mask: u32, groups: u32, all: bool) -> Result<(), Stop> {
    let committed = warp.copies.committed;
    let complete = |copy: &Copy| {
        let lane = usize::from(copy.lane);
        mask >> lane & 1 != 0 && (all || committed[lane].saturating_sub(groups) > copy.group)
    };
    let (done, open): (Vec<Copy>, Vec<Copy>) = std::mem::take(&mut warp.copies.open).into_iter().partition(complete);
    warp.copies.open = open;
    let (shared, global) = (block.region(warp, Space::Shared), block.plan.global);
    let line = block.line;
    for copy in done {
        let lane = usize::from(copy.lane);
        let mut data = [0; 16];
        fetch(&global, copy.from, &mut data[..usize::from(copy.source_bytes)]);
        let mut addresses = [0; LANES];
        addresses[lane] = copy.to;
        block.line = copy.line;
        if block.checked {
            if data != copy.issued {
                let detail = format!("its source changed before it was waited for on line {line}");
                block.report(Kind::AsyncCopy, warp.index, lane, Some(copy.from), detail);
            }
            for byte in 0..usize::from(copy.bytes) {
                // SAFETY: `issue` found the destination inside of the region, and so of its shadow.
                unsafe { *shared.shadow.add(shared.offset(lane, copy.to) + byte) = ALLOCATED };
            }
            let usage = usage(Space::Shared, usize::from(copy.bytes));
            block.record(warp.index, 1 << lane, &addresses, usage, &|_, _| false);
        }
        for step in (0..usize::from(copy.bytes)).step_by(4) {
            let word = u32::from_le_bytes([data[step], data[step + 1], data[step + 2], data[step + 3]]);
            // SAFETY: as above, aligned to at least 4.
            unsafe { write(shared.host.add(shared.offset(lane, copy.to) + step), 4, u64::from(word)) };
        }
        // SAFETY: as above.
        unsafe { mark_written(&shared, &addresses, 1 << lane, usize::from(copy.bytes)) };
    }
    block.line = line;
    Ok(())
}
