//! Launches: what is checked before a kernel is queued.

use super::device::{BLOCK, BLOCK_THREADS, GRID};
use super::error::{Answer, Code};
use super::function::{self, Function};
use super::journal;
use super::pointer::{HostRange, In};
use super::state::with_owner;
use super::work::{Kernel, Work};
use crate::report::Kind;

exports! {
    /// Queues a kernel. Parameters are given as pointers to each, or as one buffer by `extra`.
    fn cuLaunchKernel(
        function: u64, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32,
        shared: u32, stream: u64, parameters: In<u64>, extra: In<u64>
    ) = launch;
}

#[expect(clippy::too_many_arguments, reason = "the API's arguments")]
fn launch(
    function: u64,
    grid_x: u32,
    grid_y: u32,
    grid_z: u32,
    block_x: u32,
    block_y: u32,
    block_z: u32,
    shared: u32,
    stream: u64,
    parameters: In<u64>,
    extra: In<u64>,
) -> Answer {
    with_owner(function, |context| {
        let function = function::find(context, function)?;
        let stream = context.stream(stream)?;
        let shape = Shape {
            grid: [grid_x, grid_y, grid_z],
            block: [block_x, block_y, block_z],
            dynamic_shared: shared as usize,
        };
        shape.check(function).map_err(|(code, what)| refuse(function, code, what))?;
        let params = match (parameters.is_null(), extra.is_null()) {
            (false, true) => from_pointers(function, parameters)?,
            (true, false) => from_buffer(function, extra)?,
            (true, true) if function.entry().params.is_empty() => Vec::new(),
            _ => return Err(refuse(function, Code::INVALID_VALUE, "it has parameters in no form or in two".into())),
        };
        let name = format!("kernel {}", function.entry().name);
        let kernel = Kernel {
            module: function.module.clone(),
            entry: function.entry,
            globals: function.globals.clone(),
            grid: shape.grid,
            block: shape.block,
            dynamic_shared: shape.dynamic_shared,
            shared_limit: function.entry().shared + function.dynamic_shared,
            params,
        };
        context.queue.push(stream, &name, Work::Kernel(Box::new(kernel)));
        Ok(())
    })
}

/// The shape of a launch.
#[derive(Clone, Copy, Debug)]
struct Shape {
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: usize,
}

impl Shape {
    /// Whether the device and the kernel can do that.
    fn check(&self, function: &Function) -> Result<(), (Code, String)> {
        let outside = |extents: [u32; 3], limits: [u32; 3]| (0..3).any(|i| extents[i] == 0 || extents[i] > limits[i]);
        if outside(self.grid, GRID) {
            return Err((Code::INVALID_VALUE, format!("grid {:?}, of at least 1 and at most {GRID:?}", self.grid)));
        }
        let threads = self.block.iter().fold(1u32, |product, &extent| product.saturating_mul(extent));
        if outside(self.block, BLOCK) || threads > BLOCK_THREADS {
            let what = format!("block {:?}, of at most {BLOCK:?} and {BLOCK_THREADS} threads", self.block);
            return Err((Code::INVALID_VALUE, what));
        }
        if threads > function.max_threads() {
            let what = format!("{threads} threads a block, but it is compiled for {}", function.max_threads());
            return Err((Code::LAUNCH_OUT_OF_RESOURCES, what));
        }
        if self.dynamic_shared > function.dynamic_shared {
            let (asked, fixed, limit) = (self.dynamic_shared, function.entry().shared, function.dynamic_shared);
            let what = format!("{asked} bytes of dynamic shared memory beside {fixed} static ones, of at most {limit}");
            return Err((Code::INVALID_VALUE, format!("{what}: see cuFuncSetAttribute")));
        }
        Ok(())
    }
}

fn refuse(function: &Function, code: Code, detail: String) -> Code {
    let kernel = function.entry().name.clone();
    let detail = format!("a launch of {kernel} was refused: {detail}");
    journal::report_host(Kind::LaunchLimit, None, detail);
    code
}

/// Bytes of a kernel's parameter space.
fn space(function: &Function) -> usize {
    function.entry().params.iter().map(|param| param.offset + param.size).max().unwrap_or(0)
}

/// The parameter space, of a pointer to each parameter.
fn from_pointers(function: &Function, parameters: In<u64>) -> Answer<Vec<u8>> {
    let mut params = vec![0; space(function)];
    for (i, param) in function.entry().params.iter().enumerate() {
        let value = HostRange::new(parameters.at(i)?, param.size)?;
        params[param.offset..param.offset + param.size].copy_from_slice(value.bytes());
    }
    Ok(params)
}

/// The parameter space, of a list of keys and values that ends with a zero: 1 is the buffer, 2 where its bytes are said.
fn from_buffer(function: &Function, extra: In<u64>) -> Answer<Vec<u8>> {
    let (mut buffer, mut bytes) = (0, 0);
    for i in (0..).step_by(2) {
        match extra.at(i)? {
            0 => break,
            1 => buffer = extra.at(i + 1)?,
            2 => bytes = In::<u64>::from(extra.at(i + 1)? as *const u64).at(0)? as usize,
            _ => return Err(Code::INVALID_VALUE),
        }
    }
    let space = space(function);
    if !(space..=space.next_multiple_of(16)).contains(&bytes) {
        let what = format!("{bytes} bytes of parameters, but it has {space}");
        return Err(refuse(function, Code::INVALID_VALUE, what));
    }
    Ok(HostRange::new(buffer, space)?.bytes().to_vec())
}
