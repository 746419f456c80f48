//! Instructions that a warp's lanes execute together, and control: ends, barriers, exchanges, matrices.

use super::barrier::Arrival;
use super::block::Block;
use super::registers::LANES;
use super::warp::{Step, Warp, Yield};
use super::{address, ldmatrix, matrix, shuffle};
use crate::ptx::op::{Args1, BarrierMode, Op, Special};
use crate::report::Kind;

impl Warp {
    /// Instructions for several lanes at once, and control.
    pub(super) fn collective(&mut self, block: &mut Block<'_>, op: &Op, active: u32) -> Step {
        match op {
            Op::Exit => return Step::Exit(active),
            Op::Trap => {
                block.report(Kind::Trap, self.index, active.trailing_zeros() as usize, None, String::new());
                return Step::Yield(Yield::Stopped);
            }
            Op::Bar(barrier) => {
                if barrier.aligned && self.missing(self.live, active) {
                    return Step::Block;
                }
                let arrival = Arrival::new(self, *barrier, active, block.line);
                if arrival.id > 15 || arrival.threads.is_some_and(|threads| threads % 32 != 0) {
                    block.report(Kind::Divergence, self.index, 0, None, "no such barrier or number of threads".into());
                    return Step::Yield(Yield::Stopped);
                }
                if barrier.mode == BarrierMode::Arrive {
                    self.passed |= 1 << arrival.id;
                    return Step::Yield(Yield::Arrived);
                }
                self.arrival = Some(arrival);
                return Step::Yield(Yield::Waits);
            }
            Op::Fence { beyond_block } => {
                if let Some(races) = &mut block.races {
                    races.clocks.fence(self.index, *beyond_block);
                }
            }
            Op::Hint => {}
            Op::ActiveMask { d } => self.registers.write(active, *d, &[active; LANES]),
            Op::Special { which, d } => self.special(block, *which, *d, active),
            Op::Isspacep { space, p, a } => {
                let bits = self.registers.compare(*a, *a, |a: u64, _| address::space_of(a) == *space);
                self.registers.set_predicate(*p, active, bits);
            }
            Op::Cvta { to, space, wide, args: Args1 { d, a } } => {
                let window = if *wide { address::window(*space) } else { 0 };
                let window = if *to { window.wrapping_neg() } else { window };
                if *wide {
                    self.registers.map1(active, *d, *a, |a: u64| a.wrapping_add(window));
                } else {
                    self.registers.map1(active, *d, *a, |a: u32| a);
                }
            }
            Op::WarpSync { mask } => {
                let wanted = self.registers.lanes(*mask)[active.trailing_zeros() as usize];
                if self.missing(wanted, active) {
                    return Step::Block;
                }
                if block.checked {
                    self.check_members(block, op, active);
                }
                if let Some(races) = &mut block.races {
                    races.clocks.meet(self.index, wanted & active, self.live);
                }
            }
            _ => return self.exchange(block, op, active),
        }
        Step::Next
    }

    fn special(&mut self, block: &Block<'_>, which: Special, d: u16, active: u32) {
        let time = self.instructions;
        match which {
            Special::Clock => self.registers.write(active, d, &[time as u32; LANES]),
            Special::ClockHi => self.registers.write(active, d, &[(time >> 32) as u32; LANES]),
            Special::GlobalTimer => {
                let time = block.plan.started.elapsed().as_nanos() as u64;
                self.registers.write(active, d, &[time; LANES]);
            }
            _ => self.registers.write(active, d, &[time; LANES]),
        }
    }

    /// A lane that executes an instruction for the lanes of a mask is one of them: what happens else is undefined.
    fn check_members(&mut self, block: &mut Block<'_>, op: &Op, active: u32) {
        let Some(mask) = members(op) else { return };
        let masks = self.registers.lanes(mask);
        if let Some(lane) = shuffle::lanes(active).find(|lane| masks[*lane] >> lane & 1 == 0) {
            let detail = format!("this lane is not in its mask {:#010x}", masks[lane]);
            block.report(Kind::Divergence, self.index, lane, None, detail);
        }
    }

    /// Instructions whose lanes exchange values.
    fn exchange(&mut self, block: &mut Block<'_>, op: &Op, active: u32) -> Step {
        let first = active.trailing_zeros() as usize;
        let wanted = members(op).map_or(u32::MAX, |mask| self.registers.lanes(mask)[first]);
        if self.missing(wanted, active) {
            return Step::Block;
        }
        if block.checked {
            self.check_members(block, op, active);
        }
        let done = match op {
            Op::Mma { number } => {
                let mma = &block.plan.launch.entry.mmas[usize::from(*number)];
                if block.counted {
                    block.counters.tensor_flops += 2 * 16 * 8 * u64::from(mma.shape.k);
                }
                matrix::execute(&mut self.registers, mma);
                Ok(())
            }
            Op::Ldmatrix { count, transpose, address, rows } => {
                let order = ldmatrix::Order { count: *count, transpose: *transpose };
                ldmatrix::load(block, self, order, *address, rows)
            }
            Op::Stmatrix { count, transpose, address, rows } => {
                let order = ldmatrix::Order { count: *count, transpose: *transpose };
                ldmatrix::store(block, self, order, *address, rows)
            }
            op => {
                if let Err(absent) = shuffle::execute(&mut self.registers, active, op)
                    && block.checked
                {
                    let detail = format!("lane {} takes no part", absent.from);
                    block.report(Kind::Divergence, self.index, absent.lane, None, detail);
                }
                Ok(())
            }
        };
        if done.is_ok() { Step::Next } else { Step::Yield(Yield::Stopped) }
    }
}

/// The register that holds the mask of lanes that an instruction is for.
fn members(op: &Op) -> Option<u16> {
    match op {
        Op::Shfl { mask, .. }
        | Op::Vote { mask, .. }
        | Op::Match { mask, .. }
        | Op::Redux { mask, .. }
        | Op::Elect { mask, .. }
        | Op::WarpSync { mask } => Some(*mask),
        _ => None,
    }
}
