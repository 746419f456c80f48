//! Contexts: the primary one of each device, others, and which one a thread uses.

use super::device;
use super::error::{Answer, Code};
use super::pointer::Out;
use super::state::{
    Context, Driver, Handle, initialised, new_handle, pop_current, push_current, set_current, with_context,
    with_current,
};

/// The version of the API that contexts say they were made with.
const API_VERSION: u32 = 3020;

exports! {
    /// The primary context of a device, made when nobody had it.
    fn cuDevicePrimaryCtxRetain(context: Out<u64>, device: i32) = primary_retain;
    /// Gives it back; the last one who does destroys it.
    fn cuDevicePrimaryCtxRelease_v2(device: i32) = primary_release;
    /// Destroys it, whoever has it.
    fn cuDevicePrimaryCtxReset_v2(device: i32) = primary_reset;
    /// Flags of it.
    fn cuDevicePrimaryCtxSetFlags_v2(device: i32, flags: u32) = primary_set_flags;
    /// Flags of it, and whether it exists.
    fn cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) = primary_state;
    /// A context of one's own, current from now on.
    fn cuCtxCreate_v2(context: Out<u64>, flags: u32, device: i32) = create;
    /// Its end.
    fn cuCtxDestroy_v2(context: u64) = destroy;
    /// Makes a context current, and the one that is again after `cuCtxPopCurrent`.
    fn cuCtxPushCurrent_v2(context: u64) = push;
    /// Takes the current context off.
    fn cuCtxPopCurrent_v2(context: Out<u64>) = pop;
    /// Makes a context, or with 0 none, current in place of the one that is.
    fn cuCtxSetCurrent(context: u64) = set;
    /// The current context, or 0.
    fn cuCtxGetCurrent(context: Out<u64>) = get;
    /// Its device.
    fn cuCtxGetDevice(device: Out<i32>) = device_of;
    /// Its flags.
    fn cuCtxGetFlags(flags: Out<u32>) = flags;
    /// The version of the API.
    fn cuCtxGetApiVersion(context: u64, version: Out<u32>) = api_version;
    /// Waits for all that was asked for in the current context.
    fn cuCtxSynchronize() = synchronize;
    /// A limit, by its number.
    fn cuCtxGetLimit(value: Out<usize>, limit: i32) = limit;
    /// Sets a limit: kept, without a meaning here.
    fn cuCtxSetLimit(limit: i32, value: usize) = set_limit;
    /// A preference: kept, without a meaning here.
    fn cuCtxGetCacheConfig(config: Out<i32>) = cache_config;
    /// A preference: kept, without a meaning here.
    fn cuCtxSetCacheConfig(config: i32) = set_cache_config;
    /// A preference: kept, without a meaning here.
    fn cuCtxGetSharedMemConfig(config: Out<i32>) = shared_config;
    /// A preference: kept, without a meaning here.
    fn cuCtxSetSharedMemConfig(config: i32) = set_shared_config;
}

fn primary_retain(context: Out<u64>, device: i32) -> Answer {
    device::check(device)?;
    let mut driver = initialised()?;
    let primary = *driver.primaries.entry(device).or_default();
    let handle = match primary.context {
        Some(handle) => handle,
        None => add(&mut driver, device, primary.flags)?,
    };
    let primary = driver.primaries.entry(device).or_default();
    primary.context = Some(handle);
    primary.retained += 1;
    context.put(handle)
}

fn primary_release(device: i32) -> Answer {
    device::check(device)?;
    let mut driver = initialised()?;
    let primary = driver.primaries.entry(device).or_default();
    if primary.retained == 0 {
        return Err(Code::INVALID_CONTEXT);
    }
    primary.retained -= 1;
    if primary.retained == 0 {
        end_primary(&mut driver, device);
    }
    Ok(())
}

fn primary_reset(device: i32) -> Answer {
    device::check(device)?;
    end_primary(&mut *initialised()?, device);
    Ok(())
}

