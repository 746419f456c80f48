//! Instructions in which the lanes of a warp exchange values. None of them orders memory.

use super::registers::{LANES, Registers};
use crate::ptx::op::{Args3, AtomOp, Op, SINK, Shuffle, Vote};

/// What went wrong: a lane that reads of a lane that takes no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbsentLane {
    /// Who reads.
    pub lane: usize,
    /// Of whom.
    pub from: usize,
}

/// Executes an exchange among the lanes of `mask`.
pub(crate) fn execute(registers: &mut Registers, mask: u32, op: &Op) -> Result<(), AbsentLane> {
    match *op {
        Op::Shfl { mode, p, args, .. } => return shuffle(registers, mask, mode, p, args),
        Op::Vote { mode, operand, d, .. } => {
            let held = registers.test(operand) & mask;
            match mode {
                Vote::Ballot => registers.write(mask, d, &[held; LANES]),
                Vote::All => registers.set_predicate(d, mask, truth(held == mask)),
                Vote::Any => registers.set_predicate(d, mask, truth(held != 0)),
                Vote::Uniform => registers.set_predicate(d, mask, truth(held == 0 || held == mask)),
            }
        }
        Op::Match { all, wide, p, d, a, .. } => {
            let values: [u64; LANES] = std::array::from_fn(|i| registers.lane(a, wide, i));
            let same = |lane: usize| {
                lanes(mask).filter(|other| values[*other] == values[lane]).fold(0u32, |set, other| set | 1 << other)
            };
            let mut sets = [0u32; LANES];
            for lane in lanes(mask) {
                sets[lane] = same(lane);
            }
            if all {
                let equal = lanes(mask).all(|lane| sets[lane] == mask);
                sets = [if equal { mask } else { 0 }; LANES];
                registers.set_predicate(p, mask, truth(equal));
            }
            if d != SINK {
                registers.write(mask, d, &sets);
            }
        }
        Op::Redux { op, signed, args, .. } => {
            let values = *registers.lanes(args.a);
            let result = lanes(mask).map(|lane| values[lane]).reduce(|a, b| reduce(op, signed, a, b)).unwrap_or(0);
            registers.write(mask, args.d, &[result; LANES]);
        }
        Op::Elect { p, d, .. } => {
            let leader = mask.trailing_zeros();
            if d != SINK {
                registers.write(mask, d, &[leader; LANES]);
            }
            registers.set_predicate(p, mask, 1u32.checked_shl(leader).unwrap_or(0));
        }
        Op::Movmatrix(args) => {
            let from = *registers.lanes(args.a);
            let values = std::array::from_fn::<u32, LANES, _>(|lane| {
                // Row and first column of the two elements of a lane; row r, column c lies in lane 4 r + c / 2.
                let (row, column) = (lane / 4, lane % 4 * 2);
                let element = |row: usize, column: usize| from[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff;
                element(column, row) | element(column + 1, row) << 16
            });
            registers.write(mask, args.d, &values);
        }
        _ => {}
    }
    Ok(())
}

/// The lanes of a mask.
#[inline(always)]
pub(crate) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        if rest == 0 {
            return None;
        }
        let lane = rest.trailing_zeros() as usize;
        rest &= rest - 1;
        Some(lane)
    })
}

fn truth(holds: bool) -> u32 {
    if holds { u32::MAX } else { 0 }
}

fn reduce(op: AtomOp, signed: bool, a: u32, b: u32) -> u32 {
    match op {
        AtomOp::Add => a.wrapping_add(b),
        AtomOp::Min if signed => (a as i32).min(b as i32) as u32,
        AtomOp::Max if signed => (a as i32).max(b as i32) as u32,
        AtomOp::Min => a.min(b),
        AtomOp::Max => a.max(b),
        AtomOp::And => a & b,
        AtomOp::Or => a | b,
        _ => a ^ b,
    }
}

fn shuffle(registers: &mut Registers, mask: u32, mode: Shuffle, p: u16, args: Args3) -> Result<(), AbsentLane> {
    let (from, by, clamp) = (*registers.lanes(args.a), *registers.lanes(args.b), *registers.lanes(args.c));
    let (mut values, mut inside, mut absent) = ([0u32; LANES], 0u32, None);
    for lane in lanes(mask) {
        let (b, c, own) = (by[lane] & 31, clamp[lane] & 31, lane as u32);
        let segment = clamp[lane] >> 8 & 31;
        let (low, high) = (own & segment, (own & segment) | (c & !segment));
        let (source, fits) = match mode {
            Shuffle::Up => (own.wrapping_sub(b), own as i32 - b as i32 >= high as i32),
            Shuffle::Down => (own + b, own + b <= high),
            Shuffle::Butterfly => (own ^ b, (own ^ b) <= high),
            Shuffle::Index => {
                let source = low | (b & !segment);
                (source, source <= high)
            }
        };
        let source = if fits { source as usize & 31 } else { lane };
        inside |= u32::from(fits) << lane;
        if mask >> source & 1 == 0 {
            absent = absent.or(Some(AbsentLane { lane, from: source }));
        }
        values[lane] = from[source];
    }
    if args.d != SINK {
        registers.write(mask, args.d, &values);
    }
    registers.set_predicate(p, mask, inside);
    absent.map_or(Ok(()), Err)
}
