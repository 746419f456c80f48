//! A warp: groups of lanes that go together, and the loop over instructions.
//!
//! Lanes that part at a branch become groups. The group with the lowest place in the text runs until it reaches the
//! place of another, which it joins; so lanes meet again where their ways do, for the order in which nvcc lays out code.
//! A group that comes to an instruction for more lanes than it has (`.sync`, barriers) waits there for the others. One
//! that goes round a loop for long makes way for the others, so that lanes may wait for each other's flags.

use super::address::Buffer;
use super::async_copy::Copies;
use super::barrier::Arrival;
use super::block::{BUDGET, Block, Stop};
use super::registers::{LANES, Registers};
use super::{async_copy, atomics, convert, float, integer, load_store, select};
use crate::ptx::op::{Float, Instruction, Op, Pred};
use crate::report::Kind;

/// Jumps back that a group does before it makes way.
const ROUNDS: u32 = 2048;

/// Lanes at the same place.
#[derive(Clone, Copy, Debug)]
struct Group {
    pc: u32,
    mask: u32,
    /// Waits for lanes of other groups.
    blocked: bool,
    /// The lanes that take part in what it waits at.
    wanted: u32,
}

/// Why a warp does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Yield {
    /// Others may go on; so may it.
    Turn,
    /// It is at a barrier of the block.
    Waits,
    /// It arrived at a barrier that it does not wait at.
    Arrived,
    /// All lanes ended.
    Ended,
    /// The kernel can not go on.
    Stopped,
}

/// What a step leads to.
pub(super) enum Step {
    Next,
    Jump(u32),
    /// The lanes of the mask go there, the others on.
    Split(u32, u32),
    /// The lanes of the mask end.
    Exit(u32),
    /// Lanes of other groups are missing.
    Block,
    Yield(Yield),
}

/// A warp.
pub(crate) struct Warp {
    pub index: usize,
    pub registers: Registers,
    groups: Vec<Group>,
    /// Lanes that did not end.
    pub live: u32,
    /// Lanes that there are.
    pub born: u32,
    pub local: Buffer,
    pub copies: Copies,
    /// The barrier that it waits at.
    pub arrival: Option<Arrival>,
    /// Barriers that it arrived at without waiting, as bits.
    pub passed: u32,
    pub instructions: u64,
    /// Groups that wait go on although lanes are missing.
    forced: bool,
    /// Lanes that take part in the last instruction that asked for lanes.
    wanted: u32,
    /// A group that went round for long, by its place, and lets others go first.
    tired: Option<u32>,
}

impl Warp {
    pub fn new(block: &Block<'_>, index: usize) -> Warp {
        let plan = block.plan;
        let threads = plan.threads - index * LANES;
        let born = if threads >= LANES { u32::MAX } else { (1 << threads) - 1 };
        let mut registers = Registers::new(plan.launch.entry.rows, plan.launch.entry.predicates);
        plan.constants(&mut registers, block.index, index);
        Warp {
            index,
            registers,
            groups: vec![Group { pc: 0, mask: born, blocked: false, wanted: 0 }],
            live: born,
            born,
            local: Buffer::new(plan.launch.entry.local, LANES),
            copies: Copies::default(),
            arrival: None,
            passed: 0,
            instructions: 0,
            forced: false,
            wanted: 0,
            tired: None,
        }
    }

    /// Runs for at most `turn` instructions.
    pub fn run(&mut self, block: &mut Block<'_>, turn: u64) -> Yield {
        let end = self.instructions + turn;
        loop {
            if self.groups.is_empty() {
                return Yield::Ended;
            }
            let Some(at) = self.choose() else {
                self.force(block);
                continue;
            };
            if let Some(reason) = self.run_group(block, at, end) {
                return reason;
            }
        }
    }

    /// The group that goes on: the one lowest in the text, unless it is tired and there is another.
    fn choose(&mut self) -> Option<usize> {
        let able = |group: &&(usize, &Group)| !group.1.blocked;
        let tired = self.tired;
        let fresh = self.groups.iter().enumerate().filter(|one| able(&one) && Some(one.1.pc) != tired);
        if let Some((at, _)) = fresh.min_by_key(|(_, group)| group.pc) {
            return Some(at);
        }
        self.tired = None;
        self.groups.iter().enumerate().filter(|one| able(&one)).min_by_key(|(_, group)| group.pc).map(|(at, _)| at)
    }

