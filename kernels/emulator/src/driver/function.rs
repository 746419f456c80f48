//! Kernels of modules, and their attributes.

use std::sync::Arc;

use super::device::{BLOCK_THREADS, SHARED, SHARED_AT_MOST};
use super::error::{Answer, Code};
use super::journal;
use super::pointer::Out;
use super::state::{Context, Handle, with_owner};
use crate::ptx;

/// A kernel that a program has a handle of.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) module: Arc<ptx::Module>,
    pub(super) globals: Arc<Vec<u64>>,
    /// Index of the entry in its module.
    pub(super) entry: usize,
    /// Bytes of dynamic shared memory that launches may ask for.
    pub(super) dynamic_shared: usize,
}

exports! {
    /// An attribute, by its number.
    fn cuFuncGetAttribute(value: Out<i32>, attribute: i32, function: u64) = attribute;
    /// Sets an attribute: the limit of dynamic shared memory, up to 163 KiB less the static one.
    fn cuFuncSetAttribute(function: u64, attribute: i32, value: i32) = set_attribute;
    /// A preference, without a meaning here.
    fn cuFuncSetCacheConfig(function: u64, config: i32) = set_preference;
    /// A preference, without a meaning here.
    fn cuFuncSetSharedMemConfig(function: u64, config: i32) = set_preference;
    /// The module that the kernel is of.
    fn cuFuncGetModule(module: Out<u64>, function: u64) = module_of;
}

const MAX_THREADS: i32 = 0;
const SHARED_BYTES: i32 = 1;
const CONST_BYTES: i32 = 2;
const LOCAL_BYTES: i32 = 3;
const REGISTERS: i32 = 4;
const PTX_VERSION: i32 = 5;
const BINARY_VERSION: i32 = 6;
const CACHE_MODE: i32 = 7;
const MAX_DYNAMIC_SHARED: i32 = 8;
const CARVEOUT: i32 = 9;

impl Function {
    pub(super) fn new(module: Arc<ptx::Module>, globals: Arc<Vec<u64>>, entry: usize) -> Function {
        let fixed = module.entries[entry].shared;
        Function { module, globals, entry, dynamic_shared: SHARED.saturating_sub(fixed) }
    }

    pub(super) fn entry(&self) -> &ptx::Entry {
        &self.module.entries[self.entry]
    }

    /// Threads of a block that it may be launched with.
    pub(super) fn max_threads(&self) -> u32 {
        self.entry().max_threads.unwrap_or(BLOCK_THREADS).min(BLOCK_THREADS)
    }
}

/// A kernel by its handle.
pub(super) fn find(context: &Context, function: Handle) -> Answer<&Function> {
    context.functions.get(&function).ok_or(Code::INVALID_HANDLE)
}

/// How many registers a kernel has is decided by machine code, which there is none of.
fn attribute(value: Out<i32>, attribute: i32, function: u64) -> Answer {
    with_owner(function, |context| {
        let function = find(context, function)?;
        value.put(match attribute {
            MAX_THREADS => function.max_threads() as i32,
            SHARED_BYTES => function.entry().shared as i32,
            LOCAL_BYTES => function.entry().local as i32,
            PTX_VERSION | BINARY_VERSION => 80,
            CONST_BYTES | CACHE_MODE => 0,
            MAX_DYNAMIC_SHARED => function.dynamic_shared as i32,
            CARVEOUT => -1,
            REGISTERS => {
                journal::say_once("registers of a kernel are not known: only ptxas can say");
                return Err(Code::NOT_SUPPORTED);
            }
            _ => return Err(Code::INVALID_VALUE),
        })
    })
}

fn set_attribute(function: u64, attribute: i32, value: i32) -> Answer {
    with_owner(function, |context| {
        let function = context.functions.get_mut(&function).ok_or(Code::INVALID_HANDLE)?;
        match attribute {
            MAX_DYNAMIC_SHARED => {
                let bytes = usize::try_from(value).map_err(|_| Code::INVALID_VALUE)?;
                if bytes + function.entry().shared > SHARED_AT_MOST {
                    return Err(Code::INVALID_VALUE);
                }
                function.dynamic_shared = bytes;
                Ok(())
            }
            CARVEOUT if (-1..=100).contains(&value) => Ok(()),
            _ => Err(Code::INVALID_VALUE),
        }
    })
}

fn set_preference(function: u64, _config: i32) -> Answer {
    with_owner(function, |context| find(context, function).map(|_| ()))
}

fn module_of(module: Out<u64>, function: u64) -> Answer {
    with_owner(function, |context| {
        let of = find(context, function)?;
        let handle = context.modules.iter().find(|(_, module)| module.is(&of.module)).map(|(&handle, _)| handle);
        module.put(handle.ok_or(Code::INVALID_HANDLE)?)
    })
}
