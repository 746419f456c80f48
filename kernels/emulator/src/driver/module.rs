//! Modules: PTX texts with their variables in device memory.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::sync::Arc;

use super::error::{Answer, Code};
use super::function::Function;
use super::journal;
use super::pointer::{In, Out, Text};
use super::state::{Context, Handle, new_handle, with_context, with_owner};
use super::work::span;
use crate::memory::Memory;
use crate::ptx;

/// A module of a context.
#[derive(Debug)]
pub(super) struct Module {
    ptx: Arc<ptx::Module>,
    /// Addresses of its variables.
    globals: Arc<Vec<u64>>,
    /// Handles of its kernels that were asked for, by index.
    functions: BTreeMap<usize, Handle>,
}

exports! {
    /// A module from a file.
    fn cuModuleLoad(module: Out<u64>, path: Text) = load_file;
    /// A module from a PTX text.
    fn cuModuleLoadData(module: Out<u64>, image: In<u8>) = load_data;
    /// A module from a PTX text, with options: buffers for logs are used, the others mean nothing here.
    fn cuModuleLoadDataEx(
        module: Out<u64>, image: In<u8>, options: u32, names: In<i32>, values: In<u64>
    ) = load_data_with_options;
    /// Its end. Work that waits is done first.
    fn cuModuleUnload(module: u64) = unload;
    /// A kernel, by its name.
    fn cuModuleGetFunction(function: Out<u64>, module: u64, name: Text) = function;
    /// Address and bytes of a variable, by its name.
    fn cuModuleGetGlobal_v2(address: Out<u64>, bytes: Out<usize>, module: u64, name: Text) = global;
}

/// Where options of a load want texts to go.
#[derive(Debug, Default)]
struct Logs {
    /// Place and bytes of the buffer for errors.
    error: (u64, usize),
    /// Place and bytes of the buffer for other messages.
    info: (u64, usize),
    /// Indices of the options that say the bytes: what was written goes there.
    error_size: Option<usize>,
    info_size: Option<usize>,
}

fn load_file(module: Out<u64>, path: Text) -> Answer {
    let image = std::fs::read(path.read()?).map_err(|_| Code::FILE_NOT_FOUND)?;
    let source = String::from_utf8(image).map_err(|error| refuse_binary(error.as_bytes()))?;
    with_context(|context| module.put(load(context, &source, &mut String::new())?))
}

fn load_data(module: Out<u64>, image: In<u8>) -> Answer {
    load_data_with_options(module, image, 0, In::null(), In::null())
}

fn load_data_with_options(module: Out<u64>, image: In<u8>, n: u32, names: In<i32>, values: In<u64>) -> Answer {
    let logs = Logs::read(n as usize, names, values)?;
    let source = text(image)?;
    let mut errors = String::new();
    let loaded = with_context(|context| load(context, &source, &mut errors));
    logs.write(values, &errors)?;
    module.put(loaded?)
}

/// The text of an image.
pub(super) fn text(image: In<u8>) -> Answer<String> {
    let first = [image.at(0)?];
    if [0x7f, 0x50, 0xb1].contains(&first[0]) {
        return Err(refuse_binary(&first));
    }
    // SAFETY: not null (`at`), and an image that is no binary is a text with a zero at its end.
    let text = unsafe { CStr::from_ptr(image.as_ptr().cast::<c_char>()) };
    text.to_str().map(str::to_owned).map_err(|_| Code::INVALID_IMAGE)
}

/// ELF files begin with 0x7f, fat binaries with 0x50 (of 0xba55ed50) or 0xb1 (of 0x466243b1).
fn refuse_binary(_image: &[u8]) -> Code {
    journal::say_once("a module is no PTX text: machine code can not be emulated");
    Code::NO_BINARY_FOR_GPU
}

fn load(context: &mut Context, source: &str, errors: &mut String) -> Answer<Handle> {
    let ptx = ptx::Module::parse(source).map_err(|error| {
        *errors = error.to_string();
        journal::say_once(&format!("a module can not be loaded: {error}"));
        Code::INVALID_PTX
    })?;
    let globals = place_globals(&context.memory, &ptx.globals)?;
    let handle = new_handle();
    let module = Module { ptx: Arc::new(ptx), globals: Arc::new(globals), functions: BTreeMap::new() };
    context.modules.insert(handle, module);
    Ok(handle)
}

