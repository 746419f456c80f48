//! State spaces: where the bytes of an address lie in this process, and whether a lane may reach them.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::registers::{LANES, Registers, multiversion};
use super::shuffle::lanes;
use crate::memory::shadow::{ALLOCATED, FREED, WRITTEN};
use crate::ptx::Space;
use crate::ptx::op::Address;

/// Where shared memory lies among generic addresses.
pub(crate) const SHARED_WINDOW: u64 = 1 << 57;
/// Where local memory lies among generic addresses.
pub(crate) const LOCAL_WINDOW: u64 = 1 << 58;
/// Where parameters lie among generic addresses.
pub(crate) const PARAM_WINDOW: u64 = 3 << 57;
/// Bytes of such a window.
pub(crate) const WINDOW_BYTES: u64 = 1 << 32;
/// A `cp.async` still writes the byte. Of shared memory only.
pub(crate) const PENDING: u8 = 8;

/// The start of a space's window among generic addresses; global addresses are generic ones.
pub(crate) fn window(space: Space) -> u64 {
    match space {
        Space::Shared => SHARED_WINDOW,
        Space::Local => LOCAL_WINDOW,
        Space::Param => PARAM_WINDOW,
        Space::Global | Space::Generic => 0,
    }
}

/// The space that a generic address lies in.
pub(crate) fn space_of(address: u64) -> Space {
    [Space::Shared, Space::Local, Space::Param]
        .into_iter()
        .find(|space| address.wrapping_sub(window(*space)) < WINDOW_BYTES)
        .unwrap_or(Space::Global)
}

/// Bytes of a space as they lie in this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    /// The first address.
    pub start: u64,
    /// Bytes, of one lane where lanes have their own.
    pub bytes: u64,
    pub host: *mut u8,
    /// A byte for each byte, as that of [`crate::memory::Window`]; null where everything may be reached.
    pub shadow: *mut u8,
    /// Bytes between the parts of neighbouring lanes, 0 where they share all.
    pub stride: usize,
}

// SAFETY: plain addresses; using them is unsafe and goes by the rules of `crate::memory::Window`.
unsafe impl Send for Region {}
// SAFETY: as for `Send`.
unsafe impl Sync for Region {}

impl Region {
    /// Place of an address that `survey` found inside.
    #[inline(always)]
    pub fn offset(&self, lane: usize, address: u64) -> usize {
        lane * self.stride + (address - self.start) as usize
    }
}

/// What an access must find in the shadow: `shadow & mask == want` for each byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    mask: u8,
    want: u8,
}

impl Demand {
    /// Reads of what was written, and of nothing that is still being copied.
    pub const READ: Demand = Demand { mask: ALLOCATED | WRITTEN | PENDING, want: ALLOCATED | WRITTEN };
    /// Writes to what is not still being copied.
    pub const WRITE: Demand = Demand { mask: ALLOCATED | PENDING, want: ALLOCATED };
    /// Nothing but bounds.
    pub const BOUNDS: Demand = Demand { mask: ALLOCATED, want: ALLOCATED };

    /// Whether `bytes` (1, 2, 4, 8 or 16) bytes of shadow are as they must be.
    ///
    /// # Safety
    /// `shadow` points to so many bytes and is aligned to their number.
    #[inline(always)]
    pub unsafe fn met(self, shadow: *mut u8, bytes: usize) -> bool {
        let (mask, want) = (u64::from(self.mask) * 0x0101_0101_0101_0101, u64::from(self.want) * 0x0101_0101_0101_0101);
        // SAFETY: as the caller promises; atomics, since other threads may write shadows of global memory meanwhile.
        unsafe {
            match bytes {
                1 => AtomicU8::from_ptr(shadow).load(Relaxed) & mask as u8 == want as u8,
                2 => AtomicU16::from_ptr(shadow.cast()).load(Relaxed) & mask as u16 == want as u16,
                4 => AtomicU32::from_ptr(shadow.cast()).load(Relaxed) & mask as u32 == want as u32,
                8 => AtomicU64::from_ptr(shadow.cast()).load(Relaxed) & mask == want,
                _ => {
                    AtomicU64::from_ptr(shadow.cast()).load(Relaxed) & mask == want
                        && AtomicU64::from_ptr(shadow.add(8).cast()).load(Relaxed) & mask == want
                }
            }
        }
    }
}

