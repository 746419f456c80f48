//! Modules, and what a launch is held to.

use cuda::driver::*;

use crate::session::*;

/// `-arch=compute_80`, by nvcc.
const PTX: &str = concat!(include_str!("kernels.ptx"), "\0");

fn module() -> u64 {
    let mut module = 0;
    ok(unsafe { cuModuleLoadData((&mut module).into(), PTX.as_bytes().into()) });
    module
}

fn function(module: u64, name: &std::ffi::CStr) -> u64 {
    let mut function = 0;
    ok(unsafe { cuModuleGetFunction((&mut function).into(), module, name.into()) });
    function
}

/// One dimension of blocks and of threads.
fn launch(function: u64, blocks: u32, threads: u32, shared: u32, stream: u64, params: &[u64]) -> i32 {
    unsafe { cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, shared, stream, params.into(), In::null()) }
}

fn at<T>(value: &T) -> u64 {
    &raw const *value as u64
}

#[test]
fn variables_of_a_module_are_there_with_their_values() {
    let _session = Session::new();
    let module = module();
    let (mut address, mut bytes) = (0, 0);
    unsafe {
        ok(cuModuleGetGlobal_v2((&mut address).into(), (&mut bytes).into(), module, c"scale_table".into()));
        assert_eq!(bytes, 16);
        let values: Vec<f32> =
            download(address, 16).chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0]);
        ok(cuModuleGetGlobal_v2((&mut address).into(), Out::null(), module, c"counter".into()));
        assert_eq!(download(address, 4), [0; 4]);
        assert_eq!(cuModuleGetGlobal_v2((&mut address).into(), Out::null(), module, c"no".into()), 500);
        let mut function = 0;
        assert_eq!(cuModuleGetFunction((&mut function).into(), module, c"no".into()), 500);
        ok(cuModuleUnload(module));
        assert_eq!(cuModuleUnload(module), INVALID_HANDLE);
        assert_eq!(cuMemsetD8_v2(address, 0, 1), INVALID_VALUE, "freed with its module");
    }
    one_report("UseAfterFree", &["cuMemsetD8"]);
}

#[test]
fn a_text_that_can_not_be_read_is_told_with_its_line() {
    let _session = Session::new();
    let text = PTX.replace("fma.rn.f32", "fma.wrong.f32");
    let line = text.lines().position(|line| line.contains("fma.wrong")).unwrap() + 1;
    let (mut module, mut log) = (0, [1u8; 100]);
    let names = [8, 5, 6]; // the target from the context, a buffer for errors, its bytes, which are written as well
    let mut values = [0, log.as_mut_ptr() as u64, log.len() as u64];
    let code = unsafe {
        let image = text.as_bytes().into();
        cuModuleLoadDataEx(
            (&mut module).into(),
            image,
            3,
            names.as_slice().into(),
            values.as_mut_ptr().cast_const().into(),
        )
    };
    assert_eq!(code, 218);
    let log = String::from_utf8(log[..values[2] as usize].to_vec()).unwrap();
    assert!(log.starts_with(&format!("ptx line {line}:")) && log.len() < 100, "{log}");
    let code = unsafe { cuModuleLoadData((&mut module).into(), b"\x7fELF\0".as_slice().into()) };
    assert_eq!(code, 209, "machine code");
    assert_eq!(unsafe { cuModuleLoad((&mut module).into(), c"/no/such/file".into()) }, 301);
}

#[test]
fn one_text_can_be_linked() {
    let _session = Session::new();
    let (mut linker, mut image, mut bytes, mut module) = (0, 0u64, 0, 0);
    let none = In::null;
    unsafe {
        ok(cuLinkCreate_v2(0, none(), In::null(), (&mut linker).into()));
        let data = PTX.as_bytes().into();
        ok(cuLinkAddData_v2(linker, 1, data, PTX.len(), c"name".into(), 0, none(), In::null()));
        assert_eq!(cuLinkAddData_v2(linker, 1, data, PTX.len(), c"name".into(), 0, none(), In::null()), NOT_SUPPORTED);
        ok(cuLinkComplete(linker, (&mut image).into(), (&mut bytes).into()));
        assert_eq!(bytes, PTX.len());
        ok(cuModuleLoadData((&mut module).into(), In::from(image as *const u8)));
        ok(cuLinkDestroy(linker));
        assert_eq!(cuLinkDestroy(linker), INVALID_HANDLE);
    }
    function(module, c"saxpy");
}

