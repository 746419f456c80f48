//! Accesses of a block with no order between, one of them writing.
//!
//! Memory is divided into granules as wide as the narrowest access of the kernel to that space, so that neighbours are
//! never taken for each other. A granule remembers its last writer and its last readers of two warps.

use std::collections::HashMap;

use super::clock::{Clocks, SEVERAL, Stamp};

/// Granules of a page of global memory.
pub(crate) const PAGE: usize = 256;

/// What is known of a granule.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cell {
    pub write: Stamp,
    pub read: Stamp,
    /// The last reader of another warp than `read`.
    other: Stamp,
    pub write_line: u32,
    pub read_line: u32,
}

/// An access of a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch {
    pub warp: u8,
    /// The lane, or [`SEVERAL`] where data goes to others than the one that gave the address.
    pub lane: u8,
    pub line: u32,
    pub write: bool,
    pub strong: bool,
    pub time: u32,
}

/// An access that the new one has no order with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conflict {
    pub with: Stamp,
    pub line: u32,
    pub wrote: bool,
}

impl Cell {
    /// Notes an access; answers one that it races with.
    #[inline(always)]
    pub fn touch(&mut self, touch: Touch, clocks: &Clocks) -> Option<Conflict> {
        let Touch { warp, lane, line, write, strong, time } = touch;
        let stamp = Stamp { time, warp, lane, strong };
        let free = |old: Stamp| strong && old.strong || clocks.ordered(old, warp, lane);
        let mut conflict = None;
        if !free(self.write) {
            conflict = Some(Conflict { with: self.write, line: self.write_line, wrote: true });
        }
        if write {
            for old in [self.read, self.other] {
                if !free(old) {
                    conflict = conflict.or(Some(Conflict { with: old, line: self.read_line, wrote: false }));
                }
            }
            (self.write, self.write_line) = (stamp, line);
            if conflict.is_some() {
                (self.read, self.other) = (Stamp::default(), Stamp::default());
            }
            return conflict;
        }
        if self.read.time == 0 || clocks.ordered(self.read, warp, lane) {
            self.read = stamp;
        } else if self.read.warp == warp {
            self.read = Stamp { lane: SEVERAL, strong: strong && self.read.strong, ..stamp };
        } else {
            self.other = std::mem::replace(&mut self.read, stamp);
        }
        self.read_line = line;
        conflict
    }
}

/// What is known of shared memory and of the global memory that a block touched.
#[derive(Debug)]
pub(crate) struct Races {
    pub clocks: Clocks,
    /// Bytes of a granule of shared and of global memory, as powers of two.
    pub shared_shift: u32,
    pub global_shift: u32,
    shared: Vec<Cell>,
    pages: HashMap<u64, u32>,
    cells: Vec<(u64, Box<[Cell; PAGE]>)>,
    last: (u64, u32),
}

impl Races {
    pub fn new(warps: usize, shared_bytes: usize, shared_shift: u32, global_shift: u32) -> Races {
        Races {
            clocks: Clocks::new(warps),
            shared_shift,
            global_shift,
            shared: vec![Cell::default(); (shared_bytes >> shared_shift) + 1],
            pages: HashMap::new(),
            cells: Vec::new(),
            last: (u64::MAX, 0),
        }
    }

    /// Notes an access to `bytes` bytes of shared memory.
    pub fn shared(&mut self, address: u64, bytes: usize, touch: Touch) -> Option<Conflict> {
        let (first, last) = (address >> self.shared_shift, (address + bytes as u64 - 1) >> self.shared_shift);
        let mut found = None;
        for cell in self.shared.get_mut(first as usize..=last as usize)? {
            found = cell.touch(touch, &self.clocks).or(found);
        }
        found
    }

    /// Notes an access to `bytes` bytes of global memory.
    pub fn global(&mut self, address: u64, bytes: usize, touch: Touch) -> Option<Conflict> {
        let (first, last) = (address >> self.global_shift, (address + bytes as u64 - 1) >> self.global_shift);
        let mut found = None;
        for granule in first..=last {
            let page = self.page(granule / PAGE as u64);
            let cell = &mut self.cells[page as usize].1[granule as usize % PAGE];
            found = cell.touch(touch, &self.clocks).or(found);
        }
        found
    }

    fn page(&mut self, number: u64) -> u32 {
        if self.last.0 != number {
            let next = self.cells.len() as u32;
            let page = *self.pages.entry(number).or_insert(next);
            if page == next {
                self.cells.push((number, Box::new([Cell::default(); PAGE])));
            }
            self.last = (number, page);
        }
        self.last.1
    }

    /// The pages of global memory that were touched: number and granules.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &[Cell; PAGE])> {
        self.cells.iter().map(|(number, cells)| (*number, &**cells))
    }
}
