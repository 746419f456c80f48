//! Where lanes go: branches, loops, ends, calls; each lane must come to what it would by itself.

use cuda::report::Kind;

use crate::case::Case;

/// `%v` is the lane's word, `%r` its result; `%x`, `%y`, `%z`, `%p`, `%q` are free.
const HEAD: &str = ".reg .b32 %v; .reg .b32 %r; .reg .b32 %x; .reg .b32 %y; .reg .b32 %z; .reg .b64 %f; .reg .b64 %to;\n\
                    .reg .pred %p; .reg .pred %q;\nmad.wide.u32 %f, %i, 4, %in;\nmad.wide.u32 %to, %i, 4, %out;\n\
                    ld.global.b32 %v, [%f];\nmov.u32 %r, 0;\n";

/// Words in which neighbours differ, and a few are alike.
fn words(salt: u32) -> Vec<u32> {
    (0..64u32)
        .map(|i| ((i + salt).wrapping_mul(0x9e37_79b9) >> 9) % if salt.is_multiple_of(2) { 100 } else { 7 })
        .collect()
}

/// Runs two warps, and compares each lane's result with that of `of`; `None` is a lane that stores nothing.
fn flow(opcodes: &[&str], core: &str, of: fn(u32) -> Option<u32>) -> Case {
    let body = match core.split_once("\n---\n") {
        Some((functions, core)) => format!("{functions}\n---\n{HEAD}{core}"),
        None => format!("{HEAD}{core}"),
    };
    Case::new(opcodes, &body, move |device| {
        device.block = 64;
        for salt in 0..6 {
            device.seed = u64::from(salt);
            let input = words(salt);
            let found = device.words(&input, 64);
            for (lane, (word, found)) in input.iter().zip(found).enumerate() {
                assert_eq!(found, of(*word).unwrap_or(0), "lane {lane} with {word}");
            }
        }
    })
}

const STORE: &str = "st.global.b32 [%to], %r;\n";

/// Three branches within each other, whose ways meet in steps; and one way that all lanes go.
fn nested() -> Case {
    let core = format!(
        "setp.lt.u32 %p, %v, 3;\n@%p bra LOW;\nsetp.lt.u32 %q, %v, 50;\n@!%q bra HIGH;\nadd.u32 %r, %r, 10;\n\
         and.b32 %x, %v, 1;\nsetp.eq.u32 %p, %x, 0;\n@%p bra EVEN;\nadd.u32 %r, %r, 100;\nbra.uni JOIN;\n\
         EVEN: add.u32 %r, %r, 200;\nJOIN: add.u32 %r, %r, 1000;\nbra MEET;\nHIGH: sub.u32 %r, %v, 50;\nbra.uni MEET;\n\
         LOW: mov.u32 %r, 7;\nbra END;\nMEET: add.u32 %r, %r, 10000;\nEND: add.u32 %r, %r, %v;\n{STORE}"
    );
    flow(&["bra", "bra.uni"], &core, |v| {
        Some(
            v + match v {
                0..3 => 7,
                3..50 => 11010 + if v % 2 == 0 { 200 } else { 100 },
                _ => v - 50 + 10000,
            },
        )
    })
}

fn steps(mut v: u32) -> u32 {
    let mut count = 0;
    while v > 1 {
        v = if v.is_multiple_of(2) { v / 2 } else { 3 * v + 1 };
        count += 1;
    }
    count
}

/// As many rounds as the lane's word asks for, with a branch in each.
fn loops() -> Case {
    let core = format!(
        "mov.u32 %x, %v;\nTOP: setp.le.u32 %p, %x, 1;\n@%p bra DONE;\nand.b32 %y, %x, 1;\nsetp.ne.u32 %q, %y, 0;\n\
         @%q bra ODD;\nshr.u32 %x, %x, 1;\nbra.uni NEXT;\nODD: mad.lo.u32 %x, %x, 3, 1;\nNEXT: add.u32 %r, %r, 1;\n\
         bra.uni TOP;\nDONE:\n{STORE}"
    );
    flow(&["bra", "bra.uni"], &core, |v| Some(steps(v)))
}

/// A loop in a loop, left from the inner one by some lanes, and with rounds that others skip.
fn breaks() -> Case {
    let core = format!(
        "mov.u32 %x, 0;\nOUTER: setp.ge.u32 %p, %x, 5;\n@%p bra OUT;\nmov.u32 %y, 0;\nINNER: setp.gt.u32 %p, %y, %x;\n\
         @%p bra NEXT;\nadd.u32 %z, %x, %y;\nadd.u32 %y, %y, 1;\nsetp.eq.u32 %q, %z, %v;\n@%q bra OUT;\n\
         and.b32 %z, %z, 1;\nsetp.ne.u32 %q, %z, 0;\n@%q bra INNER;\nadd.u32 %r, %r, %v;\nadd.u32 %r, %r, 1;\nbra INNER;\n\
         NEXT: add.u32 %x, %x, 1;\nbra.uni OUTER;\nOUT: mad.lo.u32 %r, %x, 10000, %r;\n{STORE}"
    );
    flow(&["bra"], &core, |v| {
        let (mut r, mut x) = (0, 0);
        'outer: while x < 5 {
            for y in 0..=x {
                if x + y == v {
                    break 'outer;
                }
                if (x + y) % 2 == 0 {
                    r += v + 1;
                }
            }
            x += 1;
        }
        Some(x * 10000 + r)
    })
}

