//! What the process has: contexts with all that belongs to them, and which one a thread uses.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::controls::settings;
use super::error::{Answer, Code};
use super::function::Function;
use super::journal;
use super::module::Module;
use super::queue::{NULL, Queue};
use super::stream::Stream;
use super::work::Record;
use crate::memory::Memory;

/// What programs hold in place of a pointer to something of the driver. Not an address: dereferencing one crashes.
pub(super) type Handle = u64;

/// `CU_STREAM_LEGACY`: the NULL stream by another name.
const STREAM_LEGACY: Handle = 1;
/// `CU_STREAM_PER_THREAD`.
const STREAM_PER_THREAD: Handle = 2;

/// All state, behind one lock.
#[derive(Debug)]
pub(super) struct Driver {
    /// Whether `cuInit` was called.
    pub(super) initialised: bool,
    /// By handle.
    pub(super) contexts: BTreeMap<Handle, Context>,
    /// The primary context of each device, by ordinal.
    pub(super) primaries: BTreeMap<i32, Primary>,
}

/// A device's primary context.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Primary {
    /// Its handle, once it exists.
    pub(super) context: Option<Handle>,
    /// How often it was retained and not released.
    pub(super) retained: usize,
    /// Flags that were set.
    pub(super) flags: u32,
}

/// A context. Its memory has addresses of its own: another context's are out of bounds.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) handle: Handle,
    pub(super) device: i32,
    pub(super) flags: u32,
    pub(super) memory: Arc<Memory>,
    pub(super) queue: Queue,
    pub(super) streams: BTreeMap<Handle, Stream>,
    /// What each event remembers, and its flags.
    pub(super) events: BTreeMap<Handle, (u32, Option<Arc<Record>>)>,
    pub(super) modules: BTreeMap<Handle, Module>,
    pub(super) functions: BTreeMap<Handle, Function>,
    /// `cuCtxSetLimit`, by its number.
    pub(super) limits: BTreeMap<i32, usize>,
    /// `cuCtxSetCacheConfig` and `cuCtxSetSharedMemConfig`: kept, without a meaning here.
    pub(super) preferences: [i32; 2],
}

thread_local! {
    /// Contexts of this thread; the last is current. A place may hold none.
    static CURRENT: RefCell<Vec<Option<Handle>>> = const { RefCell::new(Vec::new()) };
}

impl Context {
    pub(super) fn new(handle: Handle, device: i32, flags: u32) -> Answer<Context> {
        let memory = Memory::new(settings().memory).map_err(|error| {
            journal::say_once(&format!("the system gives no addresses for {} bytes: {error}", settings().memory));
            Code::OUT_OF_MEMORY
        })?;
        let memory = Arc::new(memory);
        Ok(Context {
            handle,
            device,
            flags,
            queue: Queue::new(memory.clone()),
            memory,
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            modules: BTreeMap::new(),
            functions: BTreeMap::new(),
            limits: BTreeMap::new(),
            preferences: [0; 2],
        })
    }

    /// The index of a stream in the queue.
    pub(super) fn stream(&self, handle: Handle) -> Answer<usize> {
        match handle {
            0 | STREAM_LEGACY => Ok(NULL),
            STREAM_PER_THREAD => Err(Code::NOT_SUPPORTED),
            _ => self.streams.get(&handle).map(|stream| stream.index).ok_or(Code::INVALID_HANDLE),
        }
    }

    fn owns(&self, handle: Handle) -> bool {
        self.streams.contains_key(&handle)
            || self.events.contains_key(&handle)
            || self.modules.contains_key(&handle)
            || self.functions.contains_key(&handle)
    }
}

/// A handle that nothing had before.
pub(super) fn new_handle() -> Handle {
    static NEXT: AtomicU64 = AtomicU64::new(0x1000);
    NEXT.fetch_add(16, Relaxed)
}

/// The state. Functions of the driver hold the lock while kernels run: calls of other threads wait.
pub(super) fn lock() -> MutexGuard<'static, Driver> {
    static STATE: Mutex<Driver> =
        Mutex::new(Driver { initialised: false, contexts: BTreeMap::new(), primaries: BTreeMap::new() });
    // A body that panicked answered `CUDA_ERROR_UNKNOWN`: the program knows, and tests go on with other contexts.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state, once `cuInit` was called.
pub(super) fn initialised() -> Answer<MutexGuard<'static, Driver>> {
    let driver = lock();
    if driver.initialised { Ok(driver) } else { Err(Code::NOT_INITIALIZED) }
}

/// The handle of the thread's current context.
pub(super) fn current() -> Option<Handle> {
    CURRENT.with_borrow(|stack| stack.last().copied().flatten())
}

/// Makes a context, or none, the thread's current one, in place of the one that is.
pub(super) fn set_current(context: Option<Handle>) {
    CURRENT.with_borrow_mut(|stack| {
        stack.pop();
        stack.push(context);
    });
}

/// Makes a context current and keeps the one that is for later.
pub(super) fn push_current(context: Handle) {
    CURRENT.with_borrow_mut(|stack| stack.push(Some(context)));
}

/// Takes the current context off; the one before is current again.
pub(super) fn pop_current() -> Option<Handle> {
    CURRENT.with_borrow_mut(Vec::pop).flatten()
}

/// Does something with the thread's current context, whatever happened to it.
pub(super) fn with_current<T>(body: impl FnOnce(&mut Context) -> Answer<T>) -> Answer<T> {
    let mut driver = initialised()?;
    let handle = current().ok_or(Code::INVALID_CONTEXT)?;
    body(driver.contexts.get_mut(&handle).ok_or(Code::CONTEXT_IS_DESTROYED)?)
}

/// Does something with the thread's current context.
///
/// # Errors
/// Also what stopped the context before: such errors stay.
pub(super) fn with_context<T>(body: impl FnOnce(&mut Context) -> Answer<T>) -> Answer<T> {
    with_current(|context| {
        context.queue.healthy()?;
        body(context)
    })
}

/// Does something with the context that has a stream, an event, a module or a function, current or not; with the
/// current one for the NULL stream.
///
/// # Errors
/// Also what stopped the context before.
pub(super) fn with_owner<T>(handle: Handle, body: impl FnOnce(&mut Context) -> Answer<T>) -> Answer<T> {
    if handle <= STREAM_PER_THREAD {
        return with_context(body);
    }
    let mut driver = initialised()?;
    let owner = driver.contexts.values_mut().find(|context| context.owns(handle)).ok_or(Code::INVALID_HANDLE)?;
    owner.queue.healthy()?;
    body(owner)
}