    /// All groups wait for each other.
    fn force(&mut self, block: &mut Block<'_>) {
        let Some(group) = self.groups.iter_mut().min_by_key(|group| group.pc) else { return };
        group.blocked = false;
        self.forced = true;
        let (mask, live) = (group.mask, self.live);
        block.line = block.plan.launch.entry.code[group.pc as usize].line;
        let lane = mask.trailing_zeros() as usize;
        let detail = format!("lanes {mask:#010x} are here, {:#010x} are elsewhere", live & !mask);
        block.report(Kind::Divergence, self.index, lane, None, detail);
    }

    /// Runs a group until it meets another, waits, parts or ends.
    fn run_group(&mut self, block: &mut Block<'_>, at: usize, end: u64) -> Option<Yield> {
        let Group { mut pc, mask, .. } = self.groups[at];
        let meeting = self.groups.iter().filter(|group| group.pc > pc).map(|group| group.pc).min().unwrap_or(u32::MAX);
        let alone = self.groups.len() == 1;
        let mut rounds = 0;
        let code: &[Instruction] = &block.plan.launch.entry.code;
        loop {
            if pc >= meeting || self.instructions >= end {
                break;
            }
            let instruction = &code[pc as usize];
            if matches!(instruction.op, Op::Fma { ty: Float::F32, mods: None, .. }) && instruction.guard == Pred::TRUE {
                let most = (end - self.instructions).min(u64::from(meeting - pc)) as usize;
                let rest = &code[pc as usize..];
                let count = float::run(&mut self.registers, mask, &rest[..most.min(rest.len())]);
                if block.counted {
                    let classes = &block.plan.classes[pc as usize..][..count];
                    classes.iter().for_each(|class| block.counters.instruction(*class, mask));
                }
                self.instructions += count as u64;
                pc += count as u32;
                continue;
            }
            let active = mask & self.registers.test(instruction.guard);
            self.instructions += 1;
            if block.counted {
                let class = block.plan.classes[pc as usize];
                block.counters.instruction(class, active);
            }
            match self.step(block, instruction, mask, active) {
                Step::Next => pc += 1,
                Step::Jump(target) => {
                    if target <= pc {
                        rounds += 1;
                        if !alone && (rounds == ROUNDS || target < meeting && self.behind(target, at)) {
                            self.tired = (rounds == ROUNDS).then_some(target);
                            pc = target;
                            break;
                        }
                    }
                    pc = target;
                }
                Step::Split(target, taken) => {
                    self.groups[at] = Group { pc: pc + 1, mask: mask & !taken, blocked: false, wanted: 0 };
                    self.groups.push(Group { pc: target, mask: taken, blocked: false, wanted: 0 });
                    self.merge();
                    return self.over(block, end);
                }
                Step::Exit(lanes) => {
                    self.exit(block, at, pc, mask, lanes);
                    return None;
                }
                Step::Block => {
                    self.instructions -= 1;
                    self.groups[at] = Group { pc, mask, blocked: true, wanted: self.wanted };
                    // Others may wait here already, if it came back to this place.
                    self.merge();
                    self.meet(block, self.wanted);
                    return None;
                }
                Step::Yield(reason) => {
                    self.groups[at].pc = pc + 1;
                    self.merge();
                    return Some(reason);
                }
            }
        }
        self.groups[at].pc = pc;
        self.merge();
        self.over(block, end)
    }

    /// The lanes of a mask may meet at several `bar.warp.sync`: if all are at one, they go on.
    fn meet(&mut self, block: &mut Block<'_>, wanted: u32) {
        let code = &block.plan.launch.entry.code;
        let meets = |group: &Group| {
            let instruction = &code[group.pc as usize];
            let syncs = matches!(instruction.op, Op::WarpSync { .. }) && instruction.guard == Pred::TRUE;
            syncs && group.blocked && group.wanted == wanted
        };
        let here = self.groups.iter().filter(|group| meets(group)).fold(0, |mask, group| mask | group.mask);
        if here == 0 || wanted & self.live & !here != 0 {
            return;
        }
        for group in self.groups.iter_mut().filter(|group| meets(group)) {
            (group.pc, group.blocked) = (group.pc + 1, false);
        }
        if let Some(races) = &mut block.races {
            races.clocks.meet(self.index, wanted & here, self.live);
        }
        self.merge();
    }

    /// Whether another group stands before `place`, so that it should go first.
    fn behind(&self, place: u32, at: usize) -> bool {
        self.groups.iter().enumerate().any(|(other, group)| other != at && !group.blocked && group.pc <= place)
    }