/// Allocates variables and writes their initial bytes, with addresses of variables added where these have them.
fn place_globals(memory: &Memory, globals: &[ptx::Global]) -> Answer<Vec<u64>> {
    let mut addresses = Vec::new();
    for global in globals {
        let Some(address) = memory.allocate(global.size.max(1)) else {
            addresses.iter().for_each(|&address| memory.free(address).expect("allocated above"));
            return Err(Code::OUT_OF_MEMORY);
        };
        addresses.push(address);
    }
    for (global, &address) in globals.iter().zip(&addresses) {
        let mut initial = global.initial.clone().unwrap_or_default();
        initial.resize(global.size, 0);
        for relocation in &global.addresses {
            let bytes = &mut initial[relocation.at..relocation.at + 8];
            let offset = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            bytes.copy_from_slice(&addresses[relocation.global].wrapping_add(offset).to_le_bytes());
        }
        memory.write(address, &initial).expect("allocated above, with that size");
    }
    Ok(addresses)
}

fn unload(module: u64) -> Answer {
    with_owner(module, |context| {
        let done = context.queue.do_all();
        let module = context.modules.remove(&module).ok_or(Code::INVALID_HANDLE)?;
        for function in module.functions.values() {
            context.functions.remove(function);
        }
        for (&address, global) in module.globals.iter().zip(&module.ptx.globals) {
            context.queue.release(span(address, global.size.max(1)), "cuModuleUnload");
            if let Err(fault) = context.memory.free(address) {
                // The program freed a module's variable, which was refused only if it was not the whole of one.
                journal::say_once(&format!("cuModuleUnload: {fault}"));
            }
        }
        done
    })
}

fn function(function: Out<u64>, module: u64, name: Text) -> Answer {
    let name = name.read()?;
    with_owner(module, |context| {
        let module = context.modules.get_mut(&module).ok_or(Code::INVALID_HANDLE)?;
        let entry = module.ptx.entries.iter().position(|entry| entry.name == name).ok_or(Code::NOT_FOUND)?;
        let handle = *module.functions.entry(entry).or_insert_with(new_handle);
        let (ptx, globals) = (&module.ptx, &module.globals);
        context.functions.entry(handle).or_insert_with(|| Function::new(ptx.clone(), globals.clone(), entry));
        function.put(handle)
    })
}

fn global(address: Out<u64>, bytes: Out<usize>, module: u64, name: Text) -> Answer {
    let name = name.read()?;
    with_owner(module, |context| {
        let module = context.modules.get(&module).ok_or(Code::INVALID_HANDLE)?;
        let globals = &module.ptx.globals;
        let i = globals.iter().position(|global| global.name == name).ok_or(Code::NOT_FOUND)?;
        address.put_if_asked(module.globals[i]);
        bytes.put_if_asked(globals[i].size);
        Ok(())
    })
}

impl Module {
    /// Whether it was made of that text.
    pub(super) fn is(&self, ptx: &Arc<ptx::Module>) -> bool {
        Arc::ptr_eq(&self.ptx, ptx)
    }
}

impl Logs {
    /// Looks at no value but those of buffers: programs are known that give options without one.
    fn read(n: usize, names: In<i32>, values: In<u64>) -> Answer<Logs> {
        const INFO: i32 = 3;
        const INFO_SIZE: i32 = 4;
        const ERROR: i32 = 5;
        const ERROR_SIZE: i32 = 6;
        let mut logs = Logs::default();
        for i in 0..n {
            match names.at(i)? {
                INFO => logs.info.0 = values.at(i)?,
                ERROR => logs.error.0 = values.at(i)?,
                INFO_SIZE => (logs.info.1, logs.info_size) = (values.at(i)? as u32 as usize, Some(i)),
                ERROR_SIZE => (logs.error.1, logs.error_size) = (values.at(i)? as u32 as usize, Some(i)),
                _ => {}
            }
        }
        Ok(logs)
    }

    /// Writes the texts, cut to their buffers, and how many bytes they have in place of the buffers' sizes.
    fn write(&self, values: In<u64>, errors: &str) -> Answer {
        let logs = [(self.info, self.info_size, ""), (self.error, self.error_size, errors)];
        for ((place, room), size, text) in logs {
            let Some(size) = size else { continue };
            let mut written = 0;
            if place != 0 && room > 0 {
                let text: Vec<u8> = text.bytes().take(room - 1).chain([0]).collect();
                Out::at(place).put_all(&text)?;
                written = text.len() - 1;
            }
            Out::at(values.as_ptr() as u64 + 8 * size as u64).put(written as u64)?;
        }
        Ok(())
    }
}
