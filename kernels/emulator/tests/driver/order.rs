//! Orders that nobody promised: found whichever way the work happened to go.

use cuda::driver::*;

use crate::session::*;

#[test]
fn two_streams_without_an_event_are_reported_for_every_seed() {
    for seed in 0..20 {
        let _session = Session::with_seed(seed);
        let (s, t, a, b) = (stream(NON_BLOCKING), stream(NON_BLOCKING), allocate(64), allocate(64));
        fill(a, 1, 64, s);
        copy(b, a, 64, t);
        synchronize(s);
        synchronize(t);
        one_report(
            "StreamRace",
            &["cuMemsetD8Async (operation 1, stream 1)", "cuMemcpyDtoDAsync (operation 2, stream 2)"],
        );
    }
}

#[test]
fn two_reads_and_two_halves_are_no_race() {
    let _session = Session::new();
    let (s, t, a) = (stream(NON_BLOCKING), stream(NON_BLOCKING), allocate(128));
    let (b, c) = (allocate(64), allocate(64));
    fill(a, 1, 128, 0);
    synchronize(0);
    copy(b, a, 64, s);
    copy(c, a, 64, t);
    fill(a + 64, 2, 13, s);
    fill(a + 77, 3, 51, t);
    synchronize_all();
    no_report();
}

/// The classic: buffers are prepared by functions without a stream, and used in one that is not ordered with them.
#[test]
fn the_null_stream_does_not_order_a_non_blocking_one() {
    let _session = Session::new();
    let (s, a, b) = (stream(NON_BLOCKING), allocate(64), allocate(64));
    ok(unsafe { cuMemsetD8_v2(a, 1, 64) });
    fill(a, 2, 64, s);
    synchronize(s);
    synchronize(0);
    one_report("StreamRace", &["cuMemsetD8 ", "cuMemsetD8Async"]);
    let host = [3u8; 64];
    ok(unsafe { cuMemcpyHtoD_v2(b, host.as_ptr() as u64, 64) });
    copy(a, b, 64, s);
    synchronize_all();
    one_report("StreamRace", &["cuMemcpyHtoD ", "cuMemcpyDtoDAsync"]);
}

#[test]
fn a_host_that_waited_orders_what_follows() {
    let _session = Session::new();
    let (s, t, a) = (stream(NON_BLOCKING), stream(NON_BLOCKING), allocate(64));
    let host = [3u8; 64];
    ok(unsafe { cuMemcpyHtoD_v2(a, host.as_ptr() as u64, 64) });
    synchronize(0);
    fill(a, 1, 64, s);
    synchronize(s);
    fill(a, 2, 64, t);
    while unsafe { cuStreamQuery(t) } == NOT_READY {}
    assert_eq!(download(a, 64), [2; 64]);
    no_report();
}

/// Work that still waits elsewhere keeps what is known from being forgotten: the host's clock alone tells the order.
#[test]
fn a_host_that_waited_for_one_stream_or_event_orders_what_follows() {
    for seed in 0..10 {
        let _session = Session::with_seed(seed);
        let (s, t, other) = (stream(NON_BLOCKING), stream(NON_BLOCKING), stream(NON_BLOCKING));
        let (a, b, e) = (allocate(64), allocate(64), event());
        let wait_elsewhere = || (0..3).for_each(|_| fill(b, 1, 64, other));
        wait_elsewhere();
        fill(a, 1, 64, s);
        synchronize(s);
        fill(a, 2, 64, t);
        record(e, t);
        wait_elsewhere();
        ok(unsafe { cuEventSynchronize(e) });
        fill(a, 3, 64, s);
        synchronize(s);
        no_report();
        fill(a, 4, 64, t);
        wait_elsewhere();
        fill(a, 5, 64, s);
        synchronize_all();
        one_report("StreamRace", &["stream 1", "stream 2"]);
    }
}

#[test]
fn a_copy_without_a_stream_does_not_wait_for_a_non_blocking_one() {
    for seed in 0..10 {
        let _session = Session::with_seed(seed);
        let (s, a) = (stream(NON_BLOCKING), allocate(64));
        fill(a, 1, 64, 0);
        synchronize(0);
        fill(a, 2, 64, s);
        download(a, 64);
        synchronize(s);
        one_report("StreamRace", &["cuMemcpyDtoH", "cuMemsetD8Async"]);
    }
}