    fn over(&mut self, block: &mut Block<'_>, end: u64) -> Option<Yield> {
        if self.instructions < end {
            return None;
        }
        if self.instructions > BUDGET {
            block.report(Kind::Trap, self.index, 0, None, format!("no end after {BUDGET} instructions of a warp"));
            return Some(Yield::Stopped);
        }
        Some(Yield::Turn)
    }

    /// Joins groups at the same place.
    fn merge(&mut self) {
        let mut i = 0;
        while i < self.groups.len() {
            let mut j = i + 1;
            while j < self.groups.len() {
                if self.groups[i].pc == self.groups[j].pc {
                    let other = self.groups.swap_remove(j);
                    self.groups[i].mask |= other.mask;
                    self.groups[i].blocked = false;
                } else {
                    j += 1;
                }
            }
            i += 1;
        }
    }

    fn exit(&mut self, block: &mut Block<'_>, at: usize, pc: u32, mask: u32, lanes: u32) {
        self.live &= !lanes;
        if mask == lanes {
            self.groups.swap_remove(at);
        } else {
            self.groups[at] = Group { pc: pc + 1, mask: mask & !lanes, blocked: false, wanted: 0 };
            self.merge();
        }
        // Who waits for lanes that ended waits for nothing; that they never came is a defect all the same.
        for i in 0..self.groups.len() {
            if self.groups[i].blocked && self.groups[i].wanted & lanes != 0 {
                self.groups[i].blocked = false;
                block.line = block.plan.launch.entry.code[self.groups[i].pc as usize].line;
                let lane = lanes.trailing_zeros() as usize % LANES;
                block.report(Kind::Divergence, self.index, lane, None, "this thread ended elsewhere".into());
            }
        }
    }

    /// Whether lanes that take part in an instruction are not here.
    pub(super) fn missing(&mut self, wanted: u32, active: u32) -> bool {
        let missing = wanted & self.live & !active != 0;
        self.wanted = wanted;
        if missing && self.forced {
            self.forced = false;
            return false;
        }
        missing
    }

    #[inline(always)]
    fn step(&mut self, block: &mut Block<'_>, instruction: &Instruction, mask: u32, active: u32) -> Step {
        let op = &instruction.op;
        match op {
            Op::Bra { target } => {
                return match active {
                    0 => Step::Next,
                    taken if taken == mask => Step::Jump(*target),
                    taken => Step::Split(*target, taken),
                };
            }
            _ if active == 0 => return Step::Next,
            Op::Fma { .. } | Op::Float { .. } | Op::FloatUnary { .. } | Op::Testp { .. } => {
                float::execute(&mut self.registers, active, op);
            }
            Op::Int { .. }
            | Op::MulWide { .. }
            | Op::Mad { .. }
            | Op::IntUnary { .. }
            | Op::Sad { .. }
            | Op::Bfe { .. }
            | Op::Bfi { .. }
            | Op::Lop3 { .. }
            | Op::Shf { .. }
            | Op::Prmt { .. }
            | Op::Dp4a { .. }
            | Op::Carry { .. } => integer::execute(&mut self.registers, active, op),
            Op::Copy(_)
            | Op::Copy64(_)
            | Op::Setp(_)
            | Op::Set { .. }
            | Op::Selp { .. }
            | Op::Slct { .. }
            | Op::PredLogic { .. }
            | Op::PredCopy { .. }
            | Op::Pack { .. }
            | Op::Unpack { .. } => select::execute(&mut self.registers, active, op),
            Op::Cvt { .. } | Op::CvtPair { .. } => convert::execute(&mut self.registers, active, op),
            _ => return self.rare(block, instruction, active),
        }
        Step::Next
    }

    /// Instructions that reach beyond the registers of the lanes.
    fn rare(&mut self, block: &mut Block<'_>, instruction: &Instruction, active: u32) -> Step {
        block.line = instruction.line;
        let done = match &instruction.op {
            Op::Ld(access) => load_store::execute(block, self, active, access, true),
            Op::St(access) => load_store::execute(block, self, active, access, false),
            Op::Atom(atom) => atomics::execute(block, self, active, atom),
            Op::CpAsync(copy) => async_copy::issue(block, self, active, copy),
            Op::CpCommit => {
                self.copies.commit(active);
                Ok(())
            }
            Op::CpWait { groups, all } => async_copy::wait(block, self, active, *groups, *all),
            op => return self.collective(block, op, active),
        };
        match done {
            Ok(()) => Step::Next,
            Err(Stop) => Step::Yield(Yield::Stopped),
        }
    }
}
