//! A GPU: its context, its one stream, its loaded modules.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::sync::{Mutex, OnceLock};

use cust::context::Context;
use cust::device::{Device, DeviceAttribute};
use cust::error::CudaResult;
use cust::stream::{Stream, StreamFlags};

use super::driver::{self, Function, Module};
use super::staging::Staging;
use super::{Failure, Grid, Source};
use crate::Result;

const OP: &str = "gpu";
/// Room for what the compiler has to say about a PTX text.
const LOG_BYTES: usize = 8192;

/// An open GPU. It stays open as long as the process lives.
pub struct Gpu {
    ordinal: u32,
    name: String,
    /// Major and minor compute capability.
    capability: (i32, i32),
    memory_bytes: usize,
    multiprocessors: usize,
    context: Context,
    stream: Stream,
    loaded: Mutex<Loaded>,
    pub(super) staging: Mutex<Option<Staging>>,
}

#[derive(Debug, Default)]
struct Loaded {
    modules: BTreeMap<&'static str, Module>,
    functions: BTreeMap<&'static str, Function>,
    /// PTX that is loaded in place of a folder's own.
    substitutes: BTreeMap<&'static str, String>,
    /// What ran last, to name it when a failure shows.
    last: Option<(&'static str, &'static str, Grid)>,
}

