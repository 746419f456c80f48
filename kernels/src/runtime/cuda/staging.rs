//! Copies between host and GPU through pinned memory, which the GPU reaches at the full speed of the bus.
//!
//! There are two pinned halves. While the GPU copies one, the host fills or empties the other.

use cust::event::{Event, EventFlags};
use cust::memory::LockedBuffer;

use super::gpu::{asked, lock};
use super::{Gpu, driver};
use crate::Result;

const OP: &str = "copy";
/// Bytes of a half.
const HALF: usize = 4 << 20;

/// The pinned halves of a GPU, and when each was last used.
#[derive(Debug)]
pub(super) struct Staging {
    halves: [Half; 2],
}

#[derive(Debug)]
struct Half {
    pinned: LockedBuffer<u8>,
    /// Recorded after the last copy from or to it.
    done: Event,
}

impl Staging {
    fn new() -> Result<Self> {
        let half = || -> Result<Half> {
            Ok(Half {
                pinned: asked("cuMemAllocHost_v2", LockedBuffer::new(&0, HALF))?,
                done: asked("cuEventCreate", Event::new(EventFlags::DISABLE_TIMING))?,
            })
        };
        Ok(Staging { halves: [half()?, half()?] })
    }
}

impl Gpu {
    /// Copies `from` to `address`, after the work before it.
    pub(super) fn upload(&self, address: u64, from: &[u8]) -> Result<()> {
        if from.is_empty() {
            return Ok(());
        }
        self.with_staging(|staging| {
            for (i, piece) in from.chunks(HALF).enumerate() {
                let half = &mut staging.halves[i % 2];
                // The copy that used this half before, here or in an earlier call, must have read it.
                asked("cuEventSynchronize", half.done.synchronize())?;
                half.pinned[..piece.len()].copy_from_slice(piece);
                let to = address + (i * HALF) as u64;
                // SAFETY: the caller's memory holds `from.len()` bytes at `address`; the pinned half stays as it is
                // until its event says that it was read.
                self.call(OP, "cuMemcpyHtoDAsync_v2", |gpu| unsafe {
                    driver::cuMemcpyHtoDAsync_v2(to, half.pinned.as_ptr().cast(), piece.len(), gpu.raw_stream())
                })?;
                asked("cuEventRecord", half.done.record(self.stream()))?;
            }
            Ok(())
        })
    }

    /// Copies from `address` to the host, and waits for it.
    pub(super) fn download(&self, address: u64, to: &mut [u8]) -> Result<()> {
        if to.is_empty() {
            return Ok(());
        }
        self.with_staging(|staging| {
            let count = to.len().div_ceil(HALF);
            let bytes = to.len();
            let len = |i: usize| HALF.min(bytes - i * HALF);
            for i in 0..=count {
                // Ask for piece `i`, then empty piece `i - 1` while it comes.
                if i < count {
                    let half = &mut staging.halves[i % 2];
                    asked("cuEventSynchronize", half.done.synchronize())?;
                    let from = address + (i * HALF) as u64;
                    // SAFETY: the caller's memory holds `to.len()` bytes at `address`, the half `HALF`; nobody looks
                    // at the half before its event.
                    self.call(OP, "cuMemcpyDtoHAsync_v2", |gpu| unsafe {
                        driver::cuMemcpyDtoHAsync_v2(half.pinned.as_mut_ptr().cast(), from, len(i), gpu.raw_stream())
                    })?;
                    asked("cuEventRecord", half.done.record(self.stream()))?;
                }
                if i > 0 {
                    let half = &staging.halves[(i - 1) % 2];
                    if let Err(error) = half.done.synchronize() {
                        // Named by the kernel that ran last, which is more likely to blame than the copy.
                        self.synchronize()?;
                        asked("cuEventSynchronize", Err(error))?;
                    }
                    to[(i - 1) * HALF..][..len(i - 1)].copy_from_slice(&half.pinned[..len(i - 1)]);
                }
            }
            Ok(())
        })
    }

    fn with_staging(&self, body: impl FnOnce(&mut Staging) -> Result<()>) -> Result<()> {
        // Events and pinned memory belong to the context, which `call` makes this thread's.
        self.call(OP, "cuCtxSetCurrent", |_| 0)?;
        let mut staging = lock(&self.staging);
        if staging.is_none() {
            *staging = Some(Staging::new()?);
        }
        staging.as_mut().map_or(Ok(()), body)
    }
}
