//! What functions of the driver answer: the numbers of its API, their names, and what they mean here.

use std::ffi::CStr;

use super::pointer::Out;

/// What a function of the driver answers instead of success: a number of its API, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) i32);

/// The result of a function of the driver.
pub(super) type Answer<T = ()> = Result<T, Code>;

impl Code {
    /// An argument that the function does not take.
    pub(super) const INVALID_VALUE: Code = Code(1);
    /// The device's memory is used up.
    pub(super) const OUT_OF_MEMORY: Code = Code(2);
    /// `cuInit` was not called.
    pub(super) const NOT_INITIALIZED: Code = Code(3);
    /// There is no device.
    pub(super) const NO_DEVICE: Code = Code(100);
    /// There is no such device.
    pub(super) const INVALID_DEVICE: Code = Code(101);
    /// No image of a module.
    pub(super) const INVALID_IMAGE: Code = Code(200);
    /// No context is current.
    pub(super) const INVALID_CONTEXT: Code = Code(201);
    /// An image without PTX.
    pub(super) const NO_BINARY_FOR_GPU: Code = Code(209);
    /// A PTX text that can not be read.
    pub(super) const INVALID_PTX: Code = Code(218);
    /// No such file.
    pub(super) const FILE_NOT_FOUND: Code = Code(301);
    /// A handle of nothing.
    pub(super) const INVALID_HANDLE: Code = Code(400);
    /// No such name.
    pub(super) const NOT_FOUND: Code = Code(500);
    /// Work that is not finished.
    pub(super) const NOT_READY: Code = Code(600);
    /// A kernel or a copy left what is allocated. Sticky.
    pub(super) const ILLEGAL_ADDRESS: Code = Code(700);
    /// A launch that the kernel's own limit forbids.
    pub(super) const LAUNCH_OUT_OF_RESOURCES: Code = Code(701);
    /// The current context is gone.
    pub(super) const CONTEXT_IS_DESTROYED: Code = Code(709);
    /// Memory that is pinned already.
    pub(super) const HOST_MEMORY_ALREADY_REGISTERED: Code = Code(712);
    /// Memory that is not pinned.
    pub(super) const HOST_MEMORY_NOT_REGISTERED: Code = Code(713);
    /// A kernel's access was not aligned. Sticky.
    pub(super) const MISALIGNED_ADDRESS: Code = Code(716);
    /// A kernel failed. Sticky.
    pub(super) const LAUNCH_FAILED: Code = Code(719);
    /// Not from a host function of a stream.
    pub(super) const NOT_PERMITTED: Code = Code(800);
    /// Not emulated.
    pub(super) const NOT_SUPPORTED: Code = Code(801);
    /// A defect of the emulator.
    pub(super) const UNKNOWN: Code = Code(999);
}

exports! {
    /// The name of an answer, such as `CUDA_ERROR_INVALID_VALUE`.
    fn cuGetErrorName(code: i32, text: Out<*const std::ffi::c_char>) = name;
    /// What an answer means.
    fn cuGetErrorString(code: i32, text: Out<*const std::ffi::c_char>) = meaning;
}

fn name(code: i32, text: Out<*const std::ffi::c_char>) -> Answer {
    text.put(row(code).map_or(std::ptr::null(), |row| row.1.as_ptr()))?;
    row(code).map(|_| ()).ok_or(Code::INVALID_VALUE)
}

fn meaning(code: i32, text: Out<*const std::ffi::c_char>) -> Answer {
    text.put(row(code).map_or(std::ptr::null(), |row| row.2.as_ptr()))?;
    row(code).map(|_| ()).ok_or(Code::INVALID_VALUE)
}

fn row(code: i32) -> Option<&'static (i32, &'static CStr, &'static CStr)> {
    TABLE.iter().find(|row| row.0 == code)
}

