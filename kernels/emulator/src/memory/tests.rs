use std::sync::atomic::AtomicU32;

use proptest::prelude::*;

use super::*;

fn memory() -> Memory {
    Memory::new(1 << 20).unwrap()
}

#[test]
fn bytes_come_back() {
    let memory = memory();
    let a = memory.allocate(1000).unwrap();
    assert_eq!(a % 256, 0);
    let bytes: Vec<u8> = (0..1000).map(|i| i as u8).collect();
    memory.write(a, &bytes).unwrap();
    let mut got = vec![0; 1000];
    memory.read(a, &mut got).unwrap();
    assert_eq!(got, bytes);
    assert_eq!(memory.allocation(a + 999), Some(Allocation { address: a, bytes: 1000 }));
    assert_eq!(memory.allocation(a + 1000), None);
    assert_eq!(memory.usage(), (1000, 1 << 20));
}

#[test]
fn no_byte_outside_an_allocation_is_reached() {
    let memory = memory();
    let (a, b) = (memory.allocate(100).unwrap(), memory.allocate(100).unwrap());
    assert!(b - (a + 100) >= 256, "a red zone");
    memory.fill(a, &[7], 100).unwrap();
    assert_eq!(memory.write(a, &[0; 101]), Err(Fault::OutOfBounds(a + 100)));
    assert_eq!(memory.read(a + 50, &mut [0; 51]), Err(Fault::OutOfBounds(a + 100)));
    assert_eq!(memory.fill(b - 1, &[0], 1), Err(Fault::OutOfBounds(b - 1)));
    assert_eq!(memory.fill(a - 1, &[0], 2), Err(Fault::OutOfBounds(a - 1)), "a red zone before the first");
    assert_eq!(memory.copy(a, b, 101), Err(Fault::OutOfBounds(a + 100)));
    assert_eq!(memory.check(0, 1), Err(Fault::OutOfBounds(0)), "null");
    let window = memory.window();
    let end = window.device_base + window.bytes as u64;
    assert_eq!(memory.check(end, 1), Err(Fault::OutOfBounds(end)));
    assert_eq!(memory.check(u64::MAX, 2), Err(Fault::OutOfBounds(u64::MAX)));
    let mut got = [0; 100];
    memory.read(a, &mut got).unwrap();
    assert_eq!(got, [7; 100], "a refused write writes nothing");
    assert_eq!(memory.nearest(a + 110).unwrap().address, a);
    assert_eq!(memory.nearest(b - 3).unwrap().address, b);
}

#[test]
fn no_bytes_are_no_access() {
    let memory = memory();
    assert_eq!(memory.allocate(0), None);
    assert_eq!(memory.read(0, &mut []), Ok(()));
    assert_eq!(memory.write(12345, &[]), Ok(()));
    assert_eq!(memory.copy(1, 2, 0), Ok(()));
    assert_eq!(memory.fill(3, &[0], 0), Ok(()));
}

#[test]
fn freed_memory_is_told_from_memory_that_never_was() {
    let memory = memory();
    let a = memory.allocate(64).unwrap();
    assert_eq!(memory.free(a + 8), Err(Fault::OutOfBounds(a + 8)), "only where an allocation begins");
    assert_eq!(memory.free(a), Ok(()));
    assert_eq!(memory.free(a), Err(Fault::UseAfterFree(a)), "twice");
    assert_eq!(memory.read(a + 5, &mut [0; 1]), Err(Fault::UseAfterFree(a + 5)));
    assert_eq!(memory.free(0), Err(Fault::OutOfBounds(0)));
    assert_eq!(memory.usage().0, 0);
    let b = memory.allocate(64).unwrap();
    assert_ne!(a, b, "freed addresses rest");
}

#[test]
fn what_nobody_wrote_is_known_byte_by_byte_and_moves_with_copies() {
    let memory = memory();
    let (a, b) = (memory.allocate(300).unwrap(), memory.allocate(300).unwrap());
    assert_eq!(memory.check_written(a, 300), Err(Fault::Uninitialised(a)));
    memory.write(a, &[1; 37]).unwrap();
    assert_eq!(memory.check_written(a, 37), Ok(()));
    assert_eq!(memory.check_written(a, 38), Err(Fault::Uninitialised(a + 37)));
    memory.fill(b, &[1, 2], 300).unwrap();
    assert_eq!(memory.check_written(b, 300), Ok(()));
    memory.copy(a, b + 10, 100).unwrap();
    assert_eq!(memory.check_written(b, 300), Err(Fault::Uninitialised(b + 10 + 37)));
    assert_eq!(memory.check_written(b + 110, 190), Ok(()));
    memory.free(b).unwrap();
    assert_eq!(memory.check_written(b, 1), Err(Fault::UseAfterFree(b)));
}

