//! Copies of rows with gaps between.

use super::copy::{Place, Request, Wait, copy};
use super::error::{Answer, Code};
use super::pointer::In;
use super::queue::NULL;
use super::state::{with_context, with_owner};

/// The argument of `cuMemcpy2D`: `CUDA_MEMCPY2D` of the API. Distances in bytes, but `*_y` and `height` in rows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the table of the struct's documentation")]
pub struct Plane {
    pub from_x: usize,
    pub from_y: usize,
    /// 1 host, 2 device, 3 array (not emulated), 4 what the address says.
    pub from_kind: u32,
    pub from_host: u64,
    pub from_device: u64,
    pub from_array: u64,
    pub from_pitch: usize,
    pub to_x: usize,
    pub to_y: usize,
    pub to_kind: u32,
    pub to_host: u64,
    pub to_device: u64,
    pub to_array: u64,
    pub to_pitch: usize,
    pub width: usize,
    pub height: usize,
}

exports! {
    /// Copies rows; waits as the copies of contiguous bytes do.
    fn cuMemcpy2D_v2(plane: In<Plane>) = copy_now;
    /// Copies rows; waits as the copies of contiguous bytes do.
    fn cuMemcpy2DUnaligned_v2(plane: In<Plane>) = copy_now;
    /// Copies rows, in a stream.
    fn cuMemcpy2DAsync_v2(plane: In<Plane>, stream: u64) = copy_later;
}

fn copy_now(plane: In<Plane>) -> Answer {
    let rows = plane.at(0)?.rows()?;
    with_context(|context| copy(context, Request { function: "cuMemcpy2D", rows, stream: NULL, wait: Wait::ForHost }))
}

fn copy_later(plane: In<Plane>, stream: u64) -> Answer {
    let rows = plane.at(0)?.rows()?;
    with_owner(stream, |context| {
        let stream = context.stream(stream)?;
        copy(context, Request { function: "cuMemcpy2DAsync", rows, stream, wait: Wait::Never })
    })
}

/// One side of the copy.
struct Side {
    kind: u32,
    host: u64,
    device: u64,
    x: usize,
    y: usize,
    pitch: usize,
}

impl Plane {
    fn rows(&self) -> Answer<Vec<(Place, Place, usize)>> {
        let from = Side {
            kind: self.from_kind,
            host: self.from_host,
            device: self.from_device,
            x: self.from_x,
            y: self.from_y,
            pitch: self.from_pitch,
        };
        let to = Side {
            kind: self.to_kind,
            host: self.to_host,
            device: self.to_device,
            x: self.to_x,
            y: self.to_y,
            pitch: self.to_pitch,
        };
        let row = |i| Ok((to.row(i, self.width)?, from.row(i, self.width)?, self.width));
        (0..self.height).map(row).collect()
    }
}

impl Side {
    /// Where the row begins. A pitch of 0 is that of rows without gaps.
    fn row(&self, i: usize, width: usize) -> Answer<Place> {
        let end = self.x.checked_add(width).ok_or(Code::INVALID_VALUE)?;
        let pitch = if self.pitch == 0 { end } else { self.pitch };
        if pitch < end {
            return Err(Code::INVALID_VALUE);
        }
        let rows = self.y.checked_add(i).and_then(|rows| rows.checked_mul(pitch)?.checked_add(self.x));
        let at = |start: u64| rows.and_then(|rows| start.checked_add(rows as u64)).ok_or(Code::INVALID_VALUE);
        match self.kind {
            1 => Ok(Place::Host(at(self.host)?)),
            2 => Ok(Place::Device(at(self.device)?)),
            4 => Ok(Place::of(at(self.device)?)),
            _ => Err(Code::NOT_SUPPORTED),
        }
    }
}