/// All answers of the API, also those that this driver never gives: a program may ask for the name of any.
#[rustfmt::skip]
const TABLE: &[(i32, &CStr, &CStr)] = &[
    (0, c"CUDA_SUCCESS", c"no error"),
    (1, c"CUDA_ERROR_INVALID_VALUE", c"an argument is not one that the function takes"),
    (2, c"CUDA_ERROR_OUT_OF_MEMORY", c"not enough memory"),
    (3, c"CUDA_ERROR_NOT_INITIALIZED", c"cuInit was not called"),
    (4, c"CUDA_ERROR_DEINITIALIZED", c"the driver is shutting down"),
    (5, c"CUDA_ERROR_PROFILER_DISABLED", c"profiler disabled"),
    (6, c"CUDA_ERROR_PROFILER_NOT_INITIALIZED", c"profiler not initialized"),
    (7, c"CUDA_ERROR_PROFILER_ALREADY_STARTED", c"profiler already started"),
    (8, c"CUDA_ERROR_PROFILER_ALREADY_STOPPED", c"profiler already stopped"),
    (34, c"CUDA_ERROR_STUB_LIBRARY", c"a stub library in place of the driver"),
    (36, c"CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER", c"call requires newer driver"),
    (46, c"CUDA_ERROR_DEVICE_UNAVAILABLE", c"device unavailable"),
    (47, c"CUDA_ERROR_MULTICAST_RESOURCE_FULL", c"multicast resource full"),
    (100, c"CUDA_ERROR_NO_DEVICE", c"no device"),
    (101, c"CUDA_ERROR_INVALID_DEVICE", c"no such device"),
    (102, c"CUDA_ERROR_DEVICE_NOT_LICENSED", c"device not licensed"),
    (200, c"CUDA_ERROR_INVALID_IMAGE", c"not an image of a module"),
    (201, c"CUDA_ERROR_INVALID_CONTEXT", c"no context is current, or the context is none"),
    (202, c"CUDA_ERROR_CONTEXT_ALREADY_CURRENT", c"context already current"),
    (205, c"CUDA_ERROR_MAP_FAILED", c"map failed"),
    (206, c"CUDA_ERROR_UNMAP_FAILED", c"unmap failed"),
    (207, c"CUDA_ERROR_ARRAY_IS_MAPPED", c"array is mapped"),
    (208, c"CUDA_ERROR_ALREADY_MAPPED", c"already mapped"),
    (209, c"CUDA_ERROR_NO_BINARY_FOR_GPU", c"the image holds no code for this device"),
    (210, c"CUDA_ERROR_ALREADY_ACQUIRED", c"already acquired"),
    (211, c"CUDA_ERROR_NOT_MAPPED", c"not mapped"),
    (212, c"CUDA_ERROR_NOT_MAPPED_AS_ARRAY", c"not mapped as array"),
    (213, c"CUDA_ERROR_NOT_MAPPED_AS_POINTER", c"not mapped as pointer"),
    (214, c"CUDA_ERROR_ECC_UNCORRECTABLE", c"ecc uncorrectable"),
    (215, c"CUDA_ERROR_UNSUPPORTED_LIMIT", c"unsupported limit"),
    (216, c"CUDA_ERROR_CONTEXT_ALREADY_IN_USE", c"context already in use"),
    (217, c"CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", c"peer access unsupported"),
    (218, c"CUDA_ERROR_INVALID_PTX", c"the PTX text has an error, or something that is not emulated"),
    (219, c"CUDA_ERROR_INVALID_GRAPHICS_CONTEXT", c"invalid graphics context"),
    (220, c"CUDA_ERROR_NVLINK_UNCORRECTABLE", c"nvlink uncorrectable"),
    (221, c"CUDA_ERROR_JIT_COMPILER_NOT_FOUND", c"jit compiler not found"),
    (222, c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", c"a PTX version that this driver does not know"),
    (223, c"CUDA_ERROR_JIT_COMPILATION_DISABLED", c"jit compilation disabled"),
    (224, c"CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY", c"unsupported exec affinity"),
    (225, c"CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC", c"unsupported devside sync"),
    (226, c"CUDA_ERROR_CONTAINED", c"contained"),
    (227, c"CUDA_ERROR_INSUFFICIENT_LOADER_VERSION", c"insufficient loader version"),
    (300, c"CUDA_ERROR_INVALID_SOURCE", c"the source is not valid"),
    (301, c"CUDA_ERROR_FILE_NOT_FOUND", c"no such file"),
    (302, c"CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND", c"shared object symbol not found"),
    (303, c"CUDA_ERROR_SHARED_OBJECT_INIT_FAILED", c"shared object init failed"),
    (304, c"CUDA_ERROR_OPERATING_SYSTEM", c"the operating system refused"),
    (400, c"CUDA_ERROR_INVALID_HANDLE", c"a handle that is none, or none any more"),
    (401, c"CUDA_ERROR_ILLEGAL_STATE", c"illegal state"),
    (402, c"CUDA_ERROR_LOSSY_QUERY", c"lossy query"),
    (500, c"CUDA_ERROR_NOT_FOUND", c"no such name"),
    (600, c"CUDA_ERROR_NOT_READY", c"not finished yet"),
    (700, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"a kernel reached an address outside what is allocated"),
    (701, c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", c"the launch asks for more than the device has"),
    (702, c"CUDA_ERROR_LAUNCH_TIMEOUT", c"a kernel did not end"),
    (703, c"CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING", c"launch incompatible texturing"),
    (704, c"CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED", c"peer access already enabled"),
    (705, c"CUDA_ERROR_PEER_ACCESS_NOT_ENABLED", c"peer access not enabled"),
    (708, c"CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", c"the primary context is active already"),
    (709, c"CUDA_ERROR_CONTEXT_IS_DESTROYED", c"the context was destroyed"),
    (710, c"CUDA_ERROR_ASSERT", c"an assertion of a kernel failed"),
    (711, c"CUDA_ERROR_TOO_MANY_PEERS", c"too many peers"),
    (712, c"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", c"the host memory is pinned already"),
    (713, c"CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", c"the host memory is not pinned"),
    (714, c"CUDA_ERROR_HARDWARE_STACK_ERROR", c"hardware stack error"),
    (715, c"CUDA_ERROR_ILLEGAL_INSTRUCTION", c"a kernel reached an instruction that is none"),
    (716, c"CUDA_ERROR_MISALIGNED_ADDRESS", c"a kernel reached an address that is not aligned"),
    (717, c"CUDA_ERROR_INVALID_ADDRESS_SPACE", c"a kernel reached an address of another space"),
    (718, c"CUDA_ERROR_INVALID_PC", c"a kernel left its code"),
    (719, c"CUDA_ERROR_LAUNCH_FAILED", c"a kernel failed"),
    (720, c"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", c"cooperative launch too large"),
    (721, c"CUDA_ERROR_TENSOR_MEMORY_LEAK", c"tensor memory leak"),
    (800, c"CUDA_ERROR_NOT_PERMITTED", c"not allowed here"),
    (801, c"CUDA_ERROR_NOT_SUPPORTED", c"not emulated"),
    (802, c"CUDA_ERROR_SYSTEM_NOT_READY", c"system not ready"),
    (803, c"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", c"system driver mismatch"),
    (804, c"CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", c"compat not supported on device"),
    (805, c"CUDA_ERROR_MPS_CONNECTION_FAILED", c"mps connection failed"),
    (806, c"CUDA_ERROR_MPS_RPC_FAILURE", c"mps rpc failure"),
    (807, c"CUDA_ERROR_MPS_SERVER_NOT_READY", c"mps server not ready"),
    (808, c"CUDA_ERROR_MPS_MAX_CLIENTS_REACHED", c"mps max clients reached"),
    (809, c"CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED", c"mps max connections reached"),
    (810, c"CUDA_ERROR_MPS_CLIENT_TERMINATED", c"mps client terminated"),
    (811, c"CUDA_ERROR_CDP_NOT_SUPPORTED", c"cdp not supported"),
    (812, c"CUDA_ERROR_CDP_VERSION_MISMATCH", c"cdp version mismatch"),
    (900, c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", c"stream capture unsupported"),
    (901, c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", c"stream capture invalidated"),
    (902, c"CUDA_ERROR_STREAM_CAPTURE_MERGE", c"stream capture merge"),
    (903, c"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", c"stream capture unmatched"),
    (904, c"CUDA_ERROR_STREAM_CAPTURE_UNJOINED", c"stream capture unjoined"),
    (905, c"CUDA_ERROR_STREAM_CAPTURE_ISOLATION", c"stream capture isolation"),
    (906, c"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", c"stream capture implicit"),
    (907, c"CUDA_ERROR_CAPTURED_EVENT", c"captured event"),
    (908, c"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", c"stream capture wrong thread"),
    (909, c"CUDA_ERROR_TIMEOUT", c"timeout"),
    (910, c"CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE", c"graph exec update failure"),
    (911, c"CUDA_ERROR_EXTERNAL_DEVICE", c"external device"),
    (912, c"CUDA_ERROR_INVALID_CLUSTER_SIZE", c"invalid cluster size"),
    (913, c"CUDA_ERROR_FUNCTION_NOT_LOADED", c"function not loaded"),
    (914, c"CUDA_ERROR_INVALID_RESOURCE_TYPE", c"invalid resource type"),
    (915, c"CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION", c"invalid resource configuration"),
    (916, c"CUDA_ERROR_KEY_ROTATION", c"key rotation"),
    (917, c"CUDA_ERROR_STREAM_DETACHED", c"stream detached"),
    (918, c"CUDA_ERROR_GRAPH_RECAPTURE_FAILURE", c"graph recapture failure"),
    (919, c"CUDA_ERROR_FABRIC_NOT_READY", c"fabric not ready"),
    (999, c"CUDA_ERROR_UNKNOWN", c"the emulator itself failed"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_names() {
        let mut text: *const std::ffi::c_char = std::ptr::null();
        assert_eq!(name(700, (&mut text).into()), Ok(()));
        // SAFETY: a literal of the table.
        assert_eq!(unsafe { CStr::from_ptr(text) }, c"CUDA_ERROR_ILLEGAL_ADDRESS");
        assert_eq!(meaning(0, (&mut text).into()), Ok(()));
        assert_eq!(meaning(-5, (&mut text).into()), Err(Code::INVALID_VALUE));
        assert!(text.is_null());
        assert_eq!(name(0, Out::null()), Err(Code::INVALID_VALUE));
    }

    #[test]
    fn numbers_are_there_once() {
        assert!(TABLE.windows(2).all(|rows| rows[0].0 < rows[1].0));
    }
}
