//! The linker, as far as it does nothing: one PTX text in, the same text out.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::{Answer, Code};
use super::pointer::{HostRange, In, Out, Text};
use super::state::{Handle, new_handle, with_context};
use super::{journal, module};
use crate::ptx;

/// `CU_JIT_INPUT_PTX`.
const PTX: i32 = 1;

/// Linkers with their texts.
static LINKERS: Mutex<BTreeMap<Handle, Option<CString>>> = Mutex::new(BTreeMap::new());

exports! {
    /// A linker. Options mean nothing here.
    fn cuLinkCreate_v2(options: u32, names: In<i32>, values: In<u64>, linker: Out<u64>) = create;
    /// Adds a PTX text.
    fn cuLinkAddData_v2(
        linker: u64, kind: i32, data: In<u8>, bytes: usize, name: Text, options: u32, names: In<i32>, values: In<u64>
    ) = add_data;
    /// The result, which lives as long as the linker, and its bytes.
    fn cuLinkComplete(linker: u64, image: Out<u64>, bytes: Out<usize>) = complete;
    /// Its end.
    fn cuLinkDestroy(linker: u64) = destroy;
}

fn create(_options: u32, _names: In<i32>, _values: In<u64>, linker: Out<u64>) -> Answer {
    with_context(|_| {
        let handle = new_handle();
        linkers().insert(handle, None);
        linker.put(handle)
    })
}

#[expect(clippy::too_many_arguments, reason = "the API's arguments")]
fn add_data(linker: u64, kind: i32, data: In<u8>, bytes: usize, _: Text, _: u32, _: In<i32>, _: In<u64>) -> Answer {
    let mut linkers = linkers();
    let text = linkers.get_mut(&linker).ok_or(Code::INVALID_HANDLE)?;
    if kind != PTX || text.is_some() {
        journal::say_once("only one PTX text can be linked");
        return Err(Code::NOT_SUPPORTED);
    }
    data.at(0)?;
    let data = HostRange::new(data.as_ptr() as u64, bytes)?;
    let source: Vec<u8> = data.bytes().iter().copied().take_while(|&byte| byte != 0).collect();
    let source = CString::new(source).map_err(|_| Code::INVALID_IMAGE)?;
    let readable = source.to_str().map_err(|_| Code::INVALID_IMAGE)?;
    ptx::Module::parse(readable).map_err(|error| {
        journal::say_once(&format!("a text can not be linked: {error}"));
        Code::INVALID_PTX
    })?;
    *text = Some(source);
    Ok(())
}

fn complete(linker: u64, image: Out<u64>, bytes: Out<usize>) -> Answer {
    let linkers = linkers();
    let text = linkers.get(&linker).ok_or(Code::INVALID_HANDLE)?.as_ref().ok_or(Code::INVALID_VALUE)?;
    // What `cuModuleLoadData` reads, here and nowhere else.
    debug_assert!(module::text(In::from(text.as_ptr().cast::<u8>())).is_ok());
    image.put(text.as_ptr() as u64)?;
    bytes.put_if_asked(text.as_bytes_with_nul().len());
    Ok(())
}

fn destroy(linker: u64) -> Answer {
    linkers().remove(&linker).map(|_| ()).ok_or(Code::INVALID_HANDLE)
}

fn linkers() -> MutexGuard<'static, BTreeMap<Handle, Option<CString>>> {
    LINKERS.lock().unwrap_or_else(PoisonError::into_inner)
}
