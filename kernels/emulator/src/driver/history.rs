//! Who last read and wrote which bytes: where two operations without an order between them meet.

use std::collections::BTreeMap;
use std::ops::Range;

use super::clock::{Access, Clock};

/// Accesses to ranges of addresses, device's and host's alike (they do not overlap). Per byte the last write is kept,
/// and the reads since that no later read covers: at most one of each stream.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Not overlapping, by first address.
    segments: BTreeMap<u64, Segment>,
}

/// Bytes with the same past.
#[derive(Clone, Debug, PartialEq)]
struct Segment {
    end: u64,
    write: Option<Access>,
    reads: Vec<Access>,
}

/// An access that another one is not ordered with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Conflict {
    /// The first byte that both touch.
    pub(super) address: u64,
    /// The earlier one, as it happened here.
    pub(super) earlier: Access,
    /// Whether the earlier one wrote.
    pub(super) wrote: bool,
}

impl History {
    /// Notes that `access`, which knows `clock`, reads `range`. Answers a write that is not ordered before it.
    pub(super) fn read(&mut self, range: Range<u64>, access: &Access, clock: &Clock) -> Option<Conflict> {
        self.isolate(&range);
        let mut conflict = None;
        let mut covered = range.start;
        let mut gaps = Vec::new();
        for (&first, segment) in self.segments.range_mut(range.clone()) {
            if covered < first {
                gaps.push(covered..first);
            }
            covered = segment.end;
            if let (None, Some(write)) = (&conflict, segment.write.as_ref().filter(|write| !clock.covers(write))) {
                conflict = Some(Conflict { address: first, earlier: write.clone(), wrote: true });
            }
            segment.reads.retain(|read| !clock.covers(read));
            segment.reads.push(access.clone());
        }
        if covered < range.end {
            gaps.push(covered..range.end);
        }
        for gap in gaps {
            self.segments.insert(gap.start, Segment { end: gap.end, write: None, reads: vec![access.clone()] });
        }
        self.merge(&range);
        conflict
    }

    /// Notes that `access`, which knows `clock`, writes `range`. Answers an access that is not ordered before it.
    pub(super) fn write(&mut self, range: Range<u64>, access: &Access, clock: &Clock) -> Option<Conflict> {
        let conflict = self.unordered(range.clone(), clock);
        self.forget(range.clone());
        if range.start < range.end {
            let segment = Segment { end: range.end, write: Some(access.clone()), reads: Vec::new() };
            self.segments.insert(range.start, segment);
        }
        conflict
    }

    /// The first access to `range` that `clock` does not know to be over.
    pub(super) fn unordered(&mut self, range: Range<u64>, clock: &Clock) -> Option<Conflict> {
        self.isolate(&range);
        self.segments.range(range).find_map(|(&address, segment)| {
            let write = segment.write.iter().map(|write| (write, true));
            let mut all = write.chain(segment.reads.iter().map(|read| (read, false)));
            let (earlier, wrote) = all.find(|(access, _)| !clock.covers(access))?;
            Some(Conflict { address, earlier: earlier.clone(), wrote })
        })
    }

    /// Forgets all accesses to `range`: it was freed.
    pub(super) fn forget(&mut self, range: Range<u64>) {
        self.isolate(&range);
        let firsts: Vec<u64> = self.segments.range(range).map(|(&first, _)| first).collect();
        for first in firsts {
            self.segments.remove(&first);
        }
    }

    /// Forgets what `clock` knows to be over; answers whether nothing is left. Right only where all that is still to
    /// come knows `clock`.
    pub(super) fn settle(&mut self, clock: &Clock) -> bool {
        self.segments.retain(|_, segment| {
            segment.write.take_if(|write| clock.covers(write));
            segment.reads.retain(|read| !clock.covers(read));
            segment.write.is_some() || !segment.reads.is_empty()
        });
        self.segments.is_empty()
    }

    /// Cuts the segments that stand over an end of `range`.
    fn isolate(&mut self, range: &Range<u64>) {
        for at in [range.start, range.end] {
            if let Some((_, segment)) = self.segments.range_mut(..at).next_back()
                && segment.end > at
            {
                let rest = segment.clone();
                segment.end = at;
                self.segments.insert(at, rest);
            }
        }
    }

