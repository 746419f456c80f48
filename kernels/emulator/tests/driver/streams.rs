//! When work is done: late, in order where one was promised.

use cuda::driver::*;

use crate::session::*;

#[test]
fn nothing_is_done_before_somebody_waits() {
    let _session = Session::new();
    let (s, a, host) = (stream(NON_BLOCKING), allocate(64), pinned(64));
    let mut calls = 0u32;
    fill(a, 3, 64, s);
    ok(download_late(host, a, s));
    ok(unsafe { cuLaunchHostFunc(s, Some(count), &raw mut calls as usize) });
    assert_eq!((host[0], calls), (0, 0), "the host sees old bytes");
    synchronize(s);
    assert_eq!((host[0], calls), (3, 1));
    no_report();
}

#[test]
fn queries_answer_not_ready_and_get_there() {
    let _session = Session::new();
    let (s, a, e) = (stream(NON_BLOCKING), allocate(64), event());
    ok(unsafe { cuEventQuery(e) });
    for _ in 0..5 {
        fill(a, 1, 64, s);
    }
    record(e, s);
    let mut asked = 0;
    while unsafe { cuEventQuery(e) } == NOT_READY {
        asked += 1;
    }
    assert_eq!(asked, 6, "a step each");
    ok(unsafe { cuStreamQuery(s) });
    assert_eq!(download(a, 1), [1]);
    no_report();
}

#[test]
fn pageable_memory_is_read_at_the_call_and_pinned_memory_late() {
    let _session = Session::new();
    let (s, a) = (stream(NON_BLOCKING), allocate(64));
    let mut pageable = [1u8; 64];
    ok(upload(a, &pageable, s));
    pageable.fill(2);
    let mut got = [0; 64];
    ok(download_late(&mut got, a, s));
    assert_eq!(got, [1; 64], "a copy to pageable memory is done at the return");
    let pinned = pinned(64);
    pinned.fill(3);
    ok(upload(a, pinned, s));
    pinned[5] = 4;
    synchronize(s);
    one_report("StreamRace", &["the host changed pinned memory", "cuMemcpyHtoDAsync"]);
    ok(download_late(&mut got, a, s));
    assert_eq!(got[..7], [3, 3, 3, 3, 3, 4, 3], "as it was when the copy was done");
}

#[test]
fn events_order_streams() {
    for seed in 0..20 {
        let _session = Session::with_seed(seed);
        let (s, t, a, b) = (stream(NON_BLOCKING), stream(NON_BLOCKING), allocate(64), allocate(64));
        let (e, f) = (event(), event());
        fill(a, 1, 64, s);
        record(e, s);
        wait(t, e);
        copy(b, a, 64, t);
        record(f, t);
        wait(s, f);
        fill(a, 2, 64, s);
        synchronize(s);
        let mut got = [0; 64];
        ok(download_late(&mut got, b, t));
        assert_eq!(got, [1; 64], "seed {seed}");
        no_report();
    }
}

#[test]
fn an_event_stands_for_its_last_record_at_the_time_of_the_wait() {
    let _session = Session::new();
    let (s, t, a, e) = (stream(NON_BLOCKING), stream(NON_BLOCKING), allocate(64), event());
    record(e, s);
    wait(t, e);
    fill(a, 1, 64, s);
    record(e, s);
    fill(a + 32, 2, 32, t);
    synchronize_all();
    one_report("StreamRace", &["cuMemsetD8Async (operation 3, stream 1)", "(operation 5, stream 2)"]);
}

#[test]
fn the_null_stream_is_ordered_with_blocking_streams_only() {
    for seed in 0..20 {
        let _session = Session::with_seed(seed);
        let (s, t, a) = (stream(0), stream(0), allocate(64));
        fill(a, 1, 64, s);
        fill(a, 2, 64, 0);
        fill(a, 3, 64, t);
        fill(a, 4, 64, 0);
        assert_eq!(download(a, 64), [4; 64], "seed {seed}");
        no_report();
        let free = stream(NON_BLOCKING);
        fill(a, 5, 64, 0);
        fill(a, 6, 64, free);
        synchronize_all();
        one_report("StreamRace", &["cuMemsetD8Async", "stream 0", "stream 3"]);
    }
}