impl Gpu {
    /// Opens GPU number `ordinal`, or hands out the one that is open.
    ///
    /// # Errors
    /// No driver, no such GPU, or one that is too old for the kernels (compute capability below 8.0).
    pub fn open(ordinal: u32) -> Result<&'static Gpu> {
        // One a process, because the driver has one primary context a process and device.
        static OPEN: OnceLock<Mutex<BTreeMap<u32, &'static Gpu>>> = OnceLock::new();
        let mut open = lock(OPEN.get_or_init(Mutex::default));
        if let Some(gpu) = open.get(&ordinal) {
            return Ok(gpu);
        }
        let gpu: &'static Gpu = Box::leak(Box::new(Gpu::new(ordinal)?));
        open.insert(ordinal, gpu);
        Ok(gpu)
    }

    fn new(ordinal: u32) -> Result<Gpu> {
        asked("cuInit", cust::init(cust::CudaFlags::empty()))?;
        let device = asked("cuDeviceGet", Device::get_device(ordinal))?;
        let attribute = |what| asked("cuDeviceGetAttribute", device.get_attribute(what));
        let capability =
            (attribute(DeviceAttribute::ComputeCapabilityMajor)?, attribute(DeviceAttribute::ComputeCapabilityMinor)?);
        if capability < (8, 0) {
            let (major, minor) = capability;
            let meaning = format!("compute capability {major}.{minor}, and the kernels need 8.0");
            let call = "cuDeviceGetAttribute";
            return Err(Failure { op: OP, call, code: 0, meaning, launch: None, log: String::new() }.into());
        }
        Ok(Gpu {
            ordinal,
            name: asked("cuDeviceGetName", device.name())?,
            capability,
            memory_bytes: asked("cuDeviceTotalMem_v2", device.total_memory())?,
            multiprocessors: attribute(DeviceAttribute::MultiprocessorCount)?.max(1) as usize,
            context: asked("cuDevicePrimaryCtxRetain", Context::new(device))?,
            stream: asked("cuStreamCreate", Stream::new(StreamFlags::NON_BLOCKING, None))?,
            loaded: Mutex::default(),
            staging: Mutex::default(),
        })
    }

    /// Its number.
    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// What the driver calls it. An emulated one says so.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether no GPU is behind it: then a time means nothing.
    pub fn is_emulated(&self) -> bool {
        self.name.contains("emulated")
    }

    /// Major and minor compute capability.
    pub fn capability(&self) -> (i32, i32) {
        self.capability
    }

    /// Bytes of memory that it has.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Multiprocessors, each of which runs a few blocks at a time.
    pub fn multiprocessors(&self) -> usize {
        self.multiprocessors
    }

    /// Waits until all work that was asked for is done.
    ///
    /// # Errors
    /// The failure of any of it.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream lives as long as `self`.
        self.call("synchronize", "cuStreamSynchronize", |gpu| unsafe { driver::cuStreamSynchronize(gpu.raw_stream()) })
    }

    /// Makes one call of the driver in this GPU's context.
    pub(super) fn call(&self, op: &'static str, call: &'static str, body: impl FnOnce(&Gpu) -> i32) -> Result<()> {
        // SAFETY: the context lives as long as `self`.
        let entered = unsafe { driver::cuCtxSetCurrent(self.context.as_raw().cast()) };
        let code = if entered == 0 { body(self) } else { entered };
        if code == 0 { Ok(()) } else { Err(self.failure(op, call, code, String::new()).into()) }
    }

    fn failure(&self, op: &'static str, call: &'static str, code: i32, log: String) -> Failure {
        let last = lock(&self.loaded).last;
        // Where the host waits, the operation that failed is one that was launched before.
        let op = last.filter(|_| call == "cuStreamSynchronize").map_or(op, |(op, ..)| op);
        let launch = last.map(|(_, kernel, grid)| (kernel, grid));
        Failure { op, call, code, meaning: driver::describe(code), launch, log }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(super) fn raw_stream(&self) -> *mut std::ffi::c_void {
        self.stream.as_inner().cast()
    }

    /// Remembers what is launched, to name it when a failure shows.
    pub(super) fn note(&self, op: &'static str, kernel: &'static str, grid: Grid) {
        lock(&self.loaded).last = Some((op, kernel, grid));
    }

    /// A kernel of `source`, which is loaded when its first kernel is asked for.
    pub(super) fn function(&self, op: &'static str, source: &Source, kernel: &'static str) -> Result<Function> {
        let mut loaded = lock(&self.loaded);
        if let Some(function) = loaded.functions.get(kernel) {
            return Ok(*function);
        }
        let module = match loaded.modules.get(source.name) {
            Some(module) => *module,
            None => {
                drop(loaded);
                let module = self.load(op, source)?;
                loaded = lock(&self.loaded);
                *loaded.modules.entry(source.name).or_insert(module)
            }
        };
        drop(loaded);
        let name = CString::new(kernel).unwrap_or_default();
        let mut function = Function::NONE;
        // SAFETY: `name` ends with a zero, `module` is loaded, both and `function` outlive the call.
        self.call(op, "cuModuleGetFunction", |_| unsafe {
            driver::cuModuleGetFunction(&mut function, module, name.as_ptr())
        })?;
        lock(&self.loaded).functions.insert(kernel, function);
        Ok(function)
    }

    /// Loads another PTX text in place of that of the folder `name` from the next launch on: for trying variants of a
    /// kernel without building anything, and for tests that break one on purpose.
    pub fn substitute(&self, name: &'static str, ptx: String) {
        let mut loaded = lock(&self.loaded);
        loaded.modules.remove(name);
        loaded.functions.clear();
        loaded.substitutes.insert(name, ptx);
    }

    fn load(&self, op: &'static str, source: &Source) -> Result<Module> {
        let substitute = lock(&self.loaded).substitutes.get(source.name).cloned();
        let text = CString::new(substitute.as_deref().unwrap_or(source.ptx)).unwrap_or_default();
        let mut log = vec![0u8; LOG_BYTES];
        let mut keys = [driver::JIT_ERROR_LOG_BUFFER, driver::JIT_ERROR_LOG_BUFFER_BYTES];
        // The second value is a number in the place of an address: that is how the driver takes it.
        let mut values = [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut(LOG_BYTES)];
        let mut module = Module::NONE;
        // SAFETY: `text` ends with a zero; keys, values and the log that they point to have the lengths that they say
        // and outlive the call.
        let loaded = self.call(op, "cuModuleLoadDataEx", |_| unsafe {
            let (count, keys, values) = (keys.len() as u32, keys.as_mut_ptr(), values.as_mut_ptr());
            driver::cuModuleLoadDataEx(&mut module, text.as_ptr().cast(), count, keys, values)
        });
        match loaded {
            Err(crate::Error::Cuda(mut failure)) => {
                let end = log.iter().position(|&byte| byte == 0).unwrap_or(LOG_BYTES);
                failure.log = format!("{}.ptx: {}", source.name, String::from_utf8_lossy(&log[..end]));
                Err(crate::Error::Cuda(failure))
            }
            other => other.map(|()| module),
        }
    }
}

impl PartialEq for Gpu {
    fn eq(&self, other: &Self) -> bool {
        self.ordinal == other.ordinal
    }
}

impl Eq for Gpu {}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu").field("ordinal", &self.ordinal).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What `cust` was answered, as a [`Failure`].
pub(super) fn asked<T>(call: &'static str, answer: CudaResult<T>) -> Result<T> {
    answer.map_err(|error| {
        let code = error as i32;
        Failure { op: OP, call, code, meaning: driver::describe(code), launch: None, log: String::new() }.into()
    })
}

/// A panic elsewhere leaves what is guarded here as it was.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
