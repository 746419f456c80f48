//! Loads and stores.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::address::{self, Demand, Region};
use super::block::{Block, Stop, Use};
use super::registers::{ALL, LANES, Registers, multiversion};
use super::shuffle::lanes;
use super::warp::Warp;
use crate::memory::shadow::{ALLOCATED, WRITTEN};
use crate::ptx::Space;
use crate::ptx::op::{Access, Move, Order, Row, SINK};

/// Executes a load or store in the lanes of `mask`.
pub(crate) fn execute(
    block: &mut Block<'_>,
    warp: &mut Warp,
    mask: u32,
    access: &Access,
    load: bool,
) -> Result<(), Stop> {
    let addresses = address::addresses(&mut warp.registers, access.address);
    if access.what.space != Space::Generic {
        return one_space(block, warp, mask, access, access.what.space, addresses, load);
    }
    let mut rest = mask;
    while rest != 0 {
        let space = address::space_of(addresses[rest.trailing_zeros() as usize]);
        let part = lanes(rest)
            .filter(|lane| address::space_of(addresses[*lane]) == space)
            .fold(0, |set, lane| set | 1 << lane);
        rest &= !part;
        let own = addresses.map(|address| address.wrapping_sub(address::window(space)));
        one_space(block, warp, part, access, space, own, load)?;
    }
    Ok(())
}

fn one_space(
    block: &mut Block<'_>,
    warp: &mut Warp,
    mask: u32,
    access: &Access,
    space: Space,
    addresses: [u64; LANES],
    load: bool,
) -> Result<(), Stop> {
    let what = access.what;
    let region = block.region(warp, space);
    let width = usize::from(what.bytes) * usize::from(what.count);
    let strong = what.order != Order::Weak;
    let usage = Use { space, width, write: !load, read: load, strong, collective: false };
    block.admit(warp, mask, &region, &addresses, usage)?;
    if block.counted {
        match space {
            Space::Global => block.counters.global(&addresses, mask, width, !load),
            Space::Shared => block.counters.shared(&addresses, mask, width),
            _ => {}
        }
    }
    if block.races.is_some() && matches!(space, Space::Global | Space::Shared) {
        if strong && !load {
            block.publish(warp, &addresses, mask, what.order == Order::Release, space);
        }
        let registers = &warp.registers;
        let same = |a: usize, b: usize| {
            let row = |row: Row| registers.lane(row, what.wide, a) == registers.lane(row, what.wide, b);
            !load && access.rows[..usize::from(what.count)].iter().all(|one| row(*one))
        };
        block.record(warp.index, mask, &addresses, usage, &same);
        if strong && load {
            block.acquire(warp, &addresses, mask, space);
        }
    }
    // SAFETY: `admit` found each lane of `mask` inside the region and aligned, or stopped.
    unsafe {
        if load {
            gather(&mut warp.registers, &region, &addresses, mask, what, &access.rows);
        } else {
            scatter(&warp.registers, &region, &addresses, mask, what, &access.rows);
            if space == Space::Global || block.checked {
                mark_written(&region, &addresses, mask, width);
            }
        }
    }
    Ok(())
}

/// Says in the shadow that `width` bytes from each address were written.
///
/// # Safety
/// As for [`address::unmet`].
pub(crate) unsafe fn mark_written(region: &Region, addresses: &[u64; LANES], mask: u32, width: usize) {
    if region.shadow.is_null() {
        return;
    }
    let word = u64::from_ne_bytes([ALLOCATED | WRITTEN; 8]);
    for lane in lanes(mask) {
        // SAFETY: as the caller promises; the shadow is as long as the region.
        unsafe {
            let at = region.shadow.add(region.offset(lane, addresses[lane]));
            match width {
                1 => AtomicU8::from_ptr(at).store(word as u8, Relaxed),
                2 => AtomicU16::from_ptr(at.cast()).store(word as u16, Relaxed),
                4 => AtomicU32::from_ptr(at.cast()).store(word as u32, Relaxed),
                _ => {
                    for step in (0..width).step_by(8) {
                        AtomicU64::from_ptr(at.add(step).cast()).store(word, Relaxed);
                    }
                }
            }
        }
    }
}

/// # Safety
/// As for [`address::unmet`].
unsafe fn gather(
    registers: &mut Registers,
    region: &Region,
    addresses: &[u64; LANES],
    mask: u32,
    what: Move,
    rows: &[Row; 4],
) {
    let mut offsets = [0usize; LANES];
    for lane in 0..LANES {
        // Of lanes outside of `mask` this may be anything; it is not used.
        offsets[lane] = (lane * region.stride).wrapping_add(addresses[lane].wrapping_sub(region.start) as usize);
    }
    // Memory that no other block reaches need not be read by atomics.
    let own = region.start == 0;
    if own && mask == ALL && what.bytes == 4 && what.count == 4 && !what.wide && !rows.contains(&SINK) {
        // SAFETY: as the caller promises: 16 bytes, aligned, for all lanes; and only this thread reaches them.
        unsafe { quadruples(registers, Offsets { host: region.host, offsets }, rows) };
        return;
    }
    for (part, row) in rows[..usize::from(what.count)].iter().enumerate().filter(|(_, row)| **row != SINK) {
        let host = region.host.wrapping_add(part * usize::from(what.bytes));
        if what.bytes == 4 && !what.wide {
            let to = registers.lanes_mut(*row);
            // SAFETY: as the caller promises for each lane of `mask`: 4 bytes, aligned.
            let value = |lane: usize| unsafe { AtomicU32::from_ptr(host.add(offsets[lane]).cast()).load(Relaxed) };
            if mask == ALL {
                for lane in 0..LANES {
                    to[lane] = value(lane);
                }
            } else {
                for lane in lanes(mask) {
                    to[lane] = value(lane);
                }
            }
            continue;
        }
        for lane in lanes(mask) {
            // SAFETY: as the caller promises: `what.bytes` bytes, aligned.
            let value = unsafe { read(host.add(offsets[lane]), what.bytes) };
            registers.set_lane(*row, what.wide, lane, extend(value, what));
        }
    }
}

