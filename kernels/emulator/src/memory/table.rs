//! Which addresses are whose: living allocations, and freed ones that wait before their addresses are given out again.

use std::collections::{BTreeMap, VecDeque};

use super::Allocation;

/// Allocations begin at multiples of this.
pub(super) const ALIGNMENT: usize = 256;
/// Bytes of the smallest red zone.
pub(super) const RED_ZONE: usize = 256;
/// Bytes of the largest red zone: what a kernel overruns by a row or a tile of must not reach a neighbour.
const WIDEST_RED_ZONE: usize = 1 << 16;

/// Offsets from the start of the device's range, in bytes.
#[derive(Debug)]
pub(super) struct Table {
    living: BTreeMap<usize, Allocation>,
    /// Freed, oldest first: first byte, and bytes with the red zone behind.
    quarantine: VecDeque<(usize, usize)>,
    /// The first byte that was never given out.
    top: usize,
    /// Bytes of the range.
    range: usize,
    /// Bytes that living allocations may have at most, each rounded up to [`ALIGNMENT`].
    capacity: usize,
    /// Bytes that they have.
    rounded: usize,
    /// Bytes that were asked for.
    used: usize,
}

impl Table {
    /// Addresses that `capacity` bytes take at most, with red zones, times two: so that freed addresses rest a while.
    pub(super) fn range_for(capacity: usize) -> usize {
        (capacity.max(1 << 20).saturating_mul(4)).next_multiple_of(ALIGNMENT)
    }

    pub(super) fn new(capacity: usize) -> Table {
        let range = Table::range_for(capacity);
        Table {
            living: BTreeMap::new(),
            quarantine: VecDeque::new(),
            top: RED_ZONE,
            range,
            capacity,
            rounded: 0,
            used: 0,
        }
    }

    /// Bytes in living allocations.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Room for `bytes` bytes, above 0, with a red zone before and behind; `address` makes an address of an offset.
    pub(super) fn allocate(&mut self, bytes: usize, address: impl Fn(usize) -> u64) -> Option<usize> {
        let rounded = bytes.checked_next_multiple_of(ALIGNMENT)?;
        if rounded > self.capacity - self.rounded {
            return None;
        }
        let span = rounded + red_zone(rounded);
        let at = self.fresh(span).or_else(|| self.reuse(span)).or_else(|| {
            self.merge();
            self.reuse(span)
        })?;
        self.rounded += rounded;
        self.used += bytes;
        self.living.insert(at, Allocation { address: address(at), bytes });
        Some(at)
    }

    /// Ends the allocation that begins at `at`, and says how many bytes it had.
    pub(super) fn free(&mut self, at: usize) -> Option<usize> {
        let Allocation { bytes, .. } = self.living.remove(&at)?;
        let rounded = bytes.next_multiple_of(ALIGNMENT);
        self.rounded -= rounded;
        self.used -= bytes;
        self.quarantine.push_back((at, rounded + red_zone(rounded)));
        Some(bytes)
    }

    /// The living allocation that holds the byte at `at`.
    pub(super) fn holding(&self, at: usize) -> Option<Allocation> {
        let (first, &allocation) = self.living.range(..=at).next_back()?;
        (at - first < allocation.bytes).then_some(allocation)
    }

    /// The living allocation whose first or last byte is nearest to `at`.
    pub(super) fn nearest(&self, at: usize) -> Option<Allocation> {
        let below = self.living.range(..=at).next_back();
        let above = self.living.range(at..).next();
        let distance_below = below.map_or(usize::MAX, |(&first, a)| at.saturating_sub(first + a.bytes - 1));
        let distance_above = above.map_or(usize::MAX, |(&first, _)| first - at);
        let nearer = if distance_below <= distance_above { below } else { above };
        nearer.map(|(_, &allocation)| allocation)
    }

    /// Addresses that were never given out.
    fn fresh(&mut self, span: usize) -> Option<usize> {
        (span <= self.range - self.top).then(|| {
            let at = self.top;
            self.top += span;
            at
        })
    }

    /// Addresses of the allocation that was freed longest ago among those that are large enough.
    fn reuse(&mut self, span: usize) -> Option<usize> {
        let i = self.quarantine.iter().position(|&(_, bytes)| bytes >= span)?;
        let (at, bytes) = self.quarantine[i];
        if bytes == span {
            self.quarantine.remove(i);
        } else {
            self.quarantine[i] = (at + span, bytes - span);
        }
        Some(at)
    }

    /// Makes one of freed neighbours.
    fn merge(&mut self) {
        let mut freed: Vec<_> = std::mem::take(&mut self.quarantine).into();
        freed.sort_unstable();
        for (at, bytes) in freed {
            match self.quarantine.back_mut() {
                Some((first, before)) if *first + *before == at => *before += bytes,
                _ => self.quarantine.push_back((at, bytes)),
            }
        }
    }
}

/// Bytes behind an allocation of `rounded` bytes that belong to nobody.
fn red_zone(rounded: usize) -> usize {
    (rounded / 16).clamp(RED_ZONE, WIDEST_RED_ZONE).next_multiple_of(ALIGNMENT)
}