#[test]
fn launches_outside_the_limits_are_refused_and_reported() {
    let _session = Session::new();
    let module = module();
    let (nothing, bounded, reversed) =
        (function(module, c"nothing"), function(module, c"bounded"), function(module, c"reversed"));
    let y = allocate(4096);
    let params = [at(&y)];
    let refused = |code: i32, expected: i32, word: &str| {
        assert_eq!(code, expected);
        one_report("LaunchLimit", &[word]);
    };
    ok(launch(nothing, 1, 1024, 0, 0, &[]));
    refused(launch(nothing, 0, 1, 0, 0, &[]), INVALID_VALUE, "grid");
    refused(launch(nothing, 1, 0, 0, 0, &[]), INVALID_VALUE, "block");
    refused(launch(nothing, 1, 1025, 0, 0, &[]), INVALID_VALUE, "block");
    let tall = |y, z| unsafe { cuLaunchKernel(nothing, 1, y, 1, 1, 1, z, 0, 0, In::null(), In::null()) };
    refused(tall(65536, 1), INVALID_VALUE, "grid");
    refused(tall(1, 65), INVALID_VALUE, "block");
    refused(launch(bounded, 1, 65, 0, 0, &params), 701, "compiled for 64");
    refused(launch(reversed, 1, 32, (48 << 10) + 1, 0, &params), INVALID_VALUE, "cuFuncSetAttribute");
    unsafe {
        ok(cuFuncSetAttribute(reversed, 8, 163 << 10));
        assert_eq!(cuFuncSetAttribute(reversed, 8, (163 << 10) + 1), INVALID_VALUE);
    }
    ok(launch(nothing, 1, 1, 48 << 10, 0, &[]));
    let none = unsafe { cuLaunchKernel(bounded, 1, 1, 1, 1, 1, 1, 0, 0, In::null(), In::null()) };
    refused(none, INVALID_VALUE, "parameters");
    assert_eq!(launch(nothing, 1, 1, 0, 0x77, &[]), INVALID_HANDLE, "a stream that is none");
    assert_eq!(launch(0x77, 1, 1, 0, 0, &[]), INVALID_HANDLE);
}

#[test]
fn attributes_of_kernels_are_told() {
    let _session = Session::new();
    let module = module();
    let ask = |function, attribute| {
        let mut value = 0;
        let code = unsafe { cuFuncGetAttribute((&mut value).into(), attribute, function) };
        if code == OK { value } else { -code }
    };
    let (bounded, reversed) = (function(module, c"bounded"), function(module, c"reversed"));
    assert_eq!((ask(bounded, 0), ask(reversed, 0)), (64, 1024));
    assert_eq!((ask(bounded, 1), ask(bounded, 8)), (0, 48 << 10));
    assert_eq!((ask(bounded, 6), ask(bounded, 4), ask(bounded, 99)), (80, -NOT_SUPPORTED, -INVALID_VALUE));
    let (mut of, mut again) = (0, 0);
    ok(unsafe { cuFuncGetModule((&mut of).into(), bounded) });
    ok(unsafe { cuModuleGetFunction((&mut again).into(), module, c"bounded".into()) });
    assert_eq!((of, again), (module, bounded));
}

#[test]
fn occupancy_follows_threads_blocks_and_shared_memory() {
    let _session = Session::new();
    let reversed = function(module(), c"reversed");
    let active = |threads, shared| {
        let mut blocks = -1;
        ok(unsafe { cuOccupancyMaxActiveBlocksPerMultiprocessor((&mut blocks).into(), reversed, threads, shared) });
        blocks
    };
    assert_eq!((active(32, 0), active(128, 0), active(129, 0), active(1024, 0)), (32, 16, 12, 2));
    assert_eq!((active(128, 40 << 10), active(128, 48 << 10), active(128, 49 << 10)), (4, 3, 0));
    let (mut grid, mut block, mut bytes) = (0, 0, 0);
    unsafe {
        let (g, b) = ((&mut grid).into(), (&mut block).into());
        ok(cuOccupancyMaxPotentialBlockSize(g, b, reversed, None, 0, 0));
        ok(cuOccupancyAvailableDynamicSMemPerBlock((&mut bytes).into(), reversed, 4, 256));
    }
    assert_eq!((grid, block, bytes), (216, 1024, 40 << 10));
}

#[test]
fn kernels_run_with_parameters_in_both_forms() {
    let _session = Session::new();
    let saxpy = function(module(), c"saxpy");
    let n = 1003usize;
    let (x, y) = (allocate(4 * n), allocate(4 * n));
    let host: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let (count, a) = (n as i32, 2f32);
    unsafe {
        ok(cuMemcpyHtoD_v2(x, host.as_ptr() as u64, 4 * n));
        ok(cuMemcpyHtoD_v2(y, host.as_ptr() as u64, 4 * n));
    }
    ok(launch(saxpy, 8, 128, 0, 0, &[at(&count), at(&a), at(&x), at(&y)]));
    let mut buffer = [0u8; 24];
    buffer[..4].copy_from_slice(&count.to_le_bytes());
    buffer[4..8].copy_from_slice(&a.to_le_bytes());
    buffer[8..16].copy_from_slice(&x.to_le_bytes());
    buffer[16..].copy_from_slice(&y.to_le_bytes());
    let mut bytes = 24usize;
    let packed = |bytes: &usize| {
        let extra = [1, at(&buffer), 2, at(bytes), 0];
        unsafe { cuLaunchKernel(saxpy, 8, 1, 1, 128, 1, 1, 0, 0, In::null(), extra.as_slice().into()) }
    };
    ok(packed(&bytes));
    let got: Vec<f32> =
        download(y, 4 * n).chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert!((0..n).all(|i| got[i] == 5.0 * i as f32));
    no_report();
    bytes = 20;
    assert_eq!(packed(&bytes), INVALID_VALUE);
    one_report("LaunchLimit", &["20 bytes of parameters, but it has 24"]);
    bytes = 100;
    assert_eq!(packed(&bytes), INVALID_VALUE);
}

