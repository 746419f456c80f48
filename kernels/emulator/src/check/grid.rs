//! Accesses of different blocks to global memory with no order between, one of them writing.
//!
//! Two accesses are in order if both are *synchronised*: atomic (or volatile or stronger), or made after the block read
//! a flag, or published by a fence and a flag later (see `clock.rs`). That lets pass what the usual protocols do
//! (the last block reads what the others left, blocks that take turns) without following each flag.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::race::{PAGE, Races};
use crate::exec::Touched;

/// Locks, so that blocks seldom wait for each other.
const SHARDS: usize = 64;
/// Bytes that memory moves at once.
const SECTOR: u64 = 32;

/// The blocks that did one kind of access to a granule.
#[derive(Clone, Copy, Debug, Default)]
struct Blocks {
    /// Number of the lowest one, plus 1; 0 for none.
    first: u32,
    /// Line of its access.
    line: u32,
    /// Whether there are others.
    others: bool,
}

impl Blocks {
    fn add(&mut self, block: u32, line: u32) {
        if self.first == 0 {
            (self.first, self.line) = (block, line);
        } else if self.first != block {
            self.others = true;
            if block < self.first {
                (self.first, self.line) = (block, line);
            }
        }
    }
}

/// What all blocks did to a granule.
#[derive(Clone, Copy, Debug, Default)]
struct Granule {
    /// Writes that are not synchronised, and those that are.
    writes: [Blocks; 2],
    /// Reads alike.
    reads: [Blocks; 2],
}

/// Two accesses that race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockConflict {
    pub address: u64,
    /// Number of the block that wrote, and the line.
    pub writer: (u32, u32),
    /// Number of another block, if it was another than the lowest, and the line.
    pub other: (u32, u32),
    /// Whether the other one wrote as well.
    pub both: bool,
}

/// What the blocks of a launch did to global memory.
#[derive(Debug)]
pub(crate) struct Grid {
    shift: u32,
    shards: Vec<Mutex<HashMap<u64, Box<[Granule; PAGE]>>>>,
}

impl Grid {
    pub fn new(shift: u32) -> Grid {
        Grid { shift, shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Adds what a block did.
    pub fn add(&self, block: u32, races: &Races) {
        let (published, acquired) = (races.clocks.published, races.clocks.acquired);
        for (number, cells) in races.pages() {
            let shard = &self.shards[number as usize % SHARDS];
            // A poisoned table has only lost what a panicking thread did not add.
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let page = shard.entry(number).or_insert_with(|| Box::new([Granule::default(); PAGE]));
            for (cell, granule) in cells.iter().zip(page.iter_mut()) {
                if cell.write.time > 0 {
                    let stamp = cell.write;
                    let ordered = stamp.strong || stamp.time <= published || stamp.time >= acquired;
                    granule.writes[usize::from(ordered)].add(block + 1, cell.write_line);
                }
                if cell.read.time > 0 {
                    let ordered = cell.read.strong || cell.read.time >= acquired;
                    granule.reads[usize::from(ordered)].add(block + 1, cell.read_line);
                }
            }
        }
    }

    /// All races and everything touched, by address.
    pub fn finish(self) -> (Vec<BlockConflict>, Touched) {
        let mut pages: Vec<_> = self
            .shards
            .into_iter()
            .flat_map(|shard| shard.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect();
        pages.sort_unstable_by_key(|(number, _)| *number);
        let (mut conflicts, mut touched) = (Vec::new(), Touched::default());
        let bytes = 1u64 << self.shift;
        for (number, page) in pages {
            for (i, granule) in page.iter().enumerate() {
                let address = (number * PAGE as u64 + i as u64) * bytes;
                conflicts.extend(conflict(address, granule));
                if granule.reads.iter().any(|blocks| blocks.first > 0) {
                    push(&mut touched.reads, address, bytes);
                }
                if granule.writes.iter().any(|blocks| blocks.first > 0) {
                    push(&mut touched.writes, address, bytes);
                }
            }
        }
        (conflicts, touched)
    }
}

/// Adds the sectors of a range that lies behind all that were added.
fn push(ranges: &mut Vec<(u64, u64)>, address: u64, bytes: u64) {
    let (start, end) = (address / SECTOR * SECTOR, (address + bytes).div_ceil(SECTOR) * SECTOR);
    match ranges.last_mut() {
        Some((first, sectors)) if *first + *sectors * SECTOR >= start => {
            *sectors = (*sectors).max((end - *first) / SECTOR);
        }
        _ => ranges.push((start, (end - start) / SECTOR)),
    }
}

/// One side of a race is never synchronised.
fn conflict(address: u64, granule: &Granule) -> Option<BlockConflict> {
    let [plain, ordered] = granule.writes;
    let pair = |writer: Blocks, other: Blocks, both: bool| {
        let distinct =
            writer.first > 0 && other.first > 0 && (writer.first != other.first || writer.others || other.others);
        distinct.then(|| BlockConflict {
            address,
            writer: (writer.first - 1, writer.line),
            other: (other.first - 1, other.line),
            both,
        })
    };
    let alone = |writes: Blocks| if writes.others { pair(writes, writes, true) } else { None };
    alone(plain)
        .or_else(|| pair(plain, ordered, true))
        .or_else(|| pair(plain, granule.reads[0], false))
        .or_else(|| pair(plain, granule.reads[1], false))
        .or_else(|| pair(ordered, granule.reads[0], false))
}
