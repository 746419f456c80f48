//! Pointers that came through an exported function, and what may be done with them.
//!
//! Exported functions are unsafe to call: who calls them promises what the driver's API asks for, that each pointer is
//! null or good for what the function does with it, until the function returns, or for host memory of asynchronous
//! copies until these are done. The types here carry that promise, so that the bodies behind are safe code.

use std::ffi::{CStr, c_char};

use super::error::{Answer, Code};

/// Where a result goes: null, or good for writing one `T`.
#[repr(transparent)]
#[derive(Debug)]
pub struct Out<T>(*mut T);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Out<T> {}

impl<T> From<&mut T> for Out<T> {
    fn from(place: &mut T) -> Self {
        Out(place)
    }
}

impl<T> Out<T> {
    /// Nowhere.
    pub fn null() -> Self {
        Out(std::ptr::null_mut())
    }

    /// The place at an address that the API passes as a number.
    pub(super) fn at(address: u64) -> Self {
        Out(address as *mut T)
    }

    /// The place of a result whose type another argument says.
    pub(super) fn cast<U>(self) -> Out<U> {
        Out(self.0.cast())
    }

    /// Writes a result that must have a place.
    pub(super) fn put(self, value: T) -> Answer {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: not null, so good for writing one `T`, by the promise of who called the exported function.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Writes several results, for which the API has the caller say that there is room.
    pub(super) fn put_all(self, values: &[T]) -> Answer
    where
        T: Copy,
    {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: not null, so good for as many as were said to fit, by the promise of who called.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.0, values.len()) };
        Ok(())
    }

    /// Writes a result that may be left out.
    pub(super) fn put_if_asked(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: as in `put`.
            unsafe { self.0.write_unaligned(value) };
        }
    }
}

/// Where arguments are: null, or good for reading as many `T` as the function's other arguments say.
#[repr(transparent)]
#[derive(Debug)]
pub struct In<T>(*const T);

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for In<T> {}

impl<T> From<&[T]> for In<T> {
    fn from(values: &[T]) -> Self {
        In(values.as_ptr())
    }
}

impl<T> From<*const T> for In<T> {
    fn from(values: *const T) -> Self {
        In(values)
    }
}

impl<T: Copy> In<T> {
    /// Nothing.
    pub fn null() -> Self {
        In(std::ptr::null())
    }

    pub(super) fn as_ptr(self) -> *const T {
        self.0
    }

    pub(super) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The value at `i`, which the API lets the function read.
    pub(super) fn at(self, i: usize) -> Answer<T> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: not null, so good for reading at the places the API names, by the promise of who called.
        Ok(unsafe { self.0.add(i).read_unaligned() })
    }
}

/// A text with a zero at its end, or null.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Text(*const c_char);

impl From<&CStr> for Text {
    fn from(text: &CStr) -> Self {
        Text(text.as_ptr())
    }
}

impl Text {
    /// The text, for the time of the call.
    pub(super) fn read(self) -> Answer<String> {
        if self.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        // SAFETY: not null, so it ends with a zero, by the promise of who called.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map(str::to_owned).map_err(|_| Code::INVALID_VALUE)
    }
}

/// Memory of the host: an address that `bytes` bytes can be read from or written to, as the copy that names it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostRange {
    pub(super) address: u64,
    pub(super) bytes: usize,
}

impl HostRange {
    pub(super) fn new(address: u64, bytes: usize) -> Answer<HostRange> {
        match address {
            0 if bytes > 0 => Err(Code::INVALID_VALUE),
            _ => Ok(HostRange { address, bytes }),
        }
    }

    /// The bytes, for reading.
    pub(super) fn bytes(&self) -> &[u8] {
        if self.bytes == 0 {
            return &[];
        }
        // SAFETY: not null (`new`), and readable by the promise of who called, until the copy is done: memory that is
        // pinned and freed before is synchronised with first, pageable memory is read before the call returns.
        unsafe { std::slice::from_raw_parts(self.address as *const u8, self.bytes) }
    }

    /// Copies a range as long as this one, which it may overlap.
    pub(super) fn copy_from(&self, from: HostRange) {
        assert_eq!(self.bytes, from.bytes);
        // SAFETY: as long as each other, asserted above; readable and writable as for `bytes` and `write`.
        unsafe { std::ptr::copy(from.address as *const u8, self.address as *mut u8, self.bytes) };
    }

    /// Writes `from` to the bytes from `at`, which are inside the range.
    pub(super) fn write(&self, at: usize, from: &[u8]) {
        assert!(at + from.len() <= self.bytes, "{} bytes at {at} of {}", from.len(), self.bytes);
        // SAFETY: inside the range, asserted above; writable as `bytes` is readable.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), (self.address as usize + at) as *mut u8, from.len()) };
    }
}