#[test]
fn kernels_of_two_streams_that_meet_are_reported() {
    for seed in 0..6 {
        let _session = Session::with_seed(seed);
        let module = module();
        let (bounded, scaled) = (function(module, c"bounded"), function(module, c"scaled"));
        let (s, t, e) = (stream(NON_BLOCKING), stream(NON_BLOCKING), event());
        let (y, n) = (allocate(256), 64i32);
        ok(launch(bounded, 1, 64, 0, s, &[at(&y)]));
        record(e, s);
        wait(t, e);
        ok(launch(scaled, 1, 64, 0, t, &[at(&y), at(&n)]));
        synchronize(t);
        no_report();
        ok(launch(scaled, 1, 64, 0, s, &[at(&y), at(&n)]));
        fill(y + 128, 0, 128, t);
        synchronize_all();
        one_report("StreamRace", &["kernel scaled (operation 5, stream 1)", "cuMemsetD8Async (operation 6, stream 2)"]);
    }
}

#[test]
fn a_kernel_that_leaves_its_memory_stops_the_context_until_it_is_reset() {
    let _session = Session::new();
    let (mut context, mut module, mut outside, mut now) = (0, 0, 0, 0);
    unsafe {
        ok(cuDevicePrimaryCtxRetain((&mut context).into(), 0));
        ok(cuCtxPushCurrent_v2(context));
        ok(cuModuleLoadData((&mut module).into(), PTX.as_bytes().into()));
        ok(cuModuleGetFunction((&mut outside).into(), module, c"outside".into()));
        let y = allocate(64);
        ok(launch(outside, 1, 1, 0, 0, &[at(&y)]));
        no_report();
        assert_eq!(cuCtxSynchronize(), ILLEGAL_ADDRESS);
        one_report("OutOfBounds in outside", &[&format!("{:#x}", y + (4 << 20))]);
        assert_eq!(launch(outside, 1, 1, 0, 0, &[at(&y)]), ILLEGAL_ADDRESS);
        assert_eq!(cuMemsetD8_v2(y, 0, 1), ILLEGAL_ADDRESS);
        ok(cuDevicePrimaryCtxReset_v2(0));
        assert_eq!(cuCtxSynchronize(), 709, "the context was destroyed");
        ok(cuCtxPopCurrent_v2((&mut now).into()));
        ok(cuDevicePrimaryCtxRetain((&mut context).into(), 0));
        ok(cuCtxPushCurrent_v2(context));
        fill(allocate(64), 1, 64, 0);
        synchronize_all();
        ok(cuCtxPopCurrent_v2((&mut now).into()));
        ok(cuDevicePrimaryCtxRelease_v2(0));
    }
    no_report();
}

#[test]
fn launches_are_counted() {
    let _session = Session::new();
    let reversed = function(module(), c"reversed");
    let y = allocate(256);
    fill(y, 0, 256, 0);
    ok(launch(reversed, 1, 64, 256, 0, &[at(&y)]));
    synchronize(0);
    let needed = unsafe { flgEmulatorTakeCounters(std::ptr::null_mut(), 0) };
    let mut text = vec![0; needed];
    assert_eq!(unsafe { flgEmulatorTakeCounters(text.as_mut_ptr(), needed) }, needed);
    let text = String::from_utf8(text).unwrap();
    let line = text.lines().last().unwrap();
    let start = r#"{"kernel":"reversed","grid":[1, 1, 1],"block":[64, 1, 1],"shared":256,"warp_instructions":"#;
    let rest = line.strip_prefix(start).unwrap_or_else(|| panic!("{line}"));
    let instructions: u64 = rest.split(['}', ',']).next().unwrap().parse().unwrap();
    assert!(instructions >= 2 * 8, "two warps of a dozen instructions each: {line}");
    assert_eq!(unsafe { flgEmulatorTakeCounters(std::ptr::null_mut(), 0) }, 0, "taken");
    no_report();
}

#[test]
fn a_kernel_beside_an_upload_without_a_stream_is_reported() {
    for seed in 0..10 {
        let _session = Session::with_seed(seed);
        let scaled = function(module(), c"scaled");
        let (s, y, n, host) = (stream(NON_BLOCKING), allocate(64), 16i32, [1f32; 16]);
        ok(unsafe { cuMemcpyHtoD_v2(y, host.as_ptr() as u64, 64) });
        ok(launch(scaled, 1, 16, 0, s, &[at(&y), at(&n)]));
        synchronize(s);
        synchronize_all();
        let all = reports();
        assert!(all.iter().any(|line| line.starts_with("StreamRace") && line.contains("kernel scaled")), "{all:#?}");
    }
}
