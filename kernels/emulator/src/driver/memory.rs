//! Memory of the device: allocating, freeing, asking.

use super::error::{Answer, Code};
use super::pinned;
use super::pointer::{HostRange, Out};
use super::state::{Context, with_context, with_owner};
use super::work::{Work, kind_of, span};
use super::{controls, journal};
use crate::memory::{DEVICE_BASE, Fault};

exports! {
    /// Memory, uninitialised, at a multiple of 256.
    fn cuMemAlloc_v2(address: Out<u64>, bytes: usize) = allocate;
    /// Frees it. Work that waits is done first, but a program that relies on that is reported.
    fn cuMemFree_v2(address: u64) = free;
    /// Memory that may be used by what comes later in the stream's order.
    fn cuMemAllocAsync(address: Out<u64>, bytes: usize, stream: u64) = allocate_async;
    /// Frees memory in the stream's order.
    fn cuMemFreeAsync(address: u64, stream: u64) = free_async;
    /// Bytes that are free, and all.
    fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) = info;
    /// Start and bytes of the allocation that holds an address.
    fn cuMemGetAddressRange_v2(start: Out<u64>, bytes: Out<usize>, address: u64) = address_range;
    /// What is known of an address, by a number.
    fn cuPointerGetAttribute(value: Out<u64>, attribute: i32, address: u64) = pointer_attribute;
}

/// `CU_MEMORYTYPE_HOST`.
const HOST: u32 = 1;
/// `CU_MEMORYTYPE_DEVICE`.
const DEVICE: u32 = 2;

/// Whether an address can only be a device's.
pub(super) fn is_device(address: u64) -> bool {
    address >= DEVICE_BASE
}

fn allocate(address: Out<u64>, bytes: usize) -> Answer {
    with_context(|context| address.put(reserve(context, bytes)?))
}

fn reserve(context: &Context, bytes: usize) -> Answer<u64> {
    if bytes == 0 {
        return Err(Code::INVALID_VALUE);
    }
    context.memory.allocate(bytes).ok_or(Code::OUT_OF_MEMORY)
}

fn free(address: u64) -> Answer {
    if address == 0 {
        return Ok(());
    }
    with_context(|context| {
        let bytes = whole_allocation(context, address, "cuMemFree")?;
        let done = context.queue.do_all();
        context.queue.release(span(address, bytes), "cuMemFree");
        context.memory.free(address).map_err(|fault| refuse(fault, "cuMemFree"))?;
        done
    })
}

fn allocate_async(address: Out<u64>, bytes: usize, stream: u64) -> Answer {
    with_context(|context| {
        let stream = context.stream(stream)?;
        let at = reserve(context, bytes)?;
        context.queue.push(stream, "cuMemAllocAsync", Work::Allocate(span(at, bytes)));
        address.put(at)
    })
}

fn free_async(address: u64, stream: u64) -> Answer {
    with_owner(stream, |context| {
        let stream = context.stream(stream)?;
        if address == 0 {
            return Ok(());
        }
        let bytes = whole_allocation(context, address, "cuMemFreeAsync")?;
        context.queue.push(stream, "cuMemFreeAsync", Work::Free(span(address, bytes)));
        Ok(())
    })
}

/// Bytes of the allocation that begins at `address`.
fn whole_allocation(context: &Context, address: u64, function: &str) -> Answer<usize> {
    match context.memory.allocation(address) {
        Some(allocation) if allocation.address == address => Ok(allocation.bytes),
        Some(_) => Err(refuse(Fault::OutOfBounds(address), function)),
        None => Err(refuse(context.memory.check(address, 1).err().unwrap_or(Fault::OutOfBounds(address)), function)),
    }
}

/// Reports an address that a function of the driver was given and can not take.
pub(super) fn refuse(fault: Fault, function: &str) -> Code {
    let (kind, address) = kind_of(fault);
    journal::report_host(kind, Some(address), format!("{function} was refused: {fault}"));
    Code::INVALID_VALUE
}

fn info(free: Out<usize>, total: Out<usize>) -> Answer {
    with_context(|context| {
        let (used, capacity) = context.memory.usage();
        free.put_if_asked(capacity - used);
        total.put_if_asked(controls::settings().memory);
        Ok(())
    })
}

fn address_range(start: Out<u64>, bytes: Out<usize>, address: u64) -> Answer {
    with_context(|context| {
        let allocation = context.memory.allocation(address).ok_or(Code::INVALID_VALUE)?;
        start.put_if_asked(allocation.address);
        bytes.put_if_asked(allocation.bytes);
        Ok(())
    })
}

/// What is known of an address that belongs to a living allocation of the device, or to pinned memory of the host.
fn pointer_attribute(value: Out<u64>, attribute: i32, address: u64) -> Answer {
    with_context(|context| {
        let device = context.memory.allocation(address).map(|a| HostRange { address: a.address, bytes: a.bytes });
        let range = device.or_else(|| pinned::holding(address)).ok_or(Code::INVALID_VALUE)?;
        match (attribute, device.is_some()) {
            (1, _) => value.put(context.handle),
            (2, on_device) => value.cast::<u32>().put(if on_device { DEVICE } else { HOST }),
            (3, true) | (4, false) => value.put(address),
            (8, _) => value.cast::<u8>().put(0),
            (9, _) => value.cast::<i32>().put(context.device),
            (11, _) => value.put(range.address),
            (12, _) => value.put(range.bytes as u64),
            (13, on_device) => value.cast::<u8>().put(u8::from(on_device)),
            _ => Err(Code::INVALID_VALUE),
        }
    })
}
