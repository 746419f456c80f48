//! Pages that are reserved and come as they are touched, reached by many threads at once.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU64};

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

/// A word of `load`, `store` and `find`.
const WORD: usize = size_of::<u64>();
/// Bytes that `fill` writes at a time: a multiple of every width of pattern, and of a word.
const CHUNK: usize = 4096;

/// A mapping of zeros. Every access is a relaxed atomic one, aligned, of a byte or of a word of eight: what races is a
/// defect of the program under test, but never one of this process.
#[derive(Debug)]
pub(super) struct Map {
    pages: MmapRaw,
}

impl Map {
    /// Reserves `bytes` bytes, above 0. No memory is used, nor promised by the system, until a page is touched.
    pub(super) fn reserve(bytes: usize) -> std::io::Result<Map> {
        let pages = MmapOptions::new().len(bytes).no_reserve_swap().map_anon()?;
        Ok(Map { pages: MmapRaw::from(pages) })
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    /// The first byte; a multiple of the page size.
    pub(super) fn as_mut_ptr(&self) -> *mut u8 {
        self.pages.as_mut_ptr()
    }

    /// The byte at `at`.
    pub(super) fn byte(&self, at: usize) -> &AtomicU8 {
        assert!(at < self.len(), "byte {at} of a mapping of {}", self.len());
        // SAFETY: `at` is inside the mapping, which lives as long as `self`; it is only reached through atomics.
        unsafe { AtomicU8::from_ptr(self.as_mut_ptr().add(at)) }
    }

    /// The eight bytes at `at`, a multiple of eight.
    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(WORD) && at + WORD <= self.len(), "word {at} of a mapping of {}", self.len());
        // SAFETY: inside the mapping and aligned, both asserted above; the mapping begins at a page.
        unsafe { AtomicU64::from_ptr(self.as_mut_ptr().add(at).cast()) }
    }

    /// Copies the bytes from `at` to `to`.
    pub(super) fn load(&self, at: usize, to: &mut [u8]) {
        let (head, words) = split(at, to.len());
        let (first, rest) = to.split_at_mut(head);
        let (middle, last) = rest.split_at_mut(words * WORD);
        for (i, byte) in first.iter_mut().enumerate() {
            *byte = self.byte(at + i).load(Relaxed);
        }
        for (i, bytes) in middle.chunks_exact_mut(WORD).enumerate() {
            bytes.copy_from_slice(&self.word(at + head + i * WORD).load(Relaxed).to_ne_bytes());
        }
        for (i, byte) in last.iter_mut().enumerate() {
            *byte = self.byte(at + head + words * WORD + i).load(Relaxed);
        }
    }

    /// Copies `from` to the bytes from `at`.
    pub(super) fn store(&self, at: usize, from: &[u8]) {
        let (head, words) = split(at, from.len());
        let (first, rest) = from.split_at(head);
        let (middle, last) = rest.split_at(words * WORD);
        for (i, &byte) in first.iter().enumerate() {
            self.byte(at + i).store(byte, Relaxed);
        }
        for (i, bytes) in middle.chunks_exact(WORD).enumerate() {
            let bytes = bytes.try_into().expect("chunks of a word");
            self.word(at + head + i * WORD).store(u64::from_ne_bytes(bytes), Relaxed);
        }
        for (i, &byte) in last.iter().enumerate() {
            self.byte(at + head + words * WORD + i).store(byte, Relaxed);
        }
    }

    /// Writes repetitions of `pattern` (1, 2 or 4 bytes) to the `bytes` bytes from `at`.
    pub(super) fn fill(&self, at: usize, pattern: &[u8], bytes: usize) {
        let chunk: Vec<u8> = pattern.iter().copied().cycle().take(CHUNK.min(bytes)).collect();
        let mut done = 0;
        while done < bytes {
            let now = chunk.len().min(bytes - done);
            self.store(at + done, &chunk[..now]);
            done += now;
        }
    }

    /// The first of the `bytes` bytes from `at` that lacks one of `bits`.
    pub(super) fn find_without(&self, bits: u8, at: usize, bytes: usize) -> Option<usize> {
        let wide = u64::from_ne_bytes([bits; WORD]);
        let lacks = |i: usize| self.byte(i).load(Relaxed) & bits != bits;
        let (head, words) = split(at, bytes);
        let body = at + head;
        (at..body).find(|&i| lacks(i)).or_else(|| {
            let word = (0..words).map(|i| body + i * WORD).find(|&i| self.word(i).load(Relaxed) & wide != wide);
            match word {
                Some(word) => (word..word + WORD).find(|&i| lacks(i)),
                None => (body + words * WORD..at + bytes).find(|&i| lacks(i)),
            }
        })
    }

    /// Gives back to the system what lies in whole pages of the `bytes` bytes from `at`; they are zeros again, or what
    /// they were where the system declines.
    pub(super) fn discard(&self, at: usize, bytes: usize) {
        const PAGE: usize = 4096;
        let (first, last) = (at.next_multiple_of(PAGE), (at + bytes) / PAGE * PAGE);
        if first < last {
            // SAFETY: private anonymous pages that nobody borrows, all accesses being atomic ones; they turn into
            // zeros, which every byte may be. A system with larger pages refuses what is not aligned to them.
            let _ = unsafe { self.pages.unchecked_advise_range(UncheckedAdvice::DontNeed, first, last - first) };
        }
    }
}

