//! What happened before what.
//!
//! A block has one clock that ticks with each memory access and barrier. Each warp knows up to which time it has seen
//! the others' accesses (a vector clock). Barriers of the block join what their warps have seen; so does a flag: what
//! a warp did before a fence is seen by a warp that reads, with an atomic, volatile or stronger access, what the first
//! one wrote after the fence by such an access. (The second fence, on the reading side, is not asked for.)
//!
//! Within a warp, lanes see each other's accesses after `bar.warp.sync` or a barrier of the block only. Exchanges
//! (`shfl`, `vote`, `match`, `redux`, `ldmatrix`, `mma`) do not order memory, as the documentation says.

use std::collections::HashMap;

use crate::exec::registers::LANES;

/// A lane that stands for several of them.
pub(crate) const SEVERAL: u8 = LANES as u8;

/// Who accessed something, and when. Time 0 is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub time: u32,
    pub warp: u8,
    /// The lane, or [`SEVERAL`].
    pub lane: u8,
    /// Atomic, volatile or stronger: two of these do not race.
    pub strong: bool,
}

/// The clocks of a block.
#[derive(Debug)]
pub(crate) struct Clocks {
    /// Time of the next access.
    pub now: u32,
    warps: usize,
    /// `seen[w * warps + v]`: what `v` did up to then happened before what `w` does next.
    seen: Vec<u32>,
    /// When all lanes of a warp met the last time.
    met: Vec<u32>,
    /// For warps of which only some lanes met: what lane `a` has seen of lane `b`.
    lanes: Vec<Option<Box<[[u32; LANES]; LANES]>>>,
    /// What a warp had seen at its last fence.
    fenced: Vec<Option<Vec<u32>>>,
    /// What is seen through flags, by their address.
    flags: HashMap<u64, Vec<u32>>,
    /// Accesses up to then were published to other blocks by a fence and a flag.
    pub published: u32,
    /// From then on flags of other blocks were read.
    pub acquired: u32,
    /// Time of the last fence that reaches beyond the block, of each warp.
    fenced_beyond: Vec<u32>,
}

impl Clocks {
    pub fn new(warps: usize) -> Clocks {
        Clocks {
            now: 1,
            warps,
            seen: vec![0; warps * warps],
            met: vec![0; warps],
            lanes: (0..warps).map(|_| None).collect(),
            fenced: vec![None; warps],
            flags: HashMap::new(),
            published: 0,
            acquired: u32::MAX,
            fenced_beyond: vec![0; warps],
        }
    }

    fn tick(&mut self) -> u32 {
        let now = self.now;
        self.now = now.saturating_add(1);
        now
    }

    /// Whether what `stamp` says happened before what that lane does now.
    #[inline(always)]
    pub fn ordered(&self, stamp: Stamp, warp: u8, lane: u8) -> bool {
        if stamp.time == 0 {
            return true;
        }
        if stamp.warp != warp {
            return self.seen[usize::from(warp) * self.warps + usize::from(stamp.warp)] >= stamp.time;
        }
        if stamp.lane == lane && lane != SEVERAL || stamp.time <= self.met[usize::from(warp)] {
            return true;
        }
        match &self.lanes[usize::from(warp)] {
            Some(seen) if lane != SEVERAL && stamp.lane != SEVERAL => {
                seen[usize::from(lane)][usize::from(stamp.lane)] >= stamp.time
            }
            _ => false,
        }
    }

    /// Lanes of a warp meet; `all` of those that live.
    pub fn meet(&mut self, warp: usize, mask: u32, live: u32) {
        let now = self.tick();
        if mask & live == live {
            self.met[warp] = now;
            return;
        }
        let seen = self.lanes[warp].get_or_insert_with(|| Box::new([[0; LANES]; LANES]));
        let inside = |lane: usize| mask >> lane & 1 != 0;
        let mut joined = [0; LANES];
        for a in (0..LANES).filter(|a| inside(*a)) {
            for b in 0..LANES {
                joined[b] = joined[b].max(seen[a][b]);
            }
        }
        for b in (0..LANES).filter(|b| inside(*b)) {
            joined[b] = now;
        }
        for a in (0..LANES).filter(|a| inside(*a)) {
            seen[a] = joined;
        }
    }

    /// Warps meet at a barrier of the block.
    pub fn barrier(&mut self, participants: &[usize]) {
        let now = self.tick();
        let mut joined = vec![0; self.warps];
        for w in participants {
            for v in 0..self.warps {
                joined[v] = joined[v].max(self.seen[w * self.warps + v]);
            }
        }
        for w in participants {
            joined[*w] = now;
            self.met[*w] = now;
        }
        for w in participants {
            self.seen[w * self.warps..(w + 1) * self.warps].copy_from_slice(&joined);
        }
    }

    fn view(&self, warp: usize) -> Vec<u32> {
        let mut view = self.seen[warp * self.warps..(warp + 1) * self.warps].to_vec();
        view[warp] = self.now;
        view
    }

    /// A fence of a warp.
    pub fn fence(&mut self, warp: usize, beyond_block: bool) {
        let view = self.view(warp);
        let now = self.tick();
        self.fenced[warp] = Some(view);
        if beyond_block {
            // What others did before a barrier that this warp passed is published with it.
            self.fenced_beyond[warp] = now;
        }
    }

    /// A strong write: publishes what came before the last fence, or all if it is a release itself.
    pub fn publish(&mut self, warp: usize, address: u64, release: bool, global: bool) {
        if release {
            self.fence(warp, true);
        }
        if global && self.fenced_beyond[warp] > 0 {
            self.published = self.published.max(self.fenced_beyond[warp]);
        }
        let Some(view) = &self.fenced[warp] else { return };
        let flag = self.flags.entry(address).or_insert_with(|| vec![0; self.warps]);
        for (old, new) in flag.iter_mut().zip(view) {
            *old = (*old).max(*new);
        }
    }

    /// A strong read: what was published there is seen from now on.
    pub fn acquire(&mut self, warp: usize, address: u64, global: bool) {
        if global {
            self.acquired = self.acquired.min(self.now);
        }
        let Some(flag) = self.flags.get(&address) else { return };
        for (v, time) in flag.iter().enumerate() {
            let seen = &mut self.seen[warp * self.warps + v];
            *seen = (*seen).max(*time);
        }
    }
}