#[test]
fn a_host_that_waits_for_the_null_stream_waits_for_blocking_streams() {
    for seed in 0..10 {
        let _session = Session::with_seed(seed);
        let (s, a, host) = (stream(0), allocate(64), pinned(64));
        fill(a, 3, 64, s);
        ok(download_late(host, a, s));
        synchronize(0);
        assert_eq!(host[63], 3, "seed {seed}");
    }
}

#[test]
fn a_copy_without_a_stream_takes_bytes_after_earlier_work_of_the_null_stream() {
    let _session = Session::new();
    let (a, mut source) = (allocate(4), 6u32);
    ok(unsafe { cuLaunchHostFunc(0, Some(count), &raw mut source as usize) });
    ok(unsafe { cuMemcpyHtoD_v2(a, &raw const source as u64, 4) });
    assert_eq!(download(a, 4), [7, 0, 0, 0]);
    no_report();
}

#[test]
fn seeds_choose_among_orders_and_repeat() {
    let last = |seed| {
        let _session = Session::with_seed(seed);
        let a = allocate(64);
        let streams: Vec<u64> = (0..4).map(|_| stream(NON_BLOCKING)).collect();
        for (i, &s) in streams.iter().enumerate() {
            fill(a, i as u8, 64, s);
        }
        synchronize_all();
        assert!(!reports().is_empty());
        download(a, 1)[0]
    };
    let all: Vec<u8> = (0..24).map(last).collect();
    assert_eq!(all, (0..24).map(last).collect::<Vec<_>>(), "the same seed, the same order");
    assert!((0..4).all(|i| all.contains(&i)), "each may be last: {all:?}");
}

#[test]
fn long_queues_are_worked_off() {
    let _session = Session::new();
    let (s, a, host) = (stream(NON_BLOCKING), allocate(64), pinned(1));
    for i in 0..5000u32 {
        fill(a, i as u8, 64, s);
    }
    ok(download_late(host, a, s));
    synchronize(s);
    assert_eq!(host[0], 4999u32 as u8);
    no_report();
}

#[test]
fn handles_end_and_work_goes_on() {
    let _session = Session::new();
    let (s, a, e, host) = (stream(NON_BLOCKING), allocate(64), event(), pinned(1));
    fill(a, 9, 64, s);
    ok(download_late(host, a, s));
    record(e, s);
    unsafe {
        ok(cuStreamDestroy_v2(s));
        assert_eq!(cuStreamSynchronize(s), INVALID_HANDLE);
        assert_eq!(cuStreamDestroy_v2(s), INVALID_HANDLE);
        ok(cuEventSynchronize(e));
        ok(cuEventDestroy_v2(e));
        assert_eq!(cuEventSynchronize(e), INVALID_HANDLE);
    }
    assert_eq!(host[0], 9);
    no_report();
}

#[test]
fn time_passes_between_events() {
    let _session = Session::new();
    let (start, end, a) = (event(), event(), allocate(1 << 20));
    let mut time = -1.0;
    assert_eq!(unsafe { cuEventElapsedTime((&mut time).into(), start, end) }, INVALID_HANDLE, "not recorded");
    record(start, 0);
    fill(a, 1, 1 << 20, 0);
    record(end, 0);
    assert_eq!(unsafe { cuEventElapsedTime((&mut time).into(), start, end) }, NOT_READY);
    ok(unsafe { cuEventSynchronize(end) });
    ok(unsafe { cuEventElapsedTime((&mut time).into(), start, end) });
    assert!(time > 0.0, "{time}");
}

#[test]
fn functions_of_streams_may_not_call_the_driver() {
    unsafe extern "C" fn call(data: *mut std::ffi::c_void) {
        unsafe { *data.cast::<i32>() = cuCtxSynchronize() };
    }
    let _session = Session::new();
    let mut answer = 0;
    ok(unsafe { cuLaunchHostFunc(0, Some(call), &raw mut answer as usize) });
    synchronize(0);
    assert_eq!(answer, NOT_PERMITTED);
}
