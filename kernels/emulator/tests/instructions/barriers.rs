//! Barriers of a block and of a warp, with numbers, counts and reductions; fences.

use crate::case::Case;

/// `%v` is the thread's word; `%s` its word of shared memory, `%to` of the output.
const HEAD: &str = ".shared .align 4 .b32 s[256];\n.reg .b32 %v; .reg .b32 %r; .reg .b32 %s; .reg .b32 %x; .reg .b32 %y;\n\
                    .reg .b64 %f; .reg .b64 %to; .reg .pred %p; .reg .pred %q;\nmad.wide.u32 %f, %i, 4, %in;\n\
                    mad.wide.u32 %to, %i, 4, %out;\nld.global.b32 %v, [%f];\nmov.u32 %s, s;\nmad.lo.u32 %s, %t, 4, %s;\n";
/// Reads what the thread from the other end of the block wrote.
const OTHER: &str = "mov.u32 %x, %ntid.x;\nsub.u32 %x, %x, 1;\nsub.u32 %x, %x, %t;\nmov.u32 %y, s;\n\
                     mad.lo.u32 %x, %x, 4, %y;\nld.shared.b32 %r, [%x];\nst.global.b32 [%to], %r;\n";

fn words(count: u32) -> Vec<u32> {
    (0..count).map(|i| (i + 1).wrapping_mul(0x9e37_79b9)).collect()
}

/// What is written before is seen behind, by the whole block.
fn all(text: &str) -> Case {
    let opcode = text.split(' ').next().unwrap_or_default();
    let body = format!("{HEAD}st.shared.b32 [%s], %v;\n{text};\n{OTHER}");
    Case::new(&[opcode], &body, |device| {
        device.block = 192;
        for seed in 0..4 {
            device.seed = seed;
            let input = words(192);
            let reversed: Vec<u32> = input.iter().rev().copied().collect();
            assert_eq!(device.words(&input, 192), reversed);
        }
    })
}

/// Two warps meet at one barrier while two others do at another, a different number of times.
fn pairs(sync: &'static str) -> Case {
    let body = format!(
        "{HEAD}st.shared.b32 [%s], %v;\nsetp.lt.u32 %p, %t, 64;\n@!%p bra SECOND;\n{sync} 1, 64;\nxor.b32 %x, %t, 32;\n\
         bra.uni READ;\nSECOND: {sync} 2, 64;\n{sync} 2, 64;\nxor.b32 %x, %t, 32;\nREAD: mov.u32 %y, s;\n\
         mad.lo.u32 %x, %x, 4, %y;\nld.shared.b32 %r, [%x];\nst.global.b32 [%to], %r;\n"
    );
    Case::new(&[sync], &body, |device| {
        device.block = 128;
        for seed in 0..4 {
            device.seed = seed;
            let input = words(128);
            let found = device.words(&input, 128);
            assert!((0..128).all(|i| found[i] == input[i ^ 32]));
        }
    })
}

/// One warp writes and goes on, the other waits for it.
fn arrive(arrive: &'static str, sync: &'static str) -> Case {
    let body = format!(
        "{HEAD}setp.lt.u32 %p, %t, 32;\n@!%p bra SECOND;\nst.shared.b32 [%s], %v;\n{arrive} 3, 64;\n\
         st.global.b32 [%to], %v;\nret;\nSECOND: {sync} 3, 64;\nld.shared.b32 %r, [%s+-128];\nst.global.b32 [%to], %r;\n"
    );
    Case::new(&[arrive, sync], &body, |device| {
        device.block = 64;
        for seed in 0..4 {
            device.seed = seed;
            let input = words(64);
            let found = device.words(&input, 64);
            assert!((0..64).all(|i| found[i] == input[i % 32]));
        }
    })
}

/// What all threads are told of their predicates, of which `yes` hold.
fn reduce(class: &'static str, of: &'static str) -> Case {
    let (ty, result) = if of == "popc" { ("u32", "%r") } else { ("pred", "%q") };
    let opcode = format!("{class}.red.{of}.{ty}");
    let as_word = if of == "popc" { "" } else { "selp.b32 %r, 1, 0, %q;\n" };
    let body = |not: &str| {
        format!(
            "{HEAD}setp.ne.u32 %p, %v, 0;\nst.shared.b32 [%s], %v;\n{opcode} {result}, 0, {not}%p;\n{as_word}\
             mov.u32 %x, s;\nld.shared.b32 %y, [%x+380];\nmad.lo.u32 %r, %y, 1000, %r;\nst.global.b32 [%to], %r;\n"
        )
    };
    let negated = body("!");
    Case::new(&[&opcode], &body(""), move |device| {
        let mut other = crate::device::Device::new(&negated);
        (device.block, other.block) = (96, 96);
        for input in
            [vec![0; 96], vec![1; 96], (0..96).map(|i| u32::from(i == 40)).collect(), (0..96).map(|i| i % 2).collect()]
        {
            let input: Vec<u32> = input;
            for (device, not) in [(&*device, false), (&other, true)] {
                let yes = input.iter().filter(|word| (**word != 0) != not).count() as u32;
                let expected = match of {
                    "popc" => yes,
                    "and" => u32::from(yes == 96),
                    _ => u32::from(yes > 0),
                };
                assert_eq!(device.words(&input, 96), vec![input[95] * 1000 + expected; 96]);
            }
        }
    })
}

