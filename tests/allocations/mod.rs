//! What tests of hostile files ask the system for: an allocator that remembers the largest request.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is asked of the system: the largest request since it was last looked at.
struct Counting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, room: Layout) -> *mut u8 {
        LARGEST.fetch_max(room.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the system's condition.
        unsafe { System.alloc(room) }
    }

    unsafe fn dealloc(&self, at: *mut u8, room: Layout) {
        // SAFETY: `at` came from `alloc` above, so from the system.
        unsafe { System.dealloc(at, room) }
    }

    unsafe fn realloc(&self, at: *mut u8, room: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: `at` came from `alloc` above, so from the system.
        unsafe { System.realloc(at, room, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// No hostile file here is a megabyte; nothing that is done with one may ask for more at once. (A converted tensor holds
/// pieces of 256 KiB, a writer gathers 1 MiB.)
pub const MOST: usize = 2 << 20;

/// Begins anew.
pub fn forget() {
    LARGEST.store(0, Ordering::Relaxed);
}

/// The largest request since, of all threads.
pub fn largest() -> usize {
    LARGEST.load(Ordering::Relaxed)
}
