//! The device that is claimed, contexts, errors, and functions by name.

use std::ffi::CStr;

use cuda::driver::*;

use crate::session::*;

#[test]
fn the_device_says_that_it_is_none() {
    let _session = Session::new();
    let (mut count, mut name) = (0, [1u8; 64]);
    unsafe {
        ok(cuDeviceGetCount((&mut count).into()));
        assert_eq!(count, 1);
        ok(cuDeviceGetName((&mut name[0]).into(), 64, 0));
        assert!(CStr::from_bytes_until_nul(&name).unwrap().to_str().unwrap().contains("emulated"));
        name = [1; 64];
        ok(cuDeviceGetName((&mut name[0]).into(), 4, 0));
        assert_eq!(name[..5], *b"emu\0\x01", "cut to the room");
        assert_eq!(cuDeviceGetName((&mut name[0]).into(), 4, 1), 101, "no such device");
        let (mut major, mut minor) = (0, 9);
        ok(cuDeviceComputeCapability((&mut major).into(), (&mut minor).into(), 0));
        assert_eq!((major, minor), (8, 0));
    }
}

#[test]
fn limits_are_those_of_an_a100() {
    let _session = Session::new();
    let attribute = |number| {
        let mut value = -1;
        let code = unsafe { cuDeviceGetAttribute((&mut value).into(), number, 0) };
        if code == OK { value } else { -code }
    };
    assert_eq!((attribute(1), attribute(4), attribute(5)), (1024, 64, i32::MAX));
    assert_eq!((attribute(8), attribute(97), attribute(16)), (48 << 10, 163 << 10, 108));
    assert_eq!((attribute(0), attribute(9999)), (-INVALID_VALUE, -INVALID_VALUE));
    let (mut free, mut total) = (0, 0);
    ok(unsafe { cuMemGetInfo_v2((&mut free).into(), (&mut total).into()) });
    let _kept = allocate(1000);
    let mut less = 0;
    ok(unsafe { cuMemGetInfo_v2((&mut less).into(), Out::null()) });
    assert_eq!((free, less), (total, total - 1000));
}

#[test]
fn contexts_are_kept_on_a_stack_for_each_thread() {
    let session = Session::new();
    let (mut other, mut now) = (0, 0);
    unsafe {
        ok(cuCtxCreate_v2((&mut other).into(), 0, 0));
        ok(cuCtxGetCurrent((&mut now).into()));
        assert_eq!(now, other);
        let there = std::thread::spawn(move || {
            let mut now = 1;
            assert_eq!(cuCtxSynchronize(), 201, "no context on a new thread");
            ok(cuCtxSetCurrent(other));
            ok(cuCtxGetCurrent((&mut now).into()));
            now
        });
        assert_eq!(there.join().unwrap(), other);
        let mine = allocate(16);
        ok(cuCtxPopCurrent_v2((&mut now).into()));
        assert_eq!(now, other);
        ok(cuCtxGetCurrent((&mut now).into()));
        assert_eq!(now, session.context());
        assert_eq!(cuMemFree_v2(mine), INVALID_VALUE, "another context's memory");
        ok(cuCtxDestroy_v2(other));
        assert_eq!(cuCtxPushCurrent_v2(other), 201);
    }
}

#[test]
fn the_primary_context_lives_while_somebody_has_it() {
    let _session = Session::new();
    let (mut a, mut b, mut flags, mut active) = (0, 0, 9, 9);
    unsafe {
        ok(cuDevicePrimaryCtxSetFlags_v2(0, 4));
        ok(cuDevicePrimaryCtxRetain((&mut a).into(), 0));
        ok(cuDevicePrimaryCtxRetain((&mut b).into(), 0));
        assert_eq!(a, b);
        ok(cuDevicePrimaryCtxRelease_v2(0));
        ok(cuDevicePrimaryCtxGetState(0, (&mut flags).into(), (&mut active).into()));
        assert_eq!((flags, active), (4, 1));
        ok(cuDevicePrimaryCtxRelease_v2(0));
        ok(cuDevicePrimaryCtxGetState(0, (&mut flags).into(), (&mut active).into()));
        assert_eq!(active, 0);
        assert_eq!(cuDevicePrimaryCtxRelease_v2(0), 201);
        ok(cuDevicePrimaryCtxSetFlags_v2(0, 0));
    }
}

#[test]
fn functions_are_found_by_name() {
    let _session = Session::new();
    let find = |name: &CStr, version| {
        let (mut address, mut status): (*const (), i32) = (std::ptr::null(), 9);
        let code = unsafe { cuGetProcAddress_v2(name.into(), (&mut address).into(), version, 0, (&mut status).into()) };
        (code, address, status)
    };
    assert_eq!(find(c"cuMemAlloc", 12040), (OK, cuMemAlloc_v2 as *const (), 0));
    assert_eq!(find(c"cuLaunchKernel", 12040), (OK, cuLaunchKernel as *const (), 0));
    assert_eq!(find(c"cuGetProcAddress", 11040), (OK, cuGetProcAddress as *const (), 0));
    assert_eq!(find(c"cuNothing", 12040), (500, std::ptr::null(), 1));
}

#[test]
fn what_is_not_emulated_says_so() {
    let _session = Session::new();
    assert_eq!(cuTexObjectCreate(), NOT_SUPPORTED);
    assert_eq!(cuStreamBeginCapture_v2(), NOT_SUPPORTED);
    assert_eq!(cuLaunchKernelEx(), NOT_SUPPORTED);
}

/// The list of functions that cust 0.3.2 links to, which a program can not start without.
#[test]
fn all_that_cust_links_to_is_there() {
    let _session = Session::new();
    let names = include_str!("cust_functions.txt").split_whitespace();
    let mut found = 0;
    for name in names {
        let mut address: *const () = std::ptr::null();
        let text = std::ffi::CString::new(name).unwrap();
        let code = unsafe { cuGetProcAddress(text.as_c_str().into(), (&mut address).into(), 12040, 0) };
        assert_eq!(code, OK, "{name}");
        found += 1;
    }
    assert_eq!(found, 105);
}