    /// Joins neighbours in `range` that have the same past.
    fn merge(&mut self, range: &Range<u64>) {
        let parts: Vec<u64> = self.segments.range(range.clone()).map(|(&first, _)| first).collect();
        let mut into = None;
        for first in parts {
            let segment = self.segments[&first].clone();
            match into.and_then(|before| self.segments.get_mut(&before)) {
                Some(before)
                    if before.end == first && (&before.write, &before.reads) == (&segment.write, &segment.reads) =>
                {
                    before.end = segment.end;
                    self.segments.remove(&first);
                }
                _ => into = Some(first),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn access(stream: usize, tick: u64) -> Access {
        Access { stream, tick, name: format!("{stream}.{tick}").into() }
    }

    fn knows(ticks: &[(usize, u64)]) -> Clock {
        let mut clock = Clock::default();
        ticks.iter().for_each(|&(stream, tick)| clock.learn(stream, tick));
        clock
    }

    #[test]
    fn a_write_meets_what_it_does_not_know() {
        let mut history = History::default();
        assert_eq!(history.write(100..200, &access(1, 1), &knows(&[(1, 1)])), None);
        let conflict = history.read(150..160, &access(2, 1), &knows(&[(2, 1)])).unwrap();
        assert_eq!((conflict.address, conflict.wrote, &*conflict.earlier.name), (150, true, "1.1"));
        assert_eq!(history.read(150..160, &access(3, 1), &knows(&[(3, 1), (1, 1)])), None, "an event told it");
        assert_eq!(history.read(200..300, &access(2, 2), &knows(&[(2, 2)])), None, "beside it");
        let conflict = history.write(0..400, &access(1, 2), &knows(&[(1, 2), (2, 1)])).unwrap();
        assert_eq!((conflict.address, conflict.wrote, &*conflict.earlier.name), (150, false, "3.1"));
    }

    #[test]
    fn reads_of_several_streams_are_no_conflict() {
        let mut history = History::default();
        for stream in 0..4 {
            assert_eq!(history.read(0..64, &access(stream, 1), &knows(&[(stream, 1)])), None);
        }
        assert_eq!(history.segments.len(), 1);
        assert_eq!(history.segments[&0].reads.len(), 4);
        assert!(!history.settle(&knows(&[(0, 1), (1, 1), (2, 1)])));
        assert!(history.settle(&knows(&[(3, 7)])));
    }

    proptest! {
        /// Against a list of accesses for each byte.
        #[test]
        fn the_same_as_byte_by_byte(
            operations in prop::collection::vec((0usize..3, 0u64..40, 1u64..20, any::<bool>(), 0u64..4, 0u64..4), 1..60),
        ) {
            let mut history = History::default();
            let mut bytes: Vec<Vec<(Access, bool)>> = vec![Vec::new(); 64];
            let mut ticks = [0; 3];
            for (stream, start, length, writes, a, b) in operations {
                ticks[stream] += 1;
                let me = access(stream, ticks[stream]);
                let mut clock = knows(&[(stream, ticks[stream])]);
                clock.learn((stream + 1) % 3, a.min(ticks[(stream + 1) % 3]));
                clock.learn((stream + 2) % 3, b.min(ticks[(stream + 2) % 3]));
                let range = start..start + length;
                let meets = range.clone().find(|&i| {
                    bytes[i as usize].iter().any(|(other, wrote)| (writes || *wrote) && !clock.covers(other))
                });
                let got = if writes {
                    history.write(range.clone(), &me, &clock)
                } else {
                    history.read(range.clone(), &me, &clock)
                };
                prop_assert_eq!(got.map(|conflict| conflict.address), meets);
                for i in range {
                    let byte = &mut bytes[i as usize];
                    if writes {
                        byte.clear();
                    }
                    byte.retain(|(other, wrote)| *wrote || !clock.covers(other));
                    byte.push((me.clone(), writes));
                }
            }
        }
    }
}
