//! Streams as the API sees them.

use super::error::{Answer, Code};
use super::pointer::Out;
use super::queue::{Blocking, NULL};
use super::state::{new_handle, with_context, with_owner};
use super::work::{HostFunction, Work};

/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: u32 = 1;
/// The priority of streams that do not say, and the lowest.
const LEAST: i32 = 0;
/// The highest priority. Priorities are kept, without a meaning here: any order is legal with them.
const GREATEST: i32 = -5;

/// A function that a stream may call.
pub type HostCallback = Option<unsafe extern "C" fn(*mut std::ffi::c_void)>;

/// A stream of a context.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// Its index in the queue.
    pub(super) index: usize,
    flags: u32,
    priority: i32,
}

exports! {
    /// A stream. Flags: 0, or 1 for no order with the NULL stream.
    fn cuStreamCreate(stream: Out<u64>, flags: u32) = create;
    /// A stream. A lower number is a higher priority.
    fn cuStreamCreateWithPriority(stream: Out<u64>, flags: u32, priority: i32) = create_with_priority;
    /// Its end; what waits in it will be done.
    fn cuStreamDestroy_v2(stream: u64) = destroy;
    /// Waits for all that was asked for in it.
    fn cuStreamSynchronize(stream: u64) = synchronize;
    /// Whether all is done, or `CUDA_ERROR_NOT_READY`. Each such answer is a step towards it.
    fn cuStreamQuery(stream: u64) = query;
    /// Makes what is asked for from now on wait for what an event was recorded after.
    fn cuStreamWaitEvent(stream: u64, event: u64, flags: u32) = wait_event;
    /// Flags.
    fn cuStreamGetFlags(stream: u64, flags: Out<u32>) = flags;
    /// Priority.
    fn cuStreamGetPriority(stream: u64, priority: Out<i32>) = priority;
    /// The context.
    fn cuStreamGetCtx(stream: u64, context: Out<u64>) = context_of;
    /// The lowest and the highest priority.
    fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) = priority_range;
    /// Whether the stream is being captured: none ever is.
    fn cuStreamIsCapturing(stream: u64, status: Out<i32>) = is_capturing;
    /// Calls a function of the host, in the order of the stream. It must not call the driver.
    fn cuLaunchHostFunc(stream: u64, function: HostCallback, data: usize) = launch_host_function;
}

fn create(stream: Out<u64>, flags: u32) -> Answer {
    create_with_priority(stream, flags, LEAST)
}

fn create_with_priority(stream: Out<u64>, flags: u32, priority: i32) -> Answer {
    let blocking = match flags {
        0 => Blocking::Yes,
        NON_BLOCKING => Blocking::No,
        _ => return Err(Code::INVALID_VALUE),
    };
    with_context(|context| {
        let (handle, index) = (new_handle(), context.queue.add_stream(blocking));
        let priority = priority.clamp(GREATEST, LEAST);
        context.streams.insert(handle, Stream { index, flags, priority });
        stream.put(handle)
    })
}

fn destroy(stream: u64) -> Answer {
    with_owner(stream, |context| context.streams.remove(&stream).map(|_| ()).ok_or(Code::INVALID_HANDLE))
}

/// The NULL stream is waited for as by an operation of its own, which comes after work of all blocking streams.
fn synchronize(stream: u64) -> Answer {
    with_owner(stream, |context| {
        let index = context.stream(stream)?;
        if index == NULL {
            context.queue.push(NULL, "cuStreamSynchronize", Work::Marker);
        }
        context.queue.finish(index)
    })
}

fn query(stream: u64) -> Answer {
    with_owner(stream, |context| {
        let index = context.stream(stream)?;
        context.queue.query(context.queue.last_of(index))?;
        let clock = context.queue.clock_of(index);
        context.queue.learn(&clock);
        Ok(())
    })
}

fn wait_event(stream: u64, event: u64, flags: u32) -> Answer {
    if flags != 0 {
        return Err(Code::INVALID_VALUE);
    }
    with_owner(event, |context| {
        let index = context.stream(stream)?;
        let (_, record) = context.events.get(&event).ok_or(Code::INVALID_HANDLE)?;
        if let Some(record) = record.clone() {
            context.queue.push_wait(index, &record);
        }
        Ok(())
    })
}

fn flags(stream: u64, flags: Out<u32>) -> Answer {
    with_owner(stream, |context| {
        context.stream(stream)?;
        flags.put(context.streams.get(&stream).map_or(0, |stream| stream.flags))
    })
}

fn priority(stream: u64, priority: Out<i32>) -> Answer {
    with_owner(stream, |context| {
        context.stream(stream)?;
        priority.put(context.streams.get(&stream).map_or(LEAST, |stream| stream.priority))
    })
}

fn context_of(stream: u64, context: Out<u64>) -> Answer {
    with_owner(stream, |owner| {
        owner.stream(stream)?;
        context.put(owner.handle)
    })
}

fn priority_range(least: Out<i32>, greatest: Out<i32>) -> Answer {
    with_context(|_| {
        least.put_if_asked(LEAST);
        greatest.put_if_asked(GREATEST);
        Ok(())
    })
}

fn is_capturing(stream: u64, status: Out<i32>) -> Answer {
    with_owner(stream, |context| {
        context.stream(stream)?;
        status.put(0)
    })
}

fn launch_host_function(stream: u64, function: HostCallback, data: usize) -> Answer {
    let function = function.ok_or(Code::INVALID_VALUE)?;
    with_owner(stream, |context| {
        let index = context.stream(stream)?;
        context.queue.push(index, "cuLaunchHostFunc", Work::Host(HostFunction { function, data }));
        Ok(())
    })
}