/// Why a byte does not meet a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    Bounds,
    Freed,
    Pending,
    Unwritten,
}

/// What the shadow of a byte says.
pub(crate) fn blame(shadow: u8) -> Blame {
    if shadow & FREED != 0 {
        Blame::Freed
    } else if shadow & ALLOCATED == 0 {
        Blame::Bounds
    } else if shadow & PENDING != 0 {
        Blame::Pending
    } else {
        Blame::Unwritten
    }
}

/// The lanes that can not do an access whatever lies there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Survey {
    /// Lanes outside of the region.
    pub outside: u32,
    /// Lanes at no multiple of the width.
    pub misaligned: u32,
}

multiversion! {
    /// Reads an address operand.
    pub(crate) fn addresses(registers: &mut Registers, address: Address) -> [u64; LANES] {
        let mut result = [0u64; LANES];
        if address.wide {
            let base = registers.get::<u64>(address.base);
            for i in 0..LANES {
                result[i] = base[i].wrapping_add(address.offset as u64);
            }
        } else {
            let base = registers.lanes(address.base);
            for i in 0..LANES {
                result[i] = u64::from(base[i].wrapping_add(address.offset as u32));
            }
        }
        result
    }
}

multiversion! {
    /// Compares addresses with a region's bounds and a width (a power of two).
    pub(crate) fn survey(registers: &mut Registers, addresses: &[u64; LANES], start: u64, bytes: u64, width: u64) -> Survey {
        let _ = registers;
        let mut survey = Survey { outside: 0, misaligned: 0 };
        // An offset beyond 2^63 is as far outside as one below. Both `offset` and `limit - offset` must be positive.
        let limit = bytes as i64 - width as i64;
        let (mut signs, mut low) = (0i64, 0u64);
        for i in 0..LANES {
            let offset = addresses[i].wrapping_sub(start) as i64;
            signs |= offset | limit.wrapping_sub(offset);
            low |= addresses[i];
        }
        if signs < 0 || low & (width - 1) != 0 {
            for i in 0..LANES {
                let offset = addresses[i].wrapping_sub(start) as i64;
                survey.outside |= u32::from(offset > limit || offset < 0) << i;
                survey.misaligned |= u32::from(addresses[i] & (width - 1) != 0) << i;
            }
        }
        survey
    }
}

/// Lanes of `mask` whose shadow does not meet `demand`.
///
/// # Safety
/// The region's pointers are valid for it, and each lane of `mask` lies inside, aligned to `width` (at most 16, larger
/// widths in steps of 16).
#[inline(always)]
pub(crate) unsafe fn unmet(region: &Region, addresses: &[u64; LANES], mask: u32, width: usize, demand: Demand) -> u32 {
    let mut bad = 0;
    for lane in lanes(mask) {
        // SAFETY: as the caller promises.
        let met = unsafe { demand.met(region.shadow.add(region.offset(lane, addresses[lane])), width) };
        bad |= u32::from(!met) << lane;
    }
    bad
}

/// Memory of a block or warp, with a shadow; aligned to 16 bytes.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u128>,
    shadow: Vec<u128>,
    len: usize,
    stride: usize,
}

impl Buffer {
    /// `lanes` times `len` bytes, not written.
    pub fn new(len: usize, lanes: usize) -> Buffer {
        let stride = len.next_multiple_of(16);
        let total = stride * lanes / 16 + 1;
        let allocated = u128::from_ne_bytes([ALLOCATED; 16]);
        Buffer { bytes: vec![0; total], shadow: vec![allocated; total], len, stride }
    }

    /// As a region from address 0.
    pub fn region(&mut self, own: bool) -> Region {
        Region {
            start: 0,
            bytes: self.len as u64,
            host: self.bytes.as_mut_ptr().cast(),
            shadow: self.shadow.as_mut_ptr().cast(),
            stride: if own { self.stride } else { 0 },
        }
    }
}
