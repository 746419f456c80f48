//! The functions of the driver that are called directly. Each answers 0 or a code of `CUresult`; the codes stay
//! integers, since a newer driver may have some that no enum here lists.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

/// A loaded PTX text.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Module(*mut c_void);

/// A kernel of a module.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Function(*mut c_void);

// SAFETY: both are names that the driver gave out, valid in every thread of the process; modules are never unloaded.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}
// SAFETY: as above.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Module {
    pub(super) const NONE: Module = Module(std::ptr::null_mut());
}

impl Function {
    pub(super) const NONE: Function = Function(std::ptr::null_mut());
}

/// Options of `cuModuleLoadDataEx`: where the compiler writes what it has to say, and how much room there is.
pub(super) const JIT_ERROR_LOG_BUFFER: c_int = 5;
pub(super) const JIT_ERROR_LOG_BUFFER_BYTES: c_int = 6;
/// `cuFuncSetAttribute`: bytes of dynamic shared memory that launches may ask for.
pub(super) const MAX_DYNAMIC_SHARED_BYTES: c_int = 8;
/// Keys of the parameter list of `cuLaunchKernel`: address and length of the packed parameters, and the end.
pub(super) const PARAM_BUFFER: usize = 1;
pub(super) const PARAM_BUFFER_BYTES: usize = 2;
pub(super) const PARAM_END: usize = 0;

unsafe extern "C" {
    pub(super) fn cuCtxSetCurrent(context: *mut c_void) -> c_int;
    pub(super) fn cuGetErrorString(code: c_int, text: *mut *const c_char) -> c_int;
    pub(super) fn cuModuleLoadDataEx(
        module: *mut Module,
        image: *const c_void,
        options: c_uint,
        keys: *mut c_int,
        values: *mut *mut c_void,
    ) -> c_int;
    pub(super) fn cuModuleGetFunction(function: *mut Function, module: Module, name: *const c_char) -> c_int;
    pub(super) fn cuFuncSetAttribute(function: Function, attribute: c_int, value: c_int) -> c_int;
    pub(super) fn cuLaunchKernel(
        function: Function,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared_bytes: c_uint,
        stream: *mut c_void,
        params: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) -> c_int;
    pub(super) fn cuStreamSynchronize(stream: *mut c_void) -> c_int;
    pub(super) fn cuMemAllocAsync(address: *mut u64, bytes: usize, stream: *mut c_void) -> c_int;
    pub(super) fn cuMemFreeAsync(address: u64, stream: *mut c_void) -> c_int;
    pub(super) fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: *mut c_void) -> c_int;
    pub(super) fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: *mut c_void) -> c_int;
    pub(super) fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: *mut c_void) -> c_int;
    pub(super) fn cuMemsetD8Async(address: u64, value: u8, bytes: usize, stream: *mut c_void) -> c_int;
}

/// What the driver says of a code.
pub(super) fn describe(code: c_int) -> String {
    let mut text = std::ptr::null();
    // SAFETY: `text` outlives the call; on success it points to a string that lives as long as the driver.
    let known = unsafe { cuGetErrorString(code, &mut text) } == 0 && !text.is_null();
    if !known {
        return "a code that the driver does not explain".into();
    }
    // SAFETY: checked above; the driver ends its strings with a zero.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
