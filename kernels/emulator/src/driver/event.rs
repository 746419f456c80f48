//! Events: marks in streams that others wait for.

use std::sync::Arc;

use super::error::{Answer, Code};
use super::pointer::Out;
use super::state::{new_handle, with_context, with_owner};
use super::work::Record;

/// `CU_EVENT_DISABLE_TIMING`.
const DISABLE_TIMING: u32 = 2;
/// `CU_EVENT_INTERPROCESS`.
const INTERPROCESS: u32 = 4;

exports! {
    /// An event. Flags: 1 to sleep in a wait, 2 for no times.
    fn cuEventCreate(event: Out<u64>, flags: u32) = create;
    /// Its end.
    fn cuEventDestroy_v2(event: u64) = destroy;
    /// Puts the mark behind all that was asked for in the stream so far.
    fn cuEventRecord(event: u64, stream: u64) = record;
    /// Whether the mark was reached, or `CUDA_ERROR_NOT_READY`. Each such answer is a step towards it.
    fn cuEventQuery(event: u64) = query;
    /// Waits until the mark is reached.
    fn cuEventSynchronize(event: u64) = synchronize;
    /// Milliseconds from one mark to another, of this machine's clock: of no GPU.
    fn cuEventElapsedTime(milliseconds: Out<f32>, start: u64, end: u64) = elapsed_time;
    /// Milliseconds from one mark to another, of this machine's clock: of no GPU.
    fn cuEventElapsedTime_v2(milliseconds: Out<f32>, start: u64, end: u64) = elapsed_time;
}

fn create(event: Out<u64>, flags: u32) -> Answer {
    if flags & INTERPROCESS != 0 {
        return Err(Code::NOT_SUPPORTED);
    }
    if flags & !(1 | DISABLE_TIMING) != 0 {
        return Err(Code::INVALID_VALUE);
    }
    with_context(|context| {
        let handle = new_handle();
        context.events.insert(handle, (flags, None));
        event.put(handle)
    })
}

fn destroy(event: u64) -> Answer {
    with_owner(event, |context| context.events.remove(&event).map(|_| ()).ok_or(Code::INVALID_HANDLE))
}

fn record(event: u64, stream: u64) -> Answer {
    with_owner(event, |context| {
        let index = context.stream(stream)?;
        let (_, record) = context.events.get_mut(&event).ok_or(Code::INVALID_HANDLE)?;
        *record = Some(context.queue.push_record(index));
        Ok(())
    })
}

fn query(event: u64) -> Answer {
    with_owner(event, |context| {
        let (_, record) = context.events.get(&event).ok_or(Code::INVALID_HANDLE)?;
        if let Some(record) = record.clone() {
            context.queue.query(record.operation)?;
            context.queue.learn(&record.clock);
        }
        Ok(())
    })
}

fn synchronize(event: u64) -> Answer {
    with_owner(event, |context| {
        let (_, record) = context.events.get(&event).ok_or(Code::INVALID_HANDLE)?;
        match record.clone() {
            Some(record) => context.queue.finish_record(&record),
            None => Ok(()),
        }
    })
}

fn elapsed_time(milliseconds: Out<f32>, start: u64, end: u64) -> Answer {
    with_owner(start, |context| {
        let record = |event: u64| -> Answer<Arc<Record>> {
            match context.events.get(&event) {
                Some((flags, Some(record))) if flags & DISABLE_TIMING == 0 => Ok(record.clone()),
                _ => Err(Code::INVALID_HANDLE),
            }
        };
        let (start, end) = (record(start)?, record(end)?);
        let (Some(start), Some(end)) = (start.time.get(), end.time.get()) else { return Err(Code::NOT_READY) };
        let forward = end.saturating_duration_since(*start).as_secs_f64();
        let backward = start.saturating_duration_since(*end).as_secs_f64();
        milliseconds.put(((forward - backward) * 1e3) as f32)
    })
}