/// The lanes of a mask meet, whichever way they came.
fn of_a_warp() -> Case {
    let body = format!(
        "{HEAD}and.b32 %x, %t, 1;\nsetp.ne.u32 %p, %x, 0;\n@%p bra ODD;\nst.shared.b32 [%s], %v;\nbra.uni MEET;\n\
         ODD: not.b32 %x, %v;\nst.shared.b32 [%s], %x;\nMEET: bar.warp.sync 0xffffffff;\nxor.b32 %x, %t, 1;\n\
         mov.u32 %y, s;\nmad.lo.u32 %x, %x, 4, %y;\nld.shared.b32 %r, [%x];\nst.global.b32 [%to], %r;\n"
    );
    Case::new(&["bar.warp.sync"], &body, |device| {
        device.block = 64;
        let input = words(64);
        let found = device.words(&input, 64);
        assert!((0..64).all(|i| found[i] == if i % 2 == 0 { !input[i + 1] } else { input[i - 1] }));
    })
}

/// Lanes wait for others of their mask, while lanes that are not in it end; and lanes of a mask meet at two places.
fn beside_others() -> Vec<Case> {
    let waits = format!(
        "{HEAD}mov.u32 %r, 0;\nsetp.ge.u32 %p, %t, 8;\n@%p bra LATE;\n\
         HERE: shfl.sync.bfly.b32 %r, %v, 8, 0x1f, 0x0000ffff;\nbra.uni END;\n\
         LATE: setp.ge.u32 %p, %t, 16;\n@%p exit;\nbra HERE;\nEND: st.global.b32 [%to], %r;\n"
    );
    let meets = format!(
        "{HEAD}and.b32 %x, %t, 1;\nsetp.ne.u32 %p, %x, 0;\n@%p bra ODD;\nst.shared.b32 [%s], %v;\n\
         bar.warp.sync 0xffffffff;\nbra.uni GO;\nODD: not.b32 %x, %v;\nst.shared.b32 [%s], %x;\n\
         bar.warp.sync 0xffffffff;\nGO: xor.b32 %x, %t, 1;\nmov.u32 %y, s;\nmad.lo.u32 %x, %x, 4, %y;\n\
         ld.shared.b32 %r, [%x];\nst.global.b32 [%to], %r;\n"
    );
    vec![
        Case::new(&["shfl.sync.bfly.b32", "exit"], &waits, |device| {
            let input = words(32);
            let found = device.words(&input, 32);
            assert!((0..32).all(|i| found[i] == if i < 16 { input[i ^ 8] } else { 0 }));
        }),
        Case::new(&["bar.warp.sync"], &meets, |device| {
            device.block = 64;
            let input = words(64);
            let found = device.words(&input, 64);
            assert!((0..64).all(|i| found[i] == if i % 2 == 0 { !input[i + 1] } else { input[i - 1] }));
        }),
    ]
}

/// One warp writes, fences and raises a flag; another waits for the flag and reads: no race, and the new value.
fn fence(opcode: &'static str) -> Case {
    let body = format!(
        "{HEAD}setp.eq.u32 %p, %t, 0;\nmov.u32 %y, 0;\n@%p st.shared.b32 [s+512], %y;\nbar.sync 0;\n\
         setp.ge.u32 %q, %t, 32;\n@%q bra READ;\n@%p st.shared.b32 [s+516], %v;\n{opcode};\nmov.u32 %y, 1;\n\
         @%p st.volatile.shared.b32 [s+512], %y;\nst.global.b32 [%to], %v;\nret;\n\
         READ: ld.volatile.shared.b32 %y, [s+512];\nsetp.eq.u32 %p, %y, 0;\n@%p bra READ;\n{opcode};\n\
         ld.shared.b32 %r, [s+516];\nst.global.b32 [%to], %r;\n"
    );
    Case::new(&[opcode], &body, |device| {
        device.block = 64;
        for seed in 0..4 {
            device.seed = seed;
            let input = words(64);
            let found = device.words(&input, 64);
            assert!((0..64).all(|i| found[i] == if i < 32 { input[i] } else { input[0] }));
        }
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![of_a_warp()];
    cases.extend(beside_others());
    let everywhere = [
        "bar.sync 0",
        "bar.sync 5",
        "bar.sync 3, 192",
        "barrier.sync 0",
        "barrier.sync.aligned 1, 192",
        "bar.cta.sync 0",
        "barrier.cta.sync.aligned 0",
    ];
    cases.extend(everywhere.map(all));
    cases.extend(["bar.sync", "barrier.sync", "barrier.sync.aligned"].map(pairs));
    cases.extend([arrive("bar.arrive", "bar.sync"), arrive("barrier.arrive", "barrier.sync")]);
    for of in ["popc", "and", "or"] {
        cases.extend([reduce("bar", of), reduce("barrier", of)]);
    }
    let fences = [
        "membar.cta",
        "membar.gl",
        "membar.sys",
        "fence.acq_rel.cta",
        "fence.acq_rel.gpu",
        "fence.sc.gpu",
        "fence.acq_rel.sys",
    ];
    cases.extend(fences.map(fence));
    cases
}
