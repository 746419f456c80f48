//! Scratch memory that a thread keeps, so that a product in the steady state allocates nothing.

use std::cell::Cell;
use std::thread::LocalKey;

use bytemuck::{Pod, Zeroable};

/// A cache line, so that buffers start at one.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([f32; LINE]);

const LINE: usize = 16;

/// A thread's buffer of one purpose.
pub(crate) type Buffer = LocalKey<Cell<Vec<Line>>>;

thread_local! {
    /// Panels of `a`.
    pub(crate) static A: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
    /// Panels of `b`.
    pub(crate) static B: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
    /// Partial products of the chunks of `k`.
    pub(crate) static PARTIALS: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Lends `len` floats of any value.
///
/// The buffer is taken out of its cell meanwhile: a thread that waits in rayon may run another product in between,
/// which then finds no buffer and makes its own.
pub(crate) fn with<R>(buffer: &'static Buffer, len: usize, body: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut lines = buffer.take();
    if lines.len() * LINE < len {
        lines.resize(len.div_ceil(LINE), Line::zeroed());
    }
    let result = body(&mut bytemuck::cast_slice_mut(&mut lines)[..len]);
    buffer.set(lines);
    result
}
