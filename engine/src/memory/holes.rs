//! Which bytes of a range are taken: numbers only, no memory.

use std::collections::BTreeMap;

/// A range of bytes from which parts are taken and given back. Neighbouring holes are one hole.
#[derive(Debug)]
pub(super) struct Holes {
    len: usize,
    /// Bytes from here on were never taken.
    top: usize,
    /// Start and length of what was taken and given back; no two touch.
    free: BTreeMap<usize, usize>,
}

impl Holes {
    /// A range of `len` bytes, none of them taken.
    pub(super) fn new(len: usize) -> Self {
        Holes { len, top: 0, free: BTreeMap::new() }
    }

    /// Length and start of the smallest hole that holds `bytes`, the first of several.
    pub(super) fn fitting(&self, bytes: usize) -> Option<(usize, usize)> {
        self.free.iter().filter(|&(_, &len)| len >= bytes).map(|(&start, &len)| (len, start)).min()
    }

    /// Takes the first `bytes` of the hole that begins at `start`; whether there is one so large.
    pub(super) fn fill(&mut self, start: usize, bytes: usize) -> bool {
        let Some(&len) = self.free.get(&start).filter(|&&len| len >= bytes) else { return false };
        self.free.remove(&start);
        if len > bytes {
            self.free.insert(start + bytes, len - bytes);
        }
        true
    }

    /// Takes `bytes` at the end, the first of which may be those of a hole there; returns their start.
    pub(super) fn grow(&mut self, bytes: usize) -> Option<usize> {
        let start = self.end_of_taken();
        let top = start.checked_add(bytes).filter(|&top| top <= self.len)?;
        self.free.remove(&start);
        self.top = self.top.max(top);
        Some(start)
    }

    /// Gives back `bytes` from `start` on, which were taken.
    pub(super) fn give(&mut self, start: usize, bytes: usize) {
        let (mut start, mut bytes) = (start, bytes);
        if let Some(next) = self.free.remove(&(start + bytes)) {
            bytes += next;
        }
        if let Some((&before, &len)) = self.free.range(..start).next_back()
            && before + len == start
        {
            (start, bytes) = (before, len + bytes);
        }
        self.free.insert(start, bytes);
    }

    /// The most bytes from the start that were ever in use.
    pub(super) fn top(&self) -> usize {
        self.top
    }

    /// Whether nothing is taken.
    pub(super) fn is_empty(&self) -> bool {
        self.end_of_taken() == 0
    }

    fn end_of_taken(&self) -> usize {
        match self.free.last_key_value() {
            Some((&start, &len)) if start + len == self.top => start,
            _ => self.top,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take(holes: &mut Holes, bytes: usize) -> Option<usize> {
        match holes.fitting(bytes) {
            Some((_, start)) => holes.fill(start, bytes).then_some(start),
            None => holes.grow(bytes),
        }
    }

    #[test]
    fn holes_are_filled_before_the_end_grows_and_join_again() {
        let mut holes = Holes::new(100);
        assert_eq!([10, 20, 30].map(|bytes| take(&mut holes, bytes)), [Some(0), Some(10), Some(30)]);
        holes.give(10, 20);
        assert_eq!((take(&mut holes, 15), take(&mut holes, 6), holes.top()), (Some(10), Some(60), 66));
        assert!(!holes.fill(25, 6), "the hole is smaller");
        assert!(!holes.fill(26, 1), "no hole begins there");
        holes.give(10, 15);
        holes.give(30, 30);
        assert_eq!(holes.fitting(50), Some((50, 10)));
        holes.give(60, 6);
        // What is free at the end counts as the beginning of what is asked for.
        assert_eq!((take(&mut holes, 80), holes.top()), (Some(10), 90));
        assert_eq!(take(&mut holes, 11), None);
        holes.give(0, 10);
        assert!(!holes.is_empty());
        holes.give(10, 80);
        assert!(holes.is_empty());
    }

    proptest! {
        /// Against a list of bytes: no byte is taken twice, and none is lost.
        #[test]
        fn what_is_taken_is_nobody_elses(calls in prop::collection::vec((1_usize..40, any::<prop::sample::Index>(), any::<bool>()), 1..200)) {
            const LEN: usize = 300;
            let (mut holes, mut taken, mut owned) = (Holes::new(LEN), [false; LEN], Vec::new());
            for (bytes, which, gives) in calls {
                if gives && !owned.is_empty() {
                    let (start, bytes): (usize, usize) = owned.swap_remove(which.index(owned.len()));
                    taken[start..start + bytes].fill(false);
                    holes.give(start, bytes);
                } else if let Some(start) = take(&mut holes, bytes) {
                    prop_assert!(!taken[start..start + bytes].contains(&true));
                    taken[start..start + bytes].fill(true);
                    owned.push((start, bytes));
                } else {
                    let longest = taken.split(|&taken| taken).map(<[bool]>::len).max();
                    prop_assert!(longest < Some(bytes), "there was room");
                }
                let free = taken[..holes.top()].iter().filter(|&&taken| !taken).count();
                prop_assert_eq!(free, holes.free.values().sum::<usize>());
                prop_assert_eq!(holes.is_empty(), owned.is_empty());
            }
        }
    }
}
