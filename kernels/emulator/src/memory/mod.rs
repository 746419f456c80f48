//! The device's global memory: a range of addresses of its own, a shadow that knows of each byte whether it is
//! allocated and whether it was written, and red zones between allocations.
//!
//! Device addresses are not host addresses: a host that dereferences one crashes, as with a GPU. (They have a bit that
//! no address of a process may have, so that nothing can be mapped there by chance.)
//!
//! | file | what it says |
//! |---|---|
//! | `map.rs` | pages that come as they are touched |
//! | `table.rs` | which addresses are given out, and when freed ones are given out again |

mod map;
mod table;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::map::Map;
use self::table::Table;

/// The lowest device address. Bit 56 alone is set above bit 47: with four and with five levels of page tables no
/// pointer of a process looks like that.
pub const DEVICE_BASE: u64 = 1 << 56;
/// Addresses between the starts of the ranges of two memories, unless one is larger.
const STRIDE: u64 = 1 << 40;
/// Bytes that `copy` moves at a time.
const CHUNK: usize = 1 << 16;

/// What the shadow says of a byte: one byte for each byte of [`Window`], an "or" of these. Zero is a byte that was never
/// given out, or the red zone between allocations.
pub mod shadow {
    /// It belongs to a living allocation.
    pub const ALLOCATED: u8 = 1;
    /// Somebody wrote it since. Only together with [`ALLOCATED`].
    pub const WRITTEN: u8 = 2;
    /// It belonged to an allocation that was freed, and to none since. Never together with another.
    pub const FREED: u8 = 4;
}

/// Global memory of one device. Shared by all threads; kernels and copies reach it at the same time.
#[derive(Debug)]
pub struct Memory {
    base: u64,
    capacity: usize,
    bytes: Map,
    shadow: Map,
    /// Readers are accesses, writers are changes of what is allocated: nothing is freed under a copy.
    table: RwLock<Table>,
}

/// What is wrong with an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not in any allocation.
    #[error("no allocation at {0:#x}")]
    OutOfBounds(u64),
    /// In one that was freed.
    #[error("freed memory at {0:#x}")]
    UseAfterFree(u64),
    /// Nobody wrote it.
    #[error("uninitialised memory at {0:#x}")]
    Uninitialised(u64),
}

/// A living allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// First address.
    pub address: u64,
    /// Bytes asked for.
    pub bytes: usize,
}

/// The memory as it lies in this process, for kernels.
///
/// The byte at device address `a` is `*host.add((a - device_base) as usize)`, and what is known of it stands at the
/// same place of `shadow` (see [`mod@shadow`]).
///
/// # Safety
/// Whoever goes through these pointers promises:
/// - `a - device_base < bytes` was compared before; nothing else is promised to be mapped. `host` and `shadow` begin
///   at pages, so that an aligned device address is an aligned host address.
/// - The [`Memory`] that gave the window outlives its use.
/// - Threads that run at the same time reach bytes and shadow through atomics (relaxed ones do) of the width of the
///   access, for instance `AtomicU32::from_ptr`; plain reads and writes only where no other thread reaches the byte
///   before the next join. Copies of the host, and `allocate` and `free`, go through atomics always.
/// - A byte is written only where its shadow has `ALLOCATED`, and its shadow then gets `ALLOCATED | WRITTEN`. Nothing
///   else of the shadow is changed.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The first address of the device.
    pub device_base: u64,
    /// Its byte.
    pub host: *mut u8,
    /// What is known of it.
    pub shadow: *mut u8,
    /// Bytes of the range: more than the capacity.
    pub bytes: usize,
}

// SAFETY: plain addresses; using them is unsafe and has its own rules, above, which speak of threads.
unsafe impl Send for Window {}
// SAFETY: as for `Send`.
unsafe impl Sync for Window {}

impl Memory {
    /// Memory of `capacity` bytes. Addresses are reserved, pages come as they are touched. No two memories of a process
    /// share an address.
    ///
    /// # Errors
    /// The system gives no addresses.
    pub fn new(capacity: usize) -> std::io::Result<Memory> {
        static NEXT: AtomicU64 = AtomicU64::new(DEVICE_BASE);
        let range = Table::range_for(capacity);
        let (bytes, shadow) = (Map::reserve(range)?, Map::reserve(range)?);
        let base = NEXT.fetch_add((range as u64).next_multiple_of(STRIDE), Relaxed);
        Ok(Memory { base, capacity, bytes, shadow, table: RwLock::new(Table::new(capacity)) })
    }

    /// Room for `bytes`, at a multiple of 256, uninitialised; `None` where the capacity does not suffice, and for no
    /// bytes at all.
    pub fn allocate(&self, bytes: usize) -> Option<u64> {
        if bytes == 0 {
            return None;
        }
        let mut table = self.change();
        let at = table.allocate(bytes, |at| self.base + at as u64)?;
        self.shadow.fill(at, &[shadow::ALLOCATED], bytes);
        Some(self.base + at as u64)
    }

    /// Frees the allocation that begins at `address`. Its addresses are not given out again for as long as possible.
    ///
    /// # Errors
    /// No allocation begins there ([`Fault::OutOfBounds`]), or it was freed before ([`Fault::UseAfterFree`]).
    pub fn free(&self, address: u64) -> Result<(), Fault> {
        let at = self.offset(address).ok_or(Fault::OutOfBounds(address))?;
        let mut table = self.change();
        let Some(bytes) = table.free(at) else { return Err(self.unallocated(at)) };
        self.bytes.discard(at, bytes);
        self.shadow.fill(at, &[shadow::FREED], bytes);
        Ok(())
    }