#[test]
fn pinned_memory_of_two_streams_is_watched() {
    let _session = Session::new();
    let (s, t, a, b) = (stream(NON_BLOCKING), stream(NON_BLOCKING), allocate(64), allocate(64));
    let host = pinned(64);
    fill(a, 1, 64, s);
    ok(download_late(host, a, s));
    ok(upload(b, host, t));
    synchronize_all();
    let all = reports();
    assert!(
        all.iter().any(|line| line.contains("cuMemcpyDtoHAsync") && line.contains("cuMemcpyHtoDAsync")),
        "{all:#?}"
    );
}

#[test]
fn freeing_what_is_in_use_is_reported() {
    let _session = Session::new();
    let (s, a, b) = (stream(NON_BLOCKING), allocate(64), allocate(64));
    fill(a, 1, 64, s);
    ok(unsafe { cuMemFree_v2(a) });
    one_report("StreamRace", &["cuMemFree frees", "cuMemsetD8Async"]);
    fill(b, 1, 64, s);
    synchronize(s);
    ok(unsafe { cuMemFree_v2(b) });
    no_report();
    let (c, host) = (allocate(64), pinned(64));
    fill(c, 1, 64, s);
    ok(download_late(host, c, s));
    ok(unsafe { cuMemFreeHost(host.as_ptr() as u64) });
    one_report("StreamRace", &["cuMemFreeHost frees", "cuMemcpyDtoHAsync"]);
}

#[test]
fn memory_in_the_order_of_a_stream_belongs_to_it() {
    let _session = Session::new();
    let (s, t, e) = (stream(NON_BLOCKING), stream(NON_BLOCKING), event());
    let mut a = 0;
    ok(unsafe { cuMemAllocAsync((&mut a).into(), 64, s) });
    fill(a, 1, 64, s);
    record(e, s);
    wait(t, e);
    fill(a, 2, 64, t);
    record(e, t);
    wait(s, e);
    ok(unsafe { cuMemFreeAsync(a, s) });
    synchronize(s);
    no_report();
    let mut b = 0;
    ok(unsafe { cuMemAllocAsync((&mut b).into(), 64, s) });
    fill(b, 1, 64, t);
    synchronize_all();
    one_report("StreamRace", &["cuMemAllocAsync", "cuMemsetD8Async"]);
}

#[test]
fn work_after_a_free_in_its_stream_stops_the_context_for_good() {
    let _session = Session::new();
    let (s, a) = (stream(NON_BLOCKING), allocate(64));
    let b = allocate(64);
    ok(unsafe { cuMemFreeAsync(a, s) });
    fill(a, 1, 64, s);
    let mut calls = 0u32;
    ok(unsafe { cuLaunchHostFunc(s, Some(count), &raw mut calls as usize) });
    assert_eq!(unsafe { cuStreamSynchronize(s) }, ILLEGAL_ADDRESS, "told when the host waits");
    one_report("UseAfterFree", &["cuMemsetD8Async (operation 2, stream 1)"]);
    unsafe {
        assert_eq!(cuMemFree_v2(b), ILLEGAL_ADDRESS, "and by every call from then on");
        assert_eq!(cuCtxSynchronize(), ILLEGAL_ADDRESS);
        assert_eq!(cuMemsetD8_v2(b, 0, 64), ILLEGAL_ADDRESS);
        let mut address = 0;
        assert_eq!(cuMemAlloc_v2((&mut address).into(), 8), ILLEGAL_ADDRESS);
    }
    assert_eq!(calls, 0, "what waited behind is not done");
    no_report();
}

#[test]
fn without_checks_nothing_is_compared() {
    let _session = Session::new();
    flgEmulatorSetChecked(0);
    let (s, t, a) = (stream(NON_BLOCKING), stream(NON_BLOCKING), allocate(64));
    fill(a, 1, 64, s);
    fill(a, 2, 64, t);
    synchronize_all();
    no_report();
}
