//! Memory, and copies that are done at the return.

use cuda::driver::*;

use crate::session::*;

#[test]
fn bytes_go_there_and_come_back() {
    let _session = Session::new();
    let (a, b) = (allocate(100), allocate(100));
    let bytes: Vec<u8> = (0..100).collect();
    unsafe {
        ok(cuMemcpyHtoD_v2(a, bytes.as_ptr() as u64, 100));
        ok(cuMemcpyDtoD_v2(b, a + 10, 90));
        ok(cuMemsetD32_v2(b + 88, 0x0403_0201, 3));
        ok(cuMemsetD16_v2(b, 0xabcd, 2));
    }
    let got = download(b, 100);
    assert_eq!(got[..5], [0xcd, 0xab, 0xcd, 0xab, 14]);
    assert_eq!(got[87..], [97, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]);
    let mut host = [0u8; 100];
    unsafe {
        ok(cuMemcpy(host.as_mut_ptr() as u64, a, 100));
        ok(cuMemFree_v2(a));
        ok(cuMemFree_v2(b));
    }
    assert_eq!(host[..], bytes[..]);
    no_report();
}

#[test]
fn arguments_that_make_no_sense_are_refused_and_reported() {
    let _session = Session::new();
    let a = allocate(100);
    let host = [0u8; 200];
    unsafe {
        assert_eq!(cuMemcpyHtoD_v2(a, host.as_ptr() as u64, 101), INVALID_VALUE);
        one_report("OutOfBounds", &["cuMemcpyHtoD", &format!("{:#x}", a + 100)]);
        assert_eq!(cuMemsetD8_v2(a + 99, 0, 2), INVALID_VALUE);
        one_report("OutOfBounds", &["cuMemsetD8"]);
        assert_eq!(cuMemcpyHtoD_v2(a, a, 10), INVALID_VALUE, "an address of the device is none of the host");
        assert_eq!(cuMemcpyHtoD_v2(a, 0, 10), INVALID_VALUE, "null");
        assert_eq!(cuMemsetD32_v2(a + 2, 0, 1), INVALID_VALUE, "alignment");
        assert_eq!(cuMemsetD32_v2(a, 0, usize::MAX / 2), INVALID_VALUE, "more bytes than there are");
        reports();
        assert_eq!(cuMemFree_v2(a + 4), INVALID_VALUE, "not the start of an allocation");
        one_report("OutOfBounds", &["cuMemFree"]);
        ok(cuMemFree_v2(a));
        assert_eq!(cuMemFree_v2(a), INVALID_VALUE);
        one_report("UseAfterFree", &["cuMemFree"]);
        assert_eq!(cuMemcpyDtoH_v2(host.as_ptr() as u64, a, 1), INVALID_VALUE);
        one_report("UseAfterFree", &["cuMemcpyDtoH"]);
        ok(cuMemFree_v2(0));
        let mut address = 0;
        assert_eq!(cuMemAlloc_v2((&mut address).into(), 0), INVALID_VALUE);
        assert_eq!(cuMemAlloc_v2((&mut address).into(), 1 << 50), OUT_OF_MEMORY);
        assert_eq!(cuMemAlloc_v2(Out::null(), 8), INVALID_VALUE);
    }
    no_report();
    synchronize_all();
}

#[test]
fn copying_what_nobody_wrote_is_reported_and_done() {
    let _session = Session::new();
    let (a, b) = (allocate(64), allocate(64));
    fill(a, 7, 60, 0);
    copy(b, a, 64, 0);
    no_report();
    assert_eq!(download(b, 60), [7; 60]);
    no_report();
    assert_eq!(download(b, 64)[..60], [7; 60]);
    one_report("Uninitialised", &["cuMemcpyDtoH", &format!("{:#x}", b + 60)]);
    flgEmulatorSetChecked(0);
    download(b, 64);
    no_report();
}

#[test]
fn addresses_tell_what_they_are() {
    let _session = Session::new();
    let (a, host) = (allocate(100), pinned(50).as_ptr() as u64);
    let ask = |attribute, address| {
        let mut value = 0u64;
        let code = unsafe { cuPointerGetAttribute((&mut value).into(), attribute, address) };
        (code, value)
    };
    assert_eq!(ask(2, a + 5), (OK, 2), "memory of the device");
    assert_eq!(ask(2, host + 49), (OK, 1), "memory of the host");
    assert_eq!(ask(2, host + 50).0, INVALID_VALUE);
    assert_eq!(ask(2, &raw const a as u64).0, INVALID_VALUE, "pageable memory is not known");
    assert_eq!((ask(11, a + 5), ask(12, a + 5)), ((OK, a), (OK, 100)));
    let (mut start, mut bytes) = (0, 0);
    ok(unsafe { cuMemGetAddressRange_v2((&mut start).into(), (&mut bytes).into(), a + 99) });
    assert_eq!((start, bytes), (a, 100));
    ok(unsafe { cuMemFreeHost(host) });
    assert_eq!(unsafe { cuMemFreeHost(host) }, INVALID_VALUE);
}

#[test]
fn memory_of_the_program_can_be_pinned() {
    let _session = Session::new();
    let mut host = vec![0u8; 4096];
    let place = host.as_mut_ptr() as u64;
    unsafe {
        ok(cuMemHostRegister_v2(place, 4096, 0));
        assert_eq!(cuMemHostRegister_v2(place + 100, 10, 0), 712);
        let a = allocate(64);
        fill(a, 5, 64, 0);
        ok(cuMemcpyDtoHAsync_v2(place, a, 64, 0));
        assert_eq!(host[0], 0, "late, being pinned");
        synchronize(0);
        assert_eq!(host[..65], [[5; 64].as_slice(), &[0]].concat()[..]);
        ok(cuMemHostUnregister(place));
        assert_eq!(cuMemHostUnregister(place), 713);
    }
    no_report();
}

#[test]
fn rows_with_gaps_are_copied() {
    let _session = Session::new();
    let a = allocate(200);
    fill(a, 0, 200, 0);
    let from: Vec<u8> = (0..100).collect();
    let up = Plane {
        from_x: 2,
        from_y: 1,
        from_kind: 1,
        from_host: from.as_ptr() as u64,
        from_pitch: 10,
        to_kind: 2,
        to_device: a,
        to_pitch: 20,
        width: 3,
        height: 4,
        ..Plane::default()
    };
    ok(unsafe { cuMemcpy2D_v2([up].as_slice().into()) });
    let got = download(a, 80);
    for row in 0..4 {
        let first = 10 * (row + 1) + 2;
        assert_eq!(got[20 * row as usize..][..5], [first, first + 1, first + 2, 0, 0]);
    }
    let bad = Plane { to_pitch: 2, ..up };
    assert_eq!(unsafe { cuMemcpy2D_v2([bad].as_slice().into()) }, INVALID_VALUE);
    let array = Plane { to_kind: 3, ..up };
    assert_eq!(unsafe { cuMemcpy2D_v2([array].as_slice().into()) }, NOT_SUPPORTED);
    no_report();
}
