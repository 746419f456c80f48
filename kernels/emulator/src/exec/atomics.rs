//! Read-modify-writes.
//!
//! Lanes of a warp go one after another, ascending; blocks that run at the same time go through atomics of the host. A
//! sum of floats by several blocks depends on who comes first, as on a GPU.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::address::{self, Region};
use super::block::{Block, Stop, Use};
use super::load_store::mark_written;
use super::registers::LANES;
use super::rounding::{flush, pack16, unpack16};
use super::shuffle::lanes;
use super::warp::Warp;
use crate::ptx::op::{Atom, AtomOp, Order, Round, SINK};
use crate::ptx::{Space, Type};

/// Executes a read-modify-write in the lanes of `mask`.
pub(crate) fn execute(block: &mut Block<'_>, warp: &mut Warp, mask: u32, atom: &Atom) -> Result<(), Stop> {
    let all = address::addresses(&mut warp.registers, atom.address);
    let mut rest = mask;
    while rest != 0 {
        let first = all[rest.trailing_zeros() as usize];
        let (space, part) = if atom.space == Space::Generic {
            let space = address::space_of(first);
            let same = lanes(rest).filter(|lane| address::space_of(all[*lane]) == space);
            (space, same.fold(0, |set, lane| set | 1 << lane))
        } else {
            (atom.space, rest)
        };
        rest &= !part;
        let window = if atom.space == Space::Generic { address::window(space) } else { 0 };
        one_space(block, warp, part, atom, space, all.map(|address| address.wrapping_sub(window)))?;
    }
    Ok(())
}

fn one_space(
    block: &mut Block<'_>,
    warp: &mut Warp,
    mask: u32,
    atom: &Atom,
    space: Space,
    addresses: [u64; LANES],
) -> Result<(), Stop> {
    let region = block.region(warp, space);
    let width = atom.ty.bytes();
    let usage = Use { space, width, read: atom.op != AtomOp::Exch, write: true, strong: true, collective: false };
    block.admit(warp, mask, &region, &addresses, usage)?;
    if block.counted {
        block.counters.atomics += u64::from(mask.count_ones());
    }
    if block.races.is_some() && space != Space::Local {
        let release = matches!(atom.order, Order::Release | Order::AcquireRelease);
        block.publish(warp, &addresses, mask, release, space);
        block.record(warp.index, mask, &addresses, usage, &|_, _| true);
        block.acquire(warp, &addresses, mask, space);
    }
    let wide = width == 8;
    // The manual: sums of f32 flush subnormal operands and results in global memory, and not in shared memory.
    let flushes = atom.op == AtomOp::Add && atom.ty == Type::F32 && space == Space::Global;
    for lane in lanes(mask) {
        let b = warp.registers.lane(atom.b, wide, lane);
        let c = if atom.c == SINK { 0 } else { warp.registers.lane(atom.c, wide, lane) };
        let change = |old: u64| match atom.op {
            AtomOp::Cas if old == b => c,
            AtomOp::Cas => old,
            _ if flushes => flushed_sum(old as u32, b as u32),
            op => apply(op, atom.ty, old, b),
        };
        // SAFETY: `admit` found the lane inside of the region and aligned.
        let old = unsafe { modify(&region, lane, addresses[lane], width, change) };
        if atom.d != SINK {
            warp.registers.set_lane(atom.d, wide, lane, old);
        }
    }
    // SAFETY: as above.
    unsafe { mark_written(&region, &addresses, mask, width) };
    Ok(())
}

/// # Safety
/// The address lies inside of the region, aligned to `width`.
unsafe fn modify(region: &Region, lane: usize, address: u64, width: usize, change: impl Fn(u64) -> u64) -> u64 {
    use Ordering::Relaxed;
    // SAFETY: as the caller promises; other threads reach these bytes through atomics as well.
    unsafe {
        let at = region.host.add(region.offset(lane, address));
        // The closures never answer `None`, so `Err` does not come about.
        match width {
            2 => u64::from(
                match AtomicU16::from_ptr(at.cast())
                    .fetch_update(Relaxed, Relaxed, |old| Some(change(u64::from(old)) as u16))
                {
                    Ok(old) | Err(old) => old,
                },
            ),
            4 => u64::from(
                match AtomicU32::from_ptr(at.cast())
                    .fetch_update(Relaxed, Relaxed, |old| Some(change(u64::from(old)) as u32))
                {
                    Ok(old) | Err(old) => old,
                },
            ),
            _ => match AtomicU64::from_ptr(at.cast()).fetch_update(Relaxed, Relaxed, |old| Some(change(old))) {
                Ok(old) | Err(old) => old,
            },
        }
    }
}

/// The new value.
fn apply(op: AtomOp, ty: Type, old: u64, b: u64) -> u64 {
    let (x, y) = (old as u32, b as u32);
    match (op, ty) {
        (AtomOp::Add, Type::F32) => u64::from((f32::from_bits(x) + f32::from_bits(y)).to_bits()),
        (AtomOp::Add, Type::F64) => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        (AtomOp::Add, Type::F16 | Type::Bf16) => u64::from(add16(ty, x as u16, y as u16)),
        (AtomOp::Add, Type::F16x2 | Type::Bf16x2) => {
            u64::from(add16(ty, x as u16, y as u16)) | u64::from(add16(ty, (x >> 16) as u16, (y >> 16) as u16)) << 16
        }
        (AtomOp::Add, _) => old.wrapping_add(b),
        (AtomOp::Min, Type::S32) => u64::from((x as i32).min(y as i32) as u32),
        (AtomOp::Max, Type::S32) => u64::from((x as i32).max(y as i32) as u32),
        (AtomOp::Min, Type::S64) => (old as i64).min(b as i64) as u64,
        (AtomOp::Max, Type::S64) => (old as i64).max(b as i64) as u64,
        (AtomOp::Min, _) => old.min(b),
        (AtomOp::Max, _) => old.max(b),
        (AtomOp::And, _) => old & b,
        (AtomOp::Or, _) => old | b,
        (AtomOp::Xor, _) => old ^ b,
        (AtomOp::Inc, _) => u64::from(if x >= y { 0 } else { x + 1 }),
        (AtomOp::Dec, _) => u64::from(if x == 0 || x > y { y } else { x - 1 }),
        (AtomOp::Exch | AtomOp::Cas, _) => b,
    }
}

/// A sum of f32 without subnormal operands or result.
fn flushed_sum(a: u32, b: u32) -> u64 {
    let sum = flush(f32::from_bits(a)) + flush(f32::from_bits(b));
    u64::from(flush(sum).to_bits())
}

/// A sum in a 16-bit format, rounded once.
fn add16(ty: Type, a: u16, b: u16) -> u16 {
    let sum = super::rounding::Exact::sum(unpack16(ty, a), unpack16(ty, b));
    pack16(ty, sum.odd(), Round::Nearest)
}
