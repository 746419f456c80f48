//! Barriers of a block.

use super::block::Block;
use super::registers::LANES;
use super::warp::Warp;
use crate::ptx::op::{Barrier, BarrierMode, SINK};
use crate::report::Kind;

/// A warp at a barrier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub barrier: Barrier,
    /// Number of the barrier.
    pub id: u32,
    /// Threads that it is for; `None` for all of the block.
    pub threads: Option<u32>,
    /// Lanes that arrived.
    pub mask: u32,
    /// Lanes for which the operand of a reduction holds.
    pub held: u32,
    pub line: u32,
}

impl Arrival {
    /// Reads the operands of a barrier.
    pub fn new(warp: &Warp, barrier: Barrier, mask: u32, line: u32) -> Arrival {
        let lane = mask.trailing_zeros() as usize % LANES;
        let threads = (barrier.threads != SINK).then(|| warp.registers.lanes(barrier.threads)[lane]);
        let held = warp.registers.test(barrier.operand) & mask;
        Arrival { barrier, id: warp.registers.lanes(barrier.id)[lane], threads, mask, held, line }
    }
}

impl Block<'_> {
    /// Lets go the warps at barriers that are complete; answers those that may run.
    pub fn release_complete(&mut self, warps: &mut [Warp]) -> Vec<usize> {
        let mut released = Vec::new();
        let used = warps.iter().filter_map(|warp| warp.arrival).fold(0u32, |set, arrival| set | 1 << arrival.id);
        for id in super::shuffle::lanes(used).map(|id| id as u32) {
            let here: Vec<usize> = at(warps, id);
            // Barriers count whole warps. Those that ended are not waited for.
            let arrived = LANES * here.len() + LANES * arrivals(warps, id);
            let wanted = here.iter().find_map(|w| warps[*w].arrival.and_then(|arrival| arrival.threads));
            let living = warps.iter().filter(|warp| warp.live != 0).count();
            let complete = match wanted {
                Some(threads) => arrived >= threads as usize,
                None => here.len() == living,
            };
            if complete {
                self.open(warps, id, &here);
                released.extend(here);
            }
        }
        released
    }

    /// As [`Block::release_complete`] where nothing else can run: what waits for ever is reported, and let go.
    pub fn release(&mut self, warps: &mut [Warp]) -> Vec<usize> {
        let released = self.release_complete(warps);
        if !released.is_empty() {
            return released;
        }
        let stuck = warps.iter().find_map(|warp| warp.arrival.map(|arrival| (warp.index, arrival)));
        if let Some((index, arrival)) = stuck {
            self.line = arrival.line;
            let lane = arrival.mask.trailing_zeros() as usize % LANES;
            self.report(Kind::Divergence, index, lane, None, "other warps never reach this barrier".into());
            self.stopped = true;
        }
        Vec::new()
    }

    fn open(&mut self, warps: &mut [Warp], id: u32, here: &[usize]) {
        self.check_uniform(warps, here);
        let mut all: Vec<usize> = here.to_vec();
        for warp in warps.iter_mut().filter(|warp| warp.passed >> id & 1 != 0) {
            warp.passed &= !(1 << id);
            all.push(warp.index);
        }
        all.sort_unstable();
        all.dedup();
        if let Some(races) = &mut self.races {
            races.clocks.barrier(&all);
        }
        let arrivals: Vec<Arrival> = here.iter().filter_map(|w| warps[*w].arrival).collect();
        let count: u32 = arrivals.iter().map(|arrival| arrival.held.count_ones()).sum();
        let every = arrivals.iter().all(|arrival| arrival.held == arrival.mask);
        for w in here {
            let warp = &mut warps[*w];
            let Some(arrival) = warp.arrival.take() else { continue };
            let d = arrival.barrier.d;
            let truth = |holds: bool| if holds { u32::MAX } else { 0 };
            match arrival.barrier.mode {
                BarrierMode::Popc => warp.registers.write(arrival.mask, d, &[count; LANES]),
                BarrierMode::And => warp.registers.set_predicate(d, arrival.mask, truth(every)),
                BarrierMode::Or => warp.registers.set_predicate(d, arrival.mask, truth(count > 0)),
                BarrierMode::Sync | BarrierMode::Arrive => {}
            }
        }
    }

    /// A barrier of all threads is one instruction, and no thread ended before it.
    fn check_uniform(&mut self, warps: &[Warp], here: &[usize]) {
        if !self.checked {
            return;
        }
        let Some(first) = here.first().and_then(|w| warps[*w].arrival) else { return };
        if first.threads.is_some() {
            return;
        }
        for w in here {
            let Some(arrival) = warps[*w].arrival else { continue };
            if arrival.line != first.line {
                self.line = arrival.line;
                let detail = format!("other warps are at the barrier on line {}", first.line);
                self.report(Kind::Divergence, *w, 0, None, detail);
            }
        }
        for warp in warps {
            if warp.live != warp.born {
                self.line = first.line;
                let lane = (warp.born & !warp.live).trailing_zeros() as usize % LANES;
                self.report(Kind::Divergence, warp.index, lane, None, "this thread ended before the barrier".into());
            }
        }
    }
}

/// Warps that wait at a barrier.
fn at(warps: &[Warp], id: u32) -> Vec<usize> {
    let waits = |warp: &&Warp| warp.arrival.is_some_and(|arrival| arrival.id == id);
    warps.iter().filter(waits).map(|warp| warp.index).collect()
}

/// Warps that arrived without waiting.
fn arrivals(warps: &[Warp], id: u32) -> usize {
    warps.iter().filter(|warp| warp.passed >> id & 1 != 0).count()
}
