//! The device's global memory: a range of addresses of its own, a shadow that knows of each byte whether it is
//! allocated and whether it was written, and red zones between allocations.
//!
//! Device addresses are not host addresses: a host that dereferences one crashes, as with a GPU.

/// Global memory of one device. Shared by all threads; kernels and copies reach it at the same time.
#[derive(Debug)]
pub struct Memory {
    _private: (),
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

impl Memory {
    /// Memory of `capacity` bytes. Addresses are reserved, pages come as they are touched.
    ///
    /// # Errors
    /// The system gives no addresses.
    pub fn new(_capacity: usize) -> std::io::Result<Memory> {
        Ok(Memory { _private: () })
    }

    /// Room for `bytes`, at a multiple of 256, uninitialised; `None` where the capacity does not suffice.
    pub fn allocate(&self, _bytes: usize) -> Option<u64> {
        None
    }

    /// Frees the allocation that begins at `address`. Its addresses are not given out again for as long as possible.
    ///
    /// # Errors
    /// No allocation begins there ([`Fault::OutOfBounds`]), or it was freed before ([`Fault::UseAfterFree`]).
    pub fn free(&self, address: u64) -> Result<(), Fault> {
        Err(Fault::OutOfBounds(address))
    }

    /// The living allocation that holds `address`.
    pub fn allocation(&self, _address: u64) -> Option<Allocation> {
        None
    }

    /// Bytes in living allocations, and the capacity.
    pub fn usage(&self) -> (usize, usize) {
        (0, 0)
    }

    /// Copies to the host. `checked` says whether bytes that nobody wrote are a fault.
    ///
    /// # Errors
    /// The first byte at fault; nothing is copied then.
    pub fn read(&self, address: u64, _to: &mut [u8]) -> Result<(), Fault> {
        Err(Fault::OutOfBounds(address))
    }

    /// Copies from the host.
    ///
    /// # Errors
    /// The first byte at fault; nothing is written then.
    pub fn write(&self, address: u64, _from: &[u8]) -> Result<(), Fault> {
        Err(Fault::OutOfBounds(address))
    }

    /// Copies within the device; whether a byte was written is copied with it, so that uninitialised padding may move.
    ///
    /// # Errors
    /// The first byte at fault; nothing is copied then.
    pub fn copy(&self, _from: u64, to: u64, _bytes: usize) -> Result<(), Fault> {
        Err(Fault::OutOfBounds(to))
    }

    /// Fills `bytes` bytes with repetitions of `pattern` (1, 2 or 4 bytes).
    ///
    /// # Errors
    /// The first byte at fault; nothing is written then.
    pub fn fill(&self, address: u64, _pattern: &[u8], _bytes: usize) -> Result<(), Fault> {
        Err(Fault::OutOfBounds(address))
    }
}
