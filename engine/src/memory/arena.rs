//! Large buffers, laid side by side in few large mappings.
//!
//! Activations and gradients have sizes of their own, and are needed one after the other: in memory that is divided anew
//! each time, gradients lie where activations were. The smallest hole that holds a request serves it. That is not far
//! from the best there is: over the training steps of `flg bench`, laying out all lifetimes with hindsight (the largest
//! first) saves another 1 % at sizes S and M, 8 % and 2 % with checkpointed blocks, but needs every step to be the one
//! that was planned, which a step with another block mask, or with parts on several threads, is not.

use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

use super::holes::Holes;

/// Bytes of addresses that are asked for at once, at least. Memory is behind those that were written to.
const CHUNK: usize = 256 << 20;
/// Buffers begin at multiples of this many bytes: at a page.
const ALIGN: usize = 4096;

/// Mappings, and what of them is free.
#[derive(Debug, Default)]
pub(super) struct Arena {
    chunks: Vec<Chunk>,
    /// Bytes that are taken.
    taken: usize,
}

#[derive(Debug)]
struct Chunk {
    map: Arc<MmapRaw>,
    holes: Holes,
}

/// Bytes of an arena that nobody else has until they are given back: [`Arena::take`] makes them, [`Arena::give`] takes
/// them by value, and there is no copy.
#[derive(Debug)]
pub(super) struct Region {
    map: Arc<MmapRaw>,
    start: usize,
    len: usize,
}

impl Arena {
    /// At least `bytes`, with unspecified contents; nothing where the system gives no addresses.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Region> {
        let len = bytes.checked_next_multiple_of(ALIGN)?;
        let region = match self.fill(len).or_else(|| self.grow(len)) {
            Some(region) => region,
            None => {
                self.chunks.push(self.map(len)?);
                self.grow(len)?
            }
        };
        self.taken += len;
        Some(region)
    }

    /// The smallest hole of all chunks.
    fn fill(&mut self, len: usize) -> Option<Region> {
        let fitting = |(at, chunk): (usize, &Chunk)| chunk.holes.fitting(len).map(|(size, start)| (size, at, start));
        let (_, at, start) = self.chunks.iter().enumerate().filter_map(fitting).min()?;
        let Chunk { map, holes } = &mut self.chunks[at];
        holes.fill(start, len).then(|| Region { map: map.clone(), start, len })
    }

    /// The end of the first chunk that has room there.
    fn grow(&mut self, len: usize) -> Option<Region> {
        self.chunks.iter_mut().find_map(|Chunk { map, holes }| {
            let start = holes.grow(len)?;
            Some(Region { map: map.clone(), start, len })
        })
    }

    /// Addresses for `len` bytes and, where the system has them, as many again as there are: few chunks, so that few
    /// buffers end at the end of one.
    fn map(&self, len: usize) -> Option<Chunk> {
        let all: usize = self.chunks.iter().map(|chunk| chunk.map.len()).sum();
        let map = |len| MmapOptions::new().no_reserve_swap().len(len).map_anon();
        let map = map(len.max(CHUNK).max(all)).or_else(|_| map(len)).ok()?;
        #[cfg(target_os = "linux")]
        {
            // A wish: where there are no large pages, small ones do. Rows then cost fewer translations of addresses.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Some(Chunk { holes: Holes::new(map.len()), map: Arc::new(map.into()) })
    }

    /// Takes a region back.
    pub(super) fn give(&mut self, region: Region) {
        let Region { map, start, len } = region;
        if let Some(chunk) = self.chunks.iter_mut().find(|chunk| Arc::ptr_eq(&chunk.map, &map)) {
            chunk.holes.give(start, len);
            self.taken -= len;
        }
    }

    /// Gives mappings of which nothing is taken back to the system.
    pub(super) fn trim(&mut self) {
        self.chunks.retain(|chunk| !chunk.holes.is_empty());
    }

    /// Bytes that were in use before and are free now.
    pub(super) fn free(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.holes.top()).sum::<usize>() - self.taken
    }
}

impl Region {
    /// Bytes in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bytes, as values of a type of which all bit patterns are values.
    pub(super) fn values<T: bytemuck::AnyBitPattern>(&self) -> &[T] {
        // SAFETY: `start + len` lies in the map: `Holes` hands out nothing beyond the length that it was made with. The
        // bytes are initialised, since anonymous mappings begin as zeros. Nobody writes them meanwhile: `Holes` hands
        // out no byte a second time before this region is given back by value, and writing through it needs `&mut`.
        let bytes = unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(self.start), self.len) };
        bytemuck::cast_slice(bytes)
    }

    /// The bytes, as values to change.
    pub(super) fn values_mut<T: bytemuck::Pod>(&mut self) -> &mut [T] {
        // SAFETY: as in `values`; and nobody reads the bytes meanwhile, since `&mut self` is the only way to them.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().add(self.start), self.len) };
        bytemuck::cast_slice_mut(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_keep_what_is_written_while_others_come_and_go() {
        let mut arena = Arena::default();
        let mut kept: Vec<(u64, Region)> = Vec::new();
        for turn in 0..400_u64 {
            // Sizes and order as scattered as a multiplication by an odd number makes them.
            let scattered = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let mut region = arena.take(1 + (scattered % 40_000) as usize).unwrap();
            region.values_mut().fill(turn);
            kept.push((turn, region));
            if kept.len() > 20 {
                let (turn, region) = kept.swap_remove(scattered as usize % 20);
                assert!(region.values::<u64>().iter().all(|&x| x == turn));
                arena.give(region);
            }
        }
        assert_eq!(arena.chunks.len(), 1);
        assert_eq!(arena.taken, kept.iter().map(|(_, region)| region.len()).sum::<usize>());
        for (turn, region) in kept {
            assert!(region.values::<u64>().iter().all(|&x| x == turn));
            arena.give(region);
        }
        assert_eq!(arena.free(), arena.chunks[0].holes.top());
        arena.trim();
        assert_eq!((arena.free(), arena.chunks.len()), (0, 0));
    }

    #[test]
    fn what_does_not_fit_gets_a_chunk_of_its_own() {
        let mut arena = Arena::default();
        let regions = [CHUNK - ALIGN, 2 * ALIGN, 5 * CHUNK, 1].map(|bytes| arena.take(bytes).unwrap());
        let lengths: Vec<_> = arena.chunks.iter().map(|chunk| chunk.map.len()).collect();
        assert_eq!(lengths, [CHUNK, CHUNK, 5 * CHUNK]);
        // Behind the first, where there was a page left.
        assert_eq!(regions[3].start, CHUNK - ALIGN);
        regions.into_iter().for_each(|region| arena.give(region));
        assert_eq!(arena.taken, 0);
        assert!(arena.take(usize::MAX).is_none() && arena.take(usize::MAX - ALIGN).is_none());
    }
}