/// Some lanes end; the others go on, and in the end know of each other alone.
fn ends(name: &'static str) -> Case {
    let core = format!(
        "setp.lt.u32 %p, %v, 3;\n@%p {name};\nadd.u32 %r, %v, 1;\n{STORE}setp.gt.u32 %p, %v, 40;\n@!%p bra GO;\n\
         mov.u32 %r, 5;\n{STORE}{name};\nGO: activemask.b32 %x;\npopc.b32 %y, %x;\nmov.u32 %z, %lanemask_eq;\n\
         and.b32 %z, %z, %x;\nsetp.ne.u32 %p, %z, 0;\n@%p add.u32 %r, %r, 1000;\n{STORE}"
    );
    flow(&[name], &core, |v| match v {
        0..3 => None,
        41.. => Some(5),
        _ => Some(v + 1001),
    })
}

/// What is guarded does not happen elsewhere: stores, loads of addresses that do not exist, divisions.
fn guards() -> Case {
    let core = format!(
        "setp.lt.u32 %p, %v, 50;\nmov.u64 %f, 0;\n@%p mad.wide.u32 %f, %i, 4, %in;\n@%p ld.global.b32 %r, [%f];\n\
         @!%p mov.u32 %r, 9;\nsetp.ne.u32 %q, %v, 5;\n@%q {STORE}@!%p st.global.b32 [%to], %v;\n"
    );
    flow(&["ld.global.b32", "st.global.b32"], &core, |v| match v {
        5 => None,
        50.. => Some(v),
        _ => Some(v),
    })
}

/// A function with a loop and a return in its midst, called by some lanes.
fn calls() -> Case {
    let core = format!(
        ".func (.param .b32 result) triangle (.param .b32 count)\n{{\n.reg .b32 %n; .reg .b32 %s; .reg .pred %e;\n\
         ld.param.b32 %n, [count];\nmov.u32 %s, 0;\nsetp.gt.u32 %e, %n, 60;\n@%e bra BIG;\n\
         MORE: add.u32 %s, %s, %n;\nsetp.eq.u32 %e, %n, 0;\n@%e bra DONE;\nsub.u32 %n, %n, 1;\nbra.uni MORE;\n\
         DONE: st.param.b32 [result], %s;\nret;\nBIG: mov.u32 %s, 77;\nst.param.b32 [result], %s;\nret;\n}}\n---\n\
         and.b32 %x, %v, 1;\nsetp.eq.u32 %p, %x, 0;\n@!%p bra SKIP;\n{{\n.param .b32 a;\n.param .b32 b;\n\
         st.param.b32 [a], %v;\ncall.uni (b), triangle, (a);\nld.param.b32 %r, [b];\n}}\nSKIP:\n{STORE}"
    );
    flow(&["call.uni", "ret", "ld.param.b32", "st.param.b32"], &core, |v| {
        Some(if v % 2 != 0 {
            0
        } else if v > 60 {
            77
        } else {
            v * (v + 1) / 2
        })
    })
}

/// Instructions that change nothing.
fn hints() -> Vec<Case> {
    let names = [
        ("nanosleep.u32", "nanosleep.u32 20;"),
        ("prefetch.global.L2", "prefetch.global.L2 [%f];"),
        ("prefetch.global.L1", "prefetch.global.L1 [%f];"),
    ];
    names.map(|(opcode, text)| flow(&[opcode], &format!("{text}\nadd.u32 %r, %v, 1;\n{STORE}"), |v| Some(v + 1))).into()
}

/// A trap stops the kernel, in lanes that come to it only.
fn traps() -> Case {
    let body = format!("{HEAD}setp.eq.u32 %p, %v, 3;\n@%p trap;\n{STORE}");
    Case::new(&["trap"], &body, |device| {
        let run = |words: [u32; 32]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let outcome = device.launch(&bytes, 128).0;
            (outcome.stopped, outcome.reports.iter().any(|report| report.kind == Kind::Trap))
        };
        assert_eq!(run([2; 32]), (false, false));
        assert_eq!(run(std::array::from_fn(|i| u32::from(i == 9) * 3)), (true, true));
    })
}

/// What threads know of themselves, in a grid of blocks.
fn places() -> Case {
    let body = format!(
        "{HEAD}mov.u32 %r, %ntid.x;\nmov.u32 %x, %ctaid.x;\nmad.lo.u32 %r, %r, 100, %x;\nmov.u32 %x, %nctaid.x;\n\
         mad.lo.u32 %r, %r, 100, %x;\nmov.u32 %x, %tid.x;\nmad.lo.u32 %r, %r, 100, %x;\nmov.u32 %x, %tid.y;\n\
         add.u32 %r, %r, %x;\nmov.u32 %x, %ntid.z;\nadd.u32 %r, %r, %x;\nmov.u32 %x, %warpid;\nadd.u32 %r, %r, %x;\n\
         {STORE}"
    );
    Case::new(&["mov.u32"], &body, |device| {
        (device.grid, device.block) = (3, 48);
        let found = device.words(&[0; 144], 144);
        for i in 0..144 {
            assert_eq!(found[i as usize], ((48 * 100 + i / 48) * 100 + 3) * 100 + i % 48 + 1 + i % 48 / 32);
        }
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![nested(), loops(), breaks(), ends("ret"), ends("exit"), guards(), calls(), traps(), places()];
    cases.extend(hints());
    cases
}
