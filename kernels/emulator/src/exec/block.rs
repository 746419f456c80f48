//! One block: its shared memory, its warps in turn, and what it is checked for.

use super::address::{self, Blame, Buffer, Region};
use super::counters::Counters;
use super::launch::Plan;
use super::registers::LANES;
use super::shuffle::lanes;
use super::warp::{Warp, Yield};
use crate::check::clock::SEVERAL;
use crate::check::findings::Findings;
use crate::check::race::{Conflict, Races, Touch};
use crate::ptx::Space;
use crate::report::{Kind, Report};

/// The kernel can not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop;

/// How an access uses memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use {
    pub space: Space,
    /// Bytes of a lane.
    pub width: usize,
    pub read: bool,
    pub write: bool,
    /// Atomic, volatile or stronger.
    pub strong: bool,
    /// Whether what is read goes to other lanes than the one that gave the address.
    pub collective: bool,
}

/// A block that runs.
pub(crate) struct Block<'l> {
    pub plan: &'l Plan<'l>,
    pub index: [u32; 3],
    pub shared: Buffer,
    pub checked: bool,
    pub counted: bool,
    pub races: Option<Box<Races>>,
    pub findings: Findings,
    pub counters: Counters,
    pub stopped: bool,
    /// Place and line of the instruction being executed.
    pub line: u32,
    /// State of the generator of orders.
    random: u64,
}

/// Instructions that a warp executes at most: about ten seconds. A kernel that needs more does not end.
pub(crate) const BUDGET: u64 = 1 << 30;
/// Instructions after which a warp lets others go on, so that none waits for another's flag for ever.
const TURN: u64 = 1 << 14;
/// The same where orders are checked: on average half of it.
const CHECKED_TURN: u64 = 512;

