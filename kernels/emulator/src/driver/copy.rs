//! Copies of contiguous bytes.
//!
//! What waits for what is what the API promises, and no more:
//!
//! | copy | with a stream (`Async`) | without |
//! |---|---|---|
//! | pageable host to device | bytes are taken at the call, written late | as well, after earlier work of the NULL stream: the device may still be writing when the call returns |
//! | pinned host to device | late | done at the return |
//! | device to pageable host | done at the return | done at the return |
//! | device to pinned host | late | done at the return |
//! | within the device | late | late |

use super::controls::settings;
use super::error::{Answer, Code};
use super::memory::{is_device, refuse};
use super::pinned::is_pinned;
use super::pointer::HostRange;
use super::queue::NULL;
use super::state::{Context, with_context, with_owner};
use super::work::{Transfer, Work, checksum};

exports! {
    /// Host to device.
    fn cuMemcpyHtoD_v2(to: u64, from: u64, bytes: usize) = upload;
    /// Device to host.
    fn cuMemcpyDtoH_v2(to: u64, from: u64, bytes: usize) = download;
    /// Within the device. Done late: the host does not wait.
    fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) = within;
    /// From where the source is to where the destination is.
    fn cuMemcpy(to: u64, from: u64, bytes: usize) = any;
    /// Host to device, in a stream.
    fn cuMemcpyHtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) = upload_async;
    /// Device to host, in a stream.
    fn cuMemcpyDtoHAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) = download_async;
    /// Within the device, in a stream.
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) = within_async;
    /// From where the source is to where the destination is, in a stream.
    fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: u64) = any_async;
}

/// One end of a copy.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// An address of the device.
    Device(u64),
    /// An address of the host.
    Host(u64),
}

/// Whether the host may go on before a copy is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// As far as the API lets it.
    Never,
    /// When memory of the host takes part.
    ForHost,
}

/// Copies that are one operation, of rows of the same kind.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// The function that was called.
    pub(super) function: &'a str,
    /// `(to, from, bytes)` of each row.
    pub(super) rows: Vec<(Place, Place, usize)>,
    /// Index of the stream.
    pub(super) stream: usize,
    pub(super) wait: Wait,
}

impl Place {
    /// What an address is by itself.
    pub(super) fn of(address: u64) -> Place {
        if is_device(address) { Place::Device(address) } else { Place::Host(address) }
    }
}

fn upload(to: u64, from: u64, bytes: usize) -> Answer {
    now("cuMemcpyHtoD", Place::Device(to), Place::Host(from), bytes)
}

fn download(to: u64, from: u64, bytes: usize) -> Answer {
    now("cuMemcpyDtoH", Place::Host(to), Place::Device(from), bytes)
}

fn within(to: u64, from: u64, bytes: usize) -> Answer {
    now("cuMemcpyDtoD", Place::Device(to), Place::Device(from), bytes)
}

fn any(to: u64, from: u64, bytes: usize) -> Answer {
    now("cuMemcpy", Place::of(to), Place::of(from), bytes)
}

fn upload_async(to: u64, from: u64, bytes: usize, stream: u64) -> Answer {
    later("cuMemcpyHtoDAsync", Place::Device(to), Place::Host(from), bytes, stream)
}

fn download_async(to: u64, from: u64, bytes: usize, stream: u64) -> Answer {
    later("cuMemcpyDtoHAsync", Place::Host(to), Place::Device(from), bytes, stream)
}

fn within_async(to: u64, from: u64, bytes: usize, stream: u64) -> Answer {
    later("cuMemcpyDtoDAsync", Place::Device(to), Place::Device(from), bytes, stream)
}

fn any_async(to: u64, from: u64, bytes: usize, stream: u64) -> Answer {
    later("cuMemcpyAsync", Place::of(to), Place::of(from), bytes, stream)
}

fn now(function: &str, to: Place, from: Place, bytes: usize) -> Answer {
    with_context(|context| {
        let rows = vec![(to, from, bytes)];
        copy(context, Request { function, rows, stream: NULL, wait: Wait::ForHost })
    })
}

fn later(function: &str, to: Place, from: Place, bytes: usize, stream: u64) -> Answer {
    with_owner(stream, |context| {
        let stream = context.stream(stream)?;
        copy(context, Request { function, rows: vec![(to, from, bytes)], stream, wait: Wait::Never })
    })
}

/// Checks, queues and, where the API says so, waits.
pub(super) fn copy(context: &mut Context, request: Request<'_>) -> Answer {
    let Request { function, rows, stream, wait } = request;
    let mut finish = false;
    let mut transfers = Vec::new();
    let pageable_upload = |&(to, from, bytes): &(Place, Place, usize)| match (to, from) {
        (Place::Device(_), Place::Host(from)) => !is_pinned(HostRange { address: from, bytes }),
        _ => false,
    };
    if wait == Wait::ForHost && rows.iter().any(pageable_upload) {
        // Bytes are taken once earlier work of the stream is done.
        context.queue.push(stream, function, Work::Marker);
        context.queue.finish(stream)?;
    }
    for (to, from, bytes) in rows.into_iter().filter(|&(_, _, bytes)| bytes > 0) {
        let check = |address| context.memory.check(address, bytes).map_err(|fault| refuse(fault, function));
        transfers.push(match (to, from) {
            (Place::Device(to), Place::Device(from)) => {
                check(to)?;
                check(from)?;
                Transfer::Move { to, from, bytes }
            }
            (Place::Device(to), Place::Host(from)) => {
                check(to)?;
                let from = host(from, bytes)?;
                if is_pinned(from) {
                    finish |= wait == Wait::ForHost;
                    let sum = settings().checked().then(|| checksum(from.bytes()));
                    Transfer::Upload { to, from, sum }
                } else {
                    Transfer::Staged { to, bytes: from.bytes().to_vec() }
                }
            }
            (Place::Host(to), Place::Device(from)) => {
                check(from)?;
                let to = host(to, bytes)?;
                finish |= wait == Wait::ForHost || !is_pinned(to);
                Transfer::Download { to, from }
            }
            (Place::Host(to), Place::Host(from)) => {
                finish = true;
                Transfer::Host { to: host(to, bytes)?, from: host(from, bytes)? }
            }
        });
    }
    context.queue.push(stream, function, Work::Transfers(transfers));
    if finish { context.queue.finish(stream) } else { Ok(()) }
}

/// Memory of the host. A device's address is none: a real driver would fault, this one says so.
fn host(address: u64, bytes: usize) -> Answer<HostRange> {
    if is_device(address) { Err(Code::INVALID_VALUE) } else { HostRange::new(address, bytes) }
}