/// Bytes before the first whole word of the `bytes` bytes from `at`, and whole words.
fn split(at: usize, bytes: usize) -> (usize, usize) {
    let head = (at.next_multiple_of(WORD) - at).min(bytes);
    (head, (bytes - head) / WORD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_at_every_alignment() {
        let map = Map::reserve(1 << 16).unwrap();
        for at in 0..17 {
            for bytes in 0..33 {
                let want: Vec<u8> = (0..bytes).map(|i| (i * 7 + at) as u8 | 1).collect();
                map.fill(0, &[0], 64);
                map.store(at, &want);
                let mut got = vec![0; bytes];
                map.load(at, &mut got);
                assert_eq!(got, want, "at {at}");
                let mut all = vec![0; 64];
                map.load(0, &mut all);
                assert_eq!(all.iter().filter(|&&byte| byte != 0).count(), bytes, "at {at}: nothing beside it");
            }
        }
    }

    #[test]
    fn patterns_repeat_across_chunks() {
        let map = Map::reserve(1 << 16).unwrap();
        map.fill(3, &[1, 2, 3, 4], 3 * CHUNK + 6);
        let mut got = vec![0; 3 * CHUNK + 8];
        map.load(3, &mut got);
        assert!((0..3 * CHUNK + 6).all(|i| got[i] == (i % 4) as u8 + 1));
        assert_eq!(got[3 * CHUNK + 6..], [0, 0]);
    }

    #[test]
    fn the_first_byte_without_a_bit_is_found_wherever_it_is() {
        let map = Map::reserve(1 << 16).unwrap();
        for at in 0..9 {
            for bytes in 1..40 {
                map.fill(0, &[3], 64);
                assert_eq!(map.find_without(2, at, bytes), None);
                for gap in at..at + bytes {
                    map.byte(gap).store(1, Relaxed);
                    assert_eq!(map.find_without(2, at, bytes), Some(gap));
                    assert_eq!(map.find_without(1, at, bytes), None);
                    map.byte(gap).store(3, Relaxed);
                }
                map.fill(0, &[0], 64);
                map.fill(at, &[2], bytes);
                assert_eq!(map.find_without(2, at, bytes), None, "bytes beside the range do not matter");
            }
        }
    }

    #[test]
    fn discarding_touches_whole_pages_of_the_range_only() {
        let map = Map::reserve(1 << 16).unwrap();
        map.fill(0, &[9], 1 << 16);
        map.discard(100, 3 * 4096);
        let mut got = vec![0; 1 << 16];
        map.load(0, &mut got);
        assert!(got[..4096].iter().all(|&byte| byte == 9));
        assert!(got[3 * 4096..].iter().all(|&byte| byte == 9));
    }
}
