//! What is not emulated. Each answers `CUDA_ERROR_NOT_SUPPORTED` and says its name on stderr once, so that a program
//! which needs one learns which. The list has what cust 0.3.2 links to, and what else a program of ours might come to
//! call; a program that links to another function does not start.
//!
//! They are declared without arguments: none is looked at, and the C calling convention lets a function leave them.

use super::error::{Answer, Code};
use super::journal;

macro_rules! unsupported {
    ($($name:ident)*) => {
        $(
            /// Not emulated: answers `CUDA_ERROR_NOT_SUPPORTED`.
            #[unsafe(no_mangle)]
            #[allow(non_snake_case)]
            pub extern "C" fn $name() -> i32 {
                $crate::driver::guard(stringify!($name), || refuse(stringify!($name)))
            }
        )*

        /// What this file exports.
        pub(super) const EXPORTS: &[(&str, *const ())] = &[$((stringify!($name), $name as *const ())),*];
    };
}

unsupported! {
    cuArray3DCreate_v2
    cuArray3DGetDescriptor_v2
    cuArrayDestroy
    cuCtxDisablePeerAccess
    cuCtxEnablePeerAccess
    cuDestroyExternalMemory
    cuDeviceGetDefaultMemPool
    cuDeviceGetMemPool
    cuDeviceSetMemPool
    cuExternalMemoryGetMappedBuffer
    cuFuncGetParamInfo
    cuGraphAddKernelNode
    cuGraphAddMemcpyNode
    cuGraphAddMemsetNode
    cuGraphCreate
    cuGraphDebugDotPrint
    cuGraphDestroy
    cuGraphExecDestroy
    cuGraphGetEdges
    cuGraphGetNodes
    cuGraphInstantiateWithFlags
    cuGraphInstantiate_v2
    cuGraphKernelNodeGetParams
    cuGraphLaunch
    cuGraphNodeGetType
    cuImportExternalMemory
    cuIpcGetEventHandle
    cuIpcGetMemHandle
    cuLaunchCooperativeKernel
    cuLaunchCooperativeKernelMultiDevice
    cuLaunchKernelEx
    cuLibraryLoadData
    cuLinkAddFile_v2
    cuMemAddressReserve
    cuMemAdvise
    cuMemAllocFromPoolAsync
    cuMemAllocManaged
    cuMemAllocPitch_v2
    cuMemCreate
    cuMemHostGetDevicePointer_v2
    cuMemHostGetFlags
    cuMemMap
    cuMemPoolCreate
    cuMemPoolDestroy
    cuMemPoolGetAttribute
    cuMemPoolSetAttribute
    cuMemPoolTrimTo
    cuMemPrefetchAsync
    cuMemcpy3DAsync_v2
    cuMemcpy3D_v2
    cuMemcpyAtoH_v2
    cuMemcpyHtoA_v2
    cuMemcpyPeer
    cuMemcpyPeerAsync
    cuMemsetD2D16Async
    cuMemsetD2D16_v2
    cuMemsetD2D32Async
    cuMemsetD2D32_v2
    cuMemsetD2D8Async
    cuMemsetD2D8_v2
    cuModuleGetSurfRef
    cuModuleGetTexRef
    cuModuleLoadFatBinary
    cuStreamAddCallback
    cuStreamAttachMemAsync
    cuStreamBeginCapture_v2
    cuStreamCopyAttributes
    cuStreamEndCapture
    cuStreamGetCaptureInfo_v2
    cuStreamWaitValue32_v2
    cuStreamWriteValue32_v2
    cuSurfObjectCreate
    cuSurfObjectDestroy
    cuSurfObjectGetResourceDesc
    cuTensorMapEncodeTiled
    cuTexObjectCreate
    cuTexObjectDestroy
    cuTexObjectGetResourceDesc
    cuTexObjectGetResourceViewDesc
    cuThreadExchangeStreamCaptureMode
}

fn refuse(name: &str) -> Answer {
    journal::say_once(&format!("{name} is not emulated"));
    Err(Code::NOT_SUPPORTED)
}