    /// The living allocation that holds `address`.
    pub fn allocation(&self, address: u64) -> Option<Allocation> {
        self.access().holding(self.offset(address)?)
    }

    /// The living allocation that ends or begins nearest to `address`: for messages.
    pub fn nearest(&self, address: u64) -> Option<Allocation> {
        self.access().nearest(self.offset(address)?)
    }

    /// Bytes in living allocations, and the capacity.
    pub fn usage(&self) -> (usize, usize) {
        (self.access().used(), self.capacity)
    }

    /// Whether all the `bytes` bytes from `address` are allocated.
    ///
    /// # Errors
    /// The first byte that is not.
    pub fn check(&self, address: u64, bytes: usize) -> Result<(), Fault> {
        self.place(&self.access(), address, bytes).map(|_| ())
    }

    /// Whether somebody wrote all the `bytes` bytes from `address`.
    ///
    /// # Errors
    /// The first byte that is not allocated, or else the first that nobody wrote.
    pub fn check_written(&self, address: u64, bytes: usize) -> Result<(), Fault> {
        let at = self.place(&self.access(), address, bytes)?;
        match self.shadow.find_without(shadow::WRITTEN, at, bytes) {
            Some(gap) => Err(Fault::Uninitialised(self.base + gap as u64)),
            None => Ok(()),
        }
    }

    /// Copies to the host, also what nobody wrote: see [`Memory::check_written`].
    ///
    /// # Errors
    /// The first byte at fault; nothing is copied then.
    pub fn read(&self, address: u64, to: &mut [u8]) -> Result<(), Fault> {
        let table = self.access();
        let at = self.place(&table, address, to.len())?;
        self.bytes.load(at, to);
        Ok(())
    }

    /// Copies from the host.
    ///
    /// # Errors
    /// The first byte at fault; nothing is written then.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), Fault> {
        let table = self.access();
        let at = self.place(&table, address, from.len())?;
        self.bytes.store(at, from);
        self.mark_written(at, from.len());
        Ok(())
    }

    /// Copies within the device; whether a byte was written is copied with it, so that uninitialised padding may move.
    /// Ranges may overlap: the bytes that were there before are copied.
    ///
    /// # Errors
    /// The first byte at fault; nothing is copied then.
    pub fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), Fault> {
        let table = self.access();
        let (from, to) = (self.place(&table, from, bytes)?, self.place(&table, to, bytes)?);
        let mut chunk = vec![0; CHUNK.min(bytes)];
        let chunks = bytes.div_ceil(CHUNK);
        for i in 0..chunks {
            let first = CHUNK * if from < to { chunks - 1 - i } else { i };
            let chunk = &mut chunk[..CHUNK.min(bytes - first)];
            // Both ranges are allocated, so their shadows differ in nothing but `WRITTEN`.
            for map in [&self.bytes, &self.shadow] {
                map.load(from + first, chunk);
                map.store(to + first, chunk);
            }
        }
        Ok(())
    }

    /// Fills `bytes` bytes with repetitions of `pattern` (1, 2 or 4 bytes).
    ///
    /// # Errors
    /// The first byte at fault; nothing is written then.
    pub fn fill(&self, address: u64, pattern: &[u8], bytes: usize) -> Result<(), Fault> {
        let table = self.access();
        let at = self.place(&table, address, bytes)?;
        self.bytes.fill(at, pattern, bytes);
        self.mark_written(at, bytes);
        Ok(())
    }

    /// The memory as it lies in this process. Using it is unsafe: see [`Window`].
    pub fn window(&self) -> Window {
        Window {
            device_base: self.base,
            host: self.bytes.as_mut_ptr(),
            shadow: self.shadow.as_mut_ptr(),
            bytes: self.bytes.len(),
        }
    }

    fn access(&self) -> RwLockReadGuard<'_, Table> {
        // A thread that panicked while it held the lock was between two states of a table that are both consistent.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where `address` lies in the range, if it does.
    fn offset(&self, address: u64) -> Option<usize> {
        let at = usize::try_from(address.checked_sub(self.base)?).ok()?;
        (at < self.bytes.len()).then_some(at)
    }

    /// Where `address` lies in the range, if `bytes` bytes from there are allocated. The lock is held by the caller.
    fn place(&self, _table: &Table, address: u64, bytes: usize) -> Result<usize, Fault> {
        if bytes == 0 {
            return Ok(0);
        }
        let at = self.offset(address).ok_or(Fault::OutOfBounds(address))?;
        let inside = bytes.min(self.bytes.len() - at);
        match self.shadow.find_without(shadow::ALLOCATED, at, inside) {
            Some(gap) => Err(self.unallocated(gap)),
            None if inside < bytes => Err(Fault::OutOfBounds(self.base + (at + inside) as u64)),
            None => Ok(at),
        }
    }

    /// Why the byte at `at` can not be reached.
    fn unallocated(&self, at: usize) -> Fault {
        let address = self.base + at as u64;
        match self.shadow.byte(at).load(Relaxed) & shadow::FREED {
            0 => Fault::OutOfBounds(address),
            _ => Fault::UseAfterFree(address),
        }
    }

    fn mark_written(&self, at: usize, bytes: usize) {
        self.shadow.fill(at, &[shadow::ALLOCATED | shadow::WRITTEN], bytes);
    }
}