fn end_primary(driver: &mut Driver, device: i32) {
    let primary = driver.primaries.entry(device).or_default();
    primary.retained = 0;
    if let Some(handle) = primary.context.take() {
        end(driver, handle);
    }
}

fn primary_set_flags(device: i32, flags: u32) -> Answer {
    device::check(device)?;
    let mut driver = initialised()?;
    let primary = driver.primaries.entry(device).or_default();
    primary.flags = flags;
    if let Some(handle) = primary.context {
        driver.contexts.entry(handle).and_modify(|context| context.flags = flags);
    }
    Ok(())
}

fn primary_state(device: i32, flags: Out<u32>, active: Out<i32>) -> Answer {
    device::check(device)?;
    let primary = *initialised()?.primaries.entry(device).or_default();
    flags.put(primary.flags)?;
    active.put(i32::from(primary.context.is_some()))
}

fn create(context: Out<u64>, flags: u32, device: i32) -> Answer {
    device::check(device)?;
    let handle = add(&mut *initialised()?, device, flags)?;
    push_current(handle);
    context.put(handle)
}

fn destroy(context: u64) -> Answer {
    let mut driver = initialised()?;
    if driver.primaries.values().any(|primary| primary.context == Some(context)) {
        return Err(Code::INVALID_CONTEXT);
    }
    if !driver.contexts.contains_key(&context) {
        return Err(Code::INVALID_CONTEXT);
    }
    end(&mut driver, context);
    if super::state::current() == Some(context) {
        pop_current();
    }
    Ok(())
}

fn add(driver: &mut Driver, device: i32, flags: u32) -> Answer<Handle> {
    let handle = new_handle();
    driver.contexts.insert(handle, Context::new(handle, device, flags)?);
    Ok(handle)
}

/// The end of a context. Work that waits is done first, as a driver would; what it answers nobody hears.
fn end(driver: &mut Driver, handle: Handle) {
    if let Some(mut context) = driver.contexts.remove(&handle) {
        let _ = context.queue.do_all();
    }
}

fn push(context: u64) -> Answer {
    known(context)?;
    push_current(context);
    Ok(())
}

fn pop(context: Out<u64>) -> Answer {
    let handle = pop_current().ok_or(Code::INVALID_CONTEXT)?;
    context.put_if_asked(handle);
    Ok(())
}

fn set(context: u64) -> Answer {
    if context != 0 {
        known(context)?;
    }
    set_current((context != 0).then_some(context));
    Ok(())
}

fn known(context: u64) -> Answer {
    let known = initialised()?.contexts.contains_key(&context);
    if known { Ok(()) } else { Err(Code::INVALID_CONTEXT) }
}

fn get(context: Out<u64>) -> Answer {
    drop(initialised()?);
    context.put(super::state::current().unwrap_or(0))
}

fn device_of(device: Out<i32>) -> Answer {
    with_current(|context| device.put(context.device))
}

fn flags(flags: Out<u32>) -> Answer {
    with_current(|context| flags.put(context.flags))
}

fn api_version(context: u64, version: Out<u32>) -> Answer {
    if context != 0 {
        known(context)?;
    }
    version.put(API_VERSION)
}

fn synchronize() -> Answer {
    with_context(|context| context.queue.finish_all())
}

/// Limits that were not set are 0: nothing here uses them.
fn limit(value: Out<usize>, limit: i32) -> Answer {
    with_context(|context| value.put(context.limits.get(&limit).copied().unwrap_or(0)))
}

fn set_limit(limit: i32, value: usize) -> Answer {
    with_context(|context| {
        context.limits.insert(limit, value);
        Ok(())
    })
}

fn cache_config(config: Out<i32>) -> Answer {
    with_context(|context| config.put(context.preferences[0]))
}

fn set_cache_config(config: i32) -> Answer {
    with_context(|context| {
        context.preferences[0] = config;
        Ok(())
    })
}

fn shared_config(config: Out<i32>) -> Answer {
    with_context(|context| config.put(context.preferences[1]))
}

fn set_shared_config(config: i32) -> Answer {
    with_context(|context| {
        context.preferences[1] = config;
        Ok(())
    })
}