/// Where the lanes of an access begin.
#[derive(Clone, Copy)]
struct Offsets {
    host: *mut u8,
    offsets: [usize; LANES],
}

/// Loads four words of each lane to four rows.
///
/// # Safety
/// Each offset is that of 16 bytes, aligned, that no other thread writes meanwhile.
unsafe fn quadruples(registers: &mut Registers, from: Offsets, rows: &[Row; 4]) {
    multiversion! {
        fn transpose(registers: &mut Registers, from: Offsets, rows: &[Row; 4]) {
            let mut result = [[0u32; LANES]; 4];
            for start in (0..LANES).step_by(4) {
                let mut words = [[0u32; 4]; 4];
                for (lane, words) in words.iter_mut().enumerate() {
                    // SAFETY: the caller of `quadruples` promises it.
                    *words = unsafe { from.host.add(from.offsets[start + lane]).cast::<[u32; 4]>().read() };
                }
                for part in 0..4 {
                    for lane in 0..4 {
                        result[part][start + lane] = words[lane][part];
                    }
                }
            }
            for part in 0..4 {
                *registers.lanes_mut(rows[part]) = result[part];
            }
        }
    }
    transpose(registers, from, rows);
}

/// A loaded value as wide as its register.
fn extend(value: u64, what: Move) -> u64 {
    if !what.signed {
        return value;
    }
    let unused = 64 - 8 * u32::from(what.bytes);
    let extended = ((value << unused) as i64 >> unused) as u64;
    if what.narrow { extended & 0xffff } else { extended }
}

/// # Safety
/// `from` points to `bytes` bytes and is aligned to them.
pub(crate) unsafe fn read(from: *mut u8, bytes: u8) -> u64 {
    // SAFETY: as the caller promises; atomics, since other threads may write meanwhile.
    unsafe {
        match bytes {
            1 => u64::from(AtomicU8::from_ptr(from).load(Relaxed)),
            2 => u64::from(AtomicU16::from_ptr(from.cast()).load(Relaxed)),
            4 => u64::from(AtomicU32::from_ptr(from.cast()).load(Relaxed)),
            _ => AtomicU64::from_ptr(from.cast()).load(Relaxed),
        }
    }
}

/// # Safety
/// `to` points to `bytes` bytes and is aligned to them.
pub(crate) unsafe fn write(to: *mut u8, bytes: u8, value: u64) {
    // SAFETY: as the caller promises; atomics, since other threads may read or write meanwhile.
    unsafe {
        match bytes {
            1 => AtomicU8::from_ptr(to).store(value as u8, Relaxed),
            2 => AtomicU16::from_ptr(to.cast()).store(value as u16, Relaxed),
            4 => AtomicU32::from_ptr(to.cast()).store(value as u32, Relaxed),
            _ => AtomicU64::from_ptr(to.cast()).store(value, Relaxed),
        }
    }
}

/// # Safety
/// As for [`address::unmet`].
unsafe fn scatter(
    registers: &Registers,
    region: &Region,
    addresses: &[u64; LANES],
    mask: u32,
    what: Move,
    rows: &[Row; 4],
) {
    for (part, row) in rows[..usize::from(what.count)].iter().enumerate() {
        let shift = part * usize::from(what.bytes);
        if what.bytes == 4 && !what.wide {
            let from = registers.lanes(*row);
            for lane in lanes(mask) {
                // SAFETY: as the caller promises.
                unsafe {
                    let to = region.host.add(region.offset(lane, addresses[lane]) + shift);
                    AtomicU32::from_ptr(to.cast()).store(from[lane], Relaxed);
                }
            }
            continue;
        }
        for lane in lanes(mask) {
            let value = registers.lane(*row, what.wide, lane);
            // SAFETY: as the caller promises.
            unsafe { write(region.host.add(region.offset(lane, addresses[lane]) + shift), what.bytes, value) };
        }
    }
}

impl Block<'_> {
    /// What a load must find.
    pub(crate) fn demand(&self, usage: &Use) -> Demand {
        match (self.checked, usage.read) {
            (false, _) => Demand::BOUNDS,
            (true, true) => Demand::READ,
            (true, false) => Demand::WRITE,
        }
    }
}
