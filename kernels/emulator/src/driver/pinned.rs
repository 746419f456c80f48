//! Pinned memory of the host: copies from and to it are done late.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::{Answer, Code};
use super::pointer::{HostRange, Out};
use super::state::{Driver, initialised, with_context};
use super::work::span;

/// Alignment of pinned memory, and a page.
const ALIGNMENT: usize = 4096;

/// Where memory that is pinned came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Allocated,
    Registered,
}

/// By first address: bytes and origin.
static PINNED: Mutex<BTreeMap<u64, (usize, Origin)>> = Mutex::new(BTreeMap::new());

exports! {
    /// Pinned memory.
    fn cuMemAllocHost_v2(place: Out<u64>, bytes: usize) = allocate;
    /// Pinned memory. Flags mean nothing here: kernels do not reach it.
    fn cuMemHostAlloc(place: Out<u64>, bytes: usize, flags: u32) = allocate_with_flags;
    /// Frees it. Work that waits is done first, but a program that relies on that is reported.
    fn cuMemFreeHost(place: u64) = free;
    /// Pins memory of the program.
    fn cuMemHostRegister_v2(place: u64, bytes: usize, flags: u32) = register;
    /// Ends that. Work that waits is done first, but a program that relies on that is reported.
    fn cuMemHostUnregister(place: u64) = unregister;
}

/// The pinned range that holds an address.
pub(super) fn holding(address: u64) -> Option<HostRange> {
    let pinned = table();
    let (&first, &(bytes, _)) = pinned.range(..=address).next_back()?;
    (address - first < bytes as u64).then_some(HostRange { address: first, bytes })
}

/// Whether all of a range is pinned.
pub(super) fn is_pinned(range: HostRange) -> bool {
    holding(range.address).is_some_and(|pinned| {
        let before = (range.address - pinned.address) as usize;
        range.bytes <= pinned.bytes - before
    })
}

fn allocate(place: Out<u64>, bytes: usize) -> Answer {
    allocate_with_flags(place, bytes, 0)
}

fn allocate_with_flags(place: Out<u64>, bytes: usize, flags: u32) -> Answer {
    const FLAGS: u32 = 1 | 2 | 4;
    if bytes == 0 || flags & !FLAGS != 0 {
        return Err(Code::INVALID_VALUE);
    }
    with_context(|_| {
        let layout = Layout::from_size_align(bytes, ALIGNMENT).map_err(|_| Code::OUT_OF_MEMORY)?;
        // SAFETY: the layout has a size above 0, checked above.
        let address = unsafe { alloc_zeroed(layout) } as u64;
        if address == 0 {
            return Err(Code::OUT_OF_MEMORY);
        }
        table().insert(address, (bytes, Origin::Allocated));
        place.put(address)
    })
}

fn free(place: u64) -> Answer {
    if place == 0 {
        return Ok(());
    }
    let bytes = end(place, Origin::Allocated, Code::INVALID_VALUE, "cuMemFreeHost")?;
    let layout = Layout::from_size_align(bytes, ALIGNMENT).map_err(|_| Code::INVALID_VALUE)?;
    // SAFETY: `end` took it out of the table, where `allocate` put it with this size; nothing that waits uses it.
    unsafe { dealloc(place as *mut u8, layout) };
    Ok(())
}

fn register(place: u64, bytes: usize, _flags: u32) -> Answer {
    if place == 0 || bytes == 0 {
        return Err(Code::INVALID_VALUE);
    }
    with_context(|_| {
        let mut pinned = table();
        let last = span(place, bytes).end - 1;
        let overlaps = pinned.range(..=last).next_back().is_some_and(|(&first, &(n, _))| first + n as u64 > place);
        if overlaps {
            return Err(Code::HOST_MEMORY_ALREADY_REGISTERED);
        }
        pinned.insert(place, (bytes, Origin::Registered));
        Ok(())
    })
}

fn unregister(place: u64) -> Answer {
    end(place, Origin::Registered, Code::HOST_MEMORY_NOT_REGISTERED, "cuMemHostUnregister").map(|_| ())
}

/// Takes a range out of the table, after all work of all contexts, and answers its bytes.
fn end(place: u64, origin: Origin, otherwise: Code, function: &str) -> Answer<usize> {
    let mut driver: MutexGuard<'static, Driver> = initialised()?;
    let bytes = match table().get(&place) {
        Some(&(bytes, is)) if is == origin => bytes,
        _ => return Err(otherwise),
    };
    for context in driver.contexts.values_mut() {
        // What stopped a context is said by its next call; its work is gone then, and uses nothing any more.
        let _ = context.queue.do_all();
        context.queue.release(span(place, bytes), function);
    }
    table().remove(&place);
    Ok(bytes)
}

fn table() -> MutexGuard<'static, BTreeMap<u64, (usize, Origin)>> {
    PINNED.lock().unwrap_or_else(PoisonError::into_inner)
}
