//! Fewer rows: registers whose values are never needed at the same time share one.
//!
//! nvcc gives each value a register of its own, a thousand in an unrolled loop; the rows of a warp would not fit into
//! the caches of the host. A register lives from the first to the last place in the text where some path may still
//! read it (a backward data flow over the branches); rows are given out in the order in which lives begin. Lanes may be
//! at different places, but each lane's values are in its own part of the rows, and writes touch no other lane.

use super::op::{Mma, Op, Pred, Row};
use super::operands::{Role, visit};
use super::{Constant, Instruction};

/// First and last instruction where a register must be kept.
#[derive(Clone, Copy)]
struct Life {
    row: Row,
    wide: bool,
    first: usize,
    last: usize,
}

/// Gives registers new rows; answers how many rows there are.
pub(super) fn compact(code: &mut [Instruction], mmas: &mut [Mma], constants: &mut [Constant], rows: usize) -> usize {
    let mut lives = lives(code, mmas, constants, rows);
    lives.sort_by_key(|life| (life.first, life.row));
    // Constants keep rows of their own, the first ones.
    let mut places = vec![Row::MAX; rows];
    let mut next = 0usize;
    for wide in [true, false] {
        for constant in constants.iter_mut().filter(|constant| constant.wide == wide) {
            places[usize::from(constant.row)] = next as Row;
            constant.row = next as Row;
            next += if wide { 2 } else { 1 };
        }
    }
    let mut free = [Vec::new(), Vec::new()];
    let mut active: Vec<Life> = Vec::new();
    for life in lives {
        active.retain(|old| {
            // An instruction reads its operands before it writes, so its result may take their place.
            let over = old.last <= life.first && old.first < life.first;
            if over {
                free[usize::from(old.wide)].push(places[usize::from(old.row)]);
            }
            !over
        });
        places[usize::from(life.row)] = free[usize::from(life.wide)].pop().unwrap_or_else(|| {
            if life.wide {
                next = next.next_multiple_of(2);
            }
            let place = next as Row;
            next += if life.wide { 2 } else { 1 };
            place
        });
        active.push(life);
    }
    for instruction in code.iter_mut() {
        visit(&mut instruction.op, mmas, |row, _, _| *row = places[usize::from(*row)]);
    }
    next.max(2)
}

/// When each register that instructions use is alive.
fn lives(code: &mut [Instruction], mmas: &mut [Mma], constants: &[Constant], rows: usize) -> Vec<Life> {
    let mut fixed = vec![false; rows];
    constants.iter().for_each(|constant| fixed[usize::from(constant.row)] = true);
    // What each instruction reads, and what it surely writes.
    let mut uses: Vec<Vec<(Row, Role)>> = Vec::with_capacity(code.len());
    let mut lives: Vec<Option<Life>> = vec![None; rows];
    for (at, instruction) in code.iter_mut().enumerate() {
        let mut list = Vec::new();
        visit(&mut instruction.op, mmas, |row, wide, role| {
            if !fixed[usize::from(*row)] {
                list.push((*row, role));
                let life = lives[usize::from(*row)].get_or_insert(Life { row: *row, wide, first: at, last: at });
                // What is written together shares nothing, even if it is never read.
                life.last = life.last.max(at + usize::from(role == Role::Write));
            }
        });
        uses.push(list);
    }
    for (at, alive) in alive_before(code, &uses, rows).iter().enumerate() {
        for (word, bits) in alive.iter().enumerate() {
            let mut bits = *bits;
            while bits != 0 {
                let row = 64 * word + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(life) = &mut lives[row] {
                    life.first = life.first.min(at.saturating_sub(1));
                    life.last = life.last.max(at);
                }
            }
        }
    }
    lives.into_iter().flatten().collect()
}

/// Registers that may still be read, before each instruction, as bits.
fn alive_before(code: &[Instruction], uses: &[Vec<(Row, Role)>], rows: usize) -> Vec<Vec<u64>> {
    let words = rows.div_ceil(64);
    let mut alive = vec![vec![0u64; words]; code.len() + 1];
    loop {
        let mut changed = false;
        for at in (0..code.len()).rev() {
            let instruction = &code[at];
            let surely = instruction.guard == Pred::TRUE;
            let mut now = match instruction.op {
                Op::Exit | Op::Bra { .. } if surely => vec![0; words],
                _ => alive[at + 1].clone(),
            };
            if let Op::Bra { target } = instruction.op {
                for (word, other) in now.iter_mut().zip(&alive[target as usize]) {
                    *word |= other;
                }
            }
            for (row, _) in uses[at].iter().filter(|(_, role)| surely && *role == Role::Write) {
                now[usize::from(*row) / 64] &= !(1 << (row % 64));
            }
            for (row, _) in uses[at].iter().filter(|(_, role)| *role == Role::Read) {
                now[usize::from(*row) / 64] |= 1 << (row % 64);
            }
            if now != alive[at] {
                alive[at] = now;
                changed = true;
            }
        }
        if !changed {
            alive.pop();
            return alive;
        }
    }
}