#[test]
fn capacity_is_a_limit_and_freed_addresses_return_when_it_must_be() {
    let memory = memory();
    assert_eq!(memory.allocate((1 << 20) + 1), None);
    let all = memory.allocate(1 << 20).unwrap();
    assert_eq!(memory.allocate(1), None);
    memory.free(all).unwrap();
    for size in [1, 255, 256, 257, 1 << 19, 1 << 20, usize::MAX] {
        // Far more than the range of addresses holds, one at a time.
        for _ in 0..40 {
            let Some(a) = memory.allocate(size) else {
                assert_eq!(size, usize::MAX);
                continue;
            };
            assert_eq!(memory.check_written(a, size), Err(Fault::Uninitialised(a)), "as new");
            memory.fill(a, &[1], size).unwrap();
            memory.free(a).unwrap();
        }
    }
}

#[test]
fn many_small_allocations_fill_the_capacity() {
    let memory = memory();
    let mut all = Vec::new();
    while let Some(a) = memory.allocate(1) {
        all.push(a);
    }
    assert_eq!(all.len(), (1 << 20) / 256);
    for a in all {
        memory.free(a).unwrap();
    }
    assert!(memory.allocate(1 << 20).is_some(), "neighbours are merged");
}

#[test]
fn memories_do_not_share_addresses_and_no_process_could_have_them() {
    let (a, b) = (memory(), memory());
    let at = a.allocate(16).unwrap();
    assert!(at >> 47 != 0 && at >> 57 == 0, "{at:#x} is not the address of anything in a process");
    assert_eq!(b.check(at, 1), Err(Fault::OutOfBounds(at)));
}

#[test]
fn the_window_shows_the_same_bytes() {
    let memory = memory();
    let a = memory.allocate(64).unwrap();
    memory.fill(a, &[1, 2, 3, 4], 32).unwrap();
    let window = memory.window();
    let at = (a - window.device_base) as usize;
    assert!(at < window.bytes);
    // SAFETY: inside the window, aligned (allocations are), through atomics.
    let (word, known, unknown) = unsafe {
        let word = AtomicU32::from_ptr(window.host.add(at + 4).cast());
        let known = std::sync::atomic::AtomicU8::from_ptr(window.shadow.add(at + 31));
        (word, known, std::sync::atomic::AtomicU8::from_ptr(window.shadow.add(at + 32)))
    };
    assert_eq!(word.load(Relaxed).to_ne_bytes(), [1, 2, 3, 4]);
    assert_eq!(known.load(Relaxed), shadow::ALLOCATED | shadow::WRITTEN);
    assert_eq!(unknown.load(Relaxed), shadow::ALLOCATED);
    word.store(u32::from_ne_bytes([9; 4]), Relaxed);
    let mut got = [0; 4];
    memory.read(a + 4, &mut got).unwrap();
    assert_eq!(got, [9; 4]);
}

#[test]
fn threads_allocate_fill_and_free_without_meeting() {
    let memory = memory();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let memory = &memory;
            scope.spawn(move || {
                let mut mine: Vec<(u64, usize, u8)> = Vec::new();
                for i in 0..300usize {
                    let bytes = 1 + (i * 37 + thread as usize * 11) % 3000;
                    let Some(a) = memory.allocate(bytes) else {
                        mine.drain(..).for_each(|(a, ..)| memory.free(a).unwrap());
                        continue;
                    };
                    let value = thread.wrapping_mul(31).wrapping_add(i as u8);
                    memory.fill(a, &[value], bytes).unwrap();
                    mine.push((a, bytes, value));
                    if i % 3 == 0 {
                        let (a, bytes, value) = mine.swap_remove(i % mine.len());
                        let mut got = vec![0; bytes];
                        memory.read(a, &mut got).unwrap();
                        assert!(got.iter().all(|&byte| byte == value));
                        memory.free(a).unwrap();
                    }
                }
                mine.into_iter().for_each(|(a, ..)| memory.free(a).unwrap());
            });
        }
    });
    assert_eq!(memory.usage().0, 0);
}

proptest! {
    #[test]
    fn copies_are_those_of_a_slice(from in 0usize..300_000, to in 0usize..300_000, bytes in 0usize..200_000) {
        let memory = memory();
        let a = memory.allocate(500_000).unwrap();
        let mut want: Vec<u8> = (0..500_000usize).map(|i| (i ^ (i >> 8) ^ (i >> 15)) as u8).collect();
        memory.write(a, &want).unwrap();
        memory.copy(a + from as u64, a + to as u64, bytes).unwrap();
        want.copy_within(from..from + bytes, to);
        let mut got = vec![0; want.len()];
        memory.read(a, &mut got).unwrap();
        prop_assert!(got == want);
    }
}