impl<'l> Block<'l> {
    pub fn new(plan: &'l Plan<'l>, number: u32) -> Block<'l> {
        let [x, y, _] = plan.launch.grid;
        let index = [number % x, number / x % y, number / x / y];
        let options = plan.options;
        let races = options
            .checked
            .then(|| Box::new(Races::new(plan.warps, plan.shared_bytes, plan.shared_shift, plan.global_shift)));
        Block {
            plan,
            index,
            shared: Buffer::new(plan.shared_bytes, 1),
            checked: options.checked,
            counted: options.counted,
            races,
            findings: Findings::default(),
            counters: Counters::default(),
            stopped: false,
            line: 0,
            random: options.seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// The next number of a sequence that the seed decides (splitmix64).
    pub fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Runs all warps to their end, or until something stops the kernel.
    pub fn run(&mut self) {
        let mut warps: Vec<Warp> = (0..self.plan.warps).map(|index| Warp::new(self, index)).collect();
        let mut ready: Vec<usize> = (0..warps.len()).collect();
        let mut next = 0;
        while !self.stopped {
            if ready.is_empty() {
                ready = self.release(&mut warps);
                if ready.is_empty() {
                    break;
                }
            }
            // A checked run draws each turn; else warps come round in an order that begins where the seed says.
            next = if self.checked || next == 0 { self.random() as usize % ready.len() } else { next % ready.len() };
            let turn = if self.checked && ready.len() > 1 { 1 + self.random() % CHECKED_TURN } else { TURN };
            let warp = &mut warps[ready[next]];
            match warp.run(self, turn) {
                Yield::Turn => next += 1,
                Yield::Arrived => {
                    let released = self.release_complete(&mut warps);
                    ready.extend(released);
                }
                Yield::Waits | Yield::Ended => {
                    ready.swap_remove(next);
                    // Arrivals may let others go.
                    let released = self.release_complete(&mut warps);
                    ready.extend(released);
                }
                Yield::Stopped => self.stopped = true,
            }
        }
        for warp in &warps {
            self.counters.warp_instructions += warp.instructions;
            if !self.stopped && self.checked && !warp.copies.is_empty() {
                self.line = warp.copies.line();
                self.report(Kind::AsyncCopy, warp.index, 0, None, "the kernel ended before it was waited for".into());
            }
        }
    }

    /// A space as it lies in this process.
    #[inline(always)]
    pub fn region(&mut self, warp: &mut Warp, space: Space) -> Region {
        match space {
            Space::Global | Space::Generic => self.plan.global,
            Space::Shared => self.shared.region(false),
            Space::Local => warp.local.region(true),
            Space::Param => self.plan.params_region(),
        }
    }

    /// Checks bounds, alignment and shadow of an access.
    ///
    /// # Errors
    /// Some lane may not do it at all; the report is made.
    #[inline(always)]
    pub fn admit(
        &mut self,
        warp: &mut Warp,
        mask: u32,
        region: &Region,
        addresses: &[u64; LANES],
        usage: Use,
    ) -> Result<(), Stop> {
        let align = usage.width as u64;
        let survey = address::survey(&mut warp.registers, addresses, region.start, region.bytes, align);
        if (survey.outside | survey.misaligned) & mask != 0 || usage.write && usage.space == Space::Param {
            return self.refuse(warp, mask, region, addresses, (survey.outside, survey.misaligned));
        }
        if region.shadow.is_null() || !self.checked && usage.space != Space::Global {
            return Ok(());
        }
        let demand = self.demand(&usage);
        // SAFETY: `survey` found all lanes inside of the region and aligned; regions of a block and of its warps live as
        // long as they, that of global memory as long as the launch.
        let bad = unsafe { address::unmet(region, addresses, mask, usage.width, demand) };
        if bad == 0 { Ok(()) } else { self.complain(warp, bad, region, addresses, usage) }
    }

    #[cold]
    fn refuse(
        &mut self,
        warp: &Warp,
        mask: u32,
        region: &Region,
        addresses: &[u64; LANES],
        (outside, misaligned): (u32, u32),
    ) -> Result<(), Stop> {
        // Parameters can not be written, wherever.
        let (kind, bad) = match (outside & mask, misaligned & mask) {
            (0, 0) => (Kind::OutOfBounds, mask),
            (0, misaligned) => (Kind::Misaligned, misaligned),
            (outside, _) => (Kind::OutOfBounds, outside),
        };
        let lane = bad.trailing_zeros() as usize;
        let detail = if region.stride != 0 || region.start == 0 {
            format!("{} bytes are there", region.bytes)
        } else {
            self.plan.nearby(addresses[lane])
        };
        self.report(kind, warp.index, lane, Some(addresses[lane]), detail);
        Err(Stop)
    }

    /// Finds out what is wrong with the shadow of the lanes `bad`.
    #[cold]
    fn complain(
        &mut self,
        warp: &Warp,
        bad: u32,
        region: &Region,
        addresses: &[u64; LANES],
        usage: Use,
    ) -> Result<(), Stop> {
        let demand = self.demand(&usage);
        for lane in lanes(bad) {
            let offset = region.offset(lane, addresses[lane]);
            for byte in 0..usage.width {
                // SAFETY: `admit` found the lane inside of the region, and so of its shadow.
                let (met, shadow) = unsafe {
                    let at = region.shadow.add(offset + byte);
                    (demand.met(at, 1), super::load_store::read(at, 1) as u8)
                };
                if met {
                    continue;
                }
                let address = Some(addresses[lane] + byte as u64);
                let nearby = || self.plan.nearby(addresses[lane] + byte as u64);
                let (kind, detail) = match address::blame(shadow) {
                    Blame::Bounds => (Kind::OutOfBounds, nearby()),
                    Blame::Freed => (Kind::UseAfterFree, nearby()),
                    Blame::Pending => (Kind::AsyncCopy, "cp.async still writes here".to_owned()),
                    Blame::Unwritten => (Kind::Uninitialised, format!("{:?} memory", usage.space)),
                };
                self.report(kind, warp.index, lane, address, detail);
                if matches!(kind, Kind::OutOfBounds | Kind::UseAfterFree) {
                    return Err(Stop);
                }
                break;
            }
        }
        Ok(())
    }

    /// Notes an access for the search for races. `same` says whether two lanes write the same value.
    pub fn record(
        &mut self,
        warp: usize,
        mask: u32,
        addresses: &[u64; LANES],
        usage: Use,
        same: &dyn Fn(usize, usize) -> bool,
    ) {
        let Some(mut races) = self.races.take() else { return };
        let time = races.clocks.now;
        races.clocks.now = time.saturating_add(1);
        let mut touch =
            Touch { warp: warp as u8, lane: 0, line: self.line, write: usage.write, strong: usage.strong, time };
        // Lanes that read the same place are one reader: several lanes.
        let mut rest = mask;
        let mut several = 0;
        if !usage.write {
            (rest, several) = distinct(addresses, mask);
        }
        for lane in lanes(rest) {
            touch.lane = if usage.collective || several >> lane & 1 != 0 { SEVERAL } else { lane as u8 };
            let conflict = match usage.space {
                Space::Shared => races.shared(addresses[lane], usage.width, touch),
                _ => races.global(addresses[lane], usage.width, touch),
            };
            if let Some(conflict) = conflict {
                let together = conflict.with.time == time && usize::from(conflict.with.warp) == warp;
                let benign = together && conflict.with.lane != SEVERAL && same(usize::from(conflict.with.lane), lane);
                if !benign {
                    self.race(warp, lane, addresses[lane], usage, conflict);
                }
            }
        }
        self.races = Some(races);
    }

    #[cold]
    fn race(&mut self, warp: usize, lane: usize, address: u64, usage: Use, conflict: Conflict) {
        let inside = usize::from(conflict.with.warp) == warp;
        let kind = if inside { Kind::WarpRace } else { Kind::Race };
        let who = if conflict.with.lane == SEVERAL {
            format!("warp {}", conflict.with.warp)
        } else {
            let [x, y, z] = self.plan.thread(usize::from(conflict.with.warp), usize::from(conflict.with.lane));
            format!("thread ({x}, {y}, {z})")
        };
        let detail = format!(
            "{:?} memory {} here; {who} {} it on line {} `{}`",
            usage.space,
            if usage.write { "written" } else { "read" },
            if conflict.wrote { "wrote" } else { "read" },
            conflict.line,
            self.plan.launch.module.instruction(conflict.line),
        );
        self.report(kind, warp, lane, Some(address), detail);
    }

    /// A strong write of the lanes of `mask`.
    pub fn publish(&mut self, warp: &Warp, addresses: &[u64; LANES], mask: u32, release: bool, space: Space) {
        if let Some(races) = &mut self.races {
            for lane in lanes(mask) {
                let address = addresses[lane] + address::window(space);
                races.clocks.publish(warp.index, address, release, space == Space::Global);
            }
        }
    }

    /// A strong read of the lanes of `mask`.
    pub fn acquire(&mut self, warp: &Warp, addresses: &[u64; LANES], mask: u32, space: Space) {
        if let Some(races) = &mut self.races {
            for lane in lanes(mask) {
                let address = addresses[lane] + address::window(space);
                races.clocks.acquire(warp.index, address, space == Space::Global);
            }
        }
    }

    /// Adds a report on the instruction being executed.
    #[cold]
    pub fn report(&mut self, kind: Kind, warp: usize, lane: usize, address: Option<u64>, detail: String) {
        if !self.findings.wants(kind, self.line as usize) {
            return;
        }
        self.findings.reports.push(Report {
            kind,
            kernel: self.plan.launch.entry.name.clone(),
            line: self.line as usize,
            instruction: self.plan.launch.module.instruction(self.line).to_owned(),
            block: self.index,
            thread: self.plan.thread(warp, lane),
            address,
            detail,
        });
    }
}

/// Lanes that stand for all with the same address, as far as neighbours and the two halves of a warp repeat each other,
/// and those of them that stand for others as well.
fn distinct(addresses: &[u64; LANES], mask: u32) -> (u32, u32) {
    let (mut kept, mut several) = (0u32, 0u32);
    let mut last = LANES;
    for lane in lanes(mask) {
        if last < LANES && addresses[last] == addresses[lane] {
            several |= 1 << last;
        } else if lane >= 16 && kept >> (lane - 16) & 1 != 0 && addresses[lane - 16] == addresses[lane] {
            several |= 1 << (lane - 16);
            last = lane - 16;
        } else {
            kept |= 1 << lane;
            last = lane;
        }
    }
    (kept, several)
}
