//! `cp.async`: bytes and zeros, groups, and that nothing is to be seen before it was waited for.

use cuda::report::Kind;

use crate::case::Case;
use crate::device::Device;

/// Declarations; `%s` is the lane's 16 bytes of shared memory, `%f` and `%to` its 16 bytes of input and output.
const HEAD: &str = ".shared .align 16 .b8 s[2048];\n.reg .b32 %s; .reg .b64 %f; .reg .b64 %to; .reg .b32 %x<8>; .reg .b32 %n;\n\
                    .reg .b64 %w; .reg .pred %p;\nmov.u32 %s, s;\nmad.lo.u32 %s, %t, 16, %s;\nmad.wide.u32 %f, %t, 16, %in;\n\
                    mad.wide.u32 %to, %t, 16, %out;\n";
const SHOW: &str = "ld.shared.v4.b32 {%x0, %x1, %x2, %x3}, [%s];\nst.global.v4.b32 [%to], {%x0, %x1, %x2, %x3};\n";
const OLD: u32 = 0x0101_0101;

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 37 + i / 256 + 11) as u8).collect()
}

/// Fills the lane's 16 bytes with ones.
fn filled() -> String {
    format!("mov.u32 %x0, {OLD};\nst.shared.v4.b32 [%s], {{%x0, %x0, %x0, %x0}};\n")
}

/// Copies `size` bytes at an offset of the same; `source`, if any, of them from memory and zeros behind.
fn copy(opcode: &'static str, size: usize, zeros: bool) -> Case {
    let offset = if size == 16 { 0 } else { size };
    let extra = if zeros { ", %n" } else { "" };
    let body = format!(
        "{HEAD}{}rem.u32 %n, %t, {};\n{opcode} [%s+{offset}], [%f+{offset}], {size}{extra};\ncp.async.commit_group;\n\
         cp.async.wait_group 0;\n{SHOW}",
        filled(),
        size + 1
    );
    Case::new(&[opcode, "cp.async.commit_group", "cp.async.wait_group"], &body, move |device| {
        device.block = 64;
        let input = bytes(1024);
        let found = device.run(&input, 1024);
        for lane in 0..64 {
            let mut expected = [1u8; 16];
            for i in 0..size {
                let read = !zeros || i < lane % (size + 1);
                expected[offset + i] = if read { input[16 * lane + offset + i] } else { 0 };
            }
            assert_eq!(found[16 * lane..16 * lane + 16], expected, "lane {lane}");
        }
    })
}

/// Three groups of four bytes; `wait` follows, and then all are read whose number is below `read`.
fn groups(wait: &str, read: usize) -> String {
    let mut body = format!("{HEAD}{}", filled());
    for group in 0..3 {
        body += &format!("cp.async.ca.shared.global [%s+{0}], [%f+{0}], 4;\ncp.async.commit_group;\n", 4 * group);
    }
    body += wait;
    for group in 0..read {
        body += &format!("ld.shared.b32 %x{group}, [%s+{0}];\nst.global.b32 [%to+{0}], %x{group};\n", 4 * group);
    }
    // A block may not end before its copies.
    body + "cp.async.wait_all;\n"
}

/// A wait for all but `n` groups is enough for the others, and not for those.
fn waits() -> Vec<Case> {
    let mut cases = Vec::new();
    for (wait, done) in [
        ("cp.async.wait_group 2;\n", 1),
        ("cp.async.wait_group 1;\n", 2),
        ("cp.async.wait_group 0;\n", 3),
        ("cp.async.wait_all;\n", 3),
        ("cp.async.wait_group 3;\n", 0),
        ("", 0),
    ] {
        let opcode = wait.split([' ', ';']).next().filter(|name| !name.is_empty()).unwrap_or("cp.async.commit_group");
        let early = (done < 3).then(|| groups(wait, done + 1));
        cases.push(Case::new(&[opcode], &groups(wait, done), move |device| {
            let input = bytes(512);
            let found = device.run(&input, 512);
            for lane in 0..32 {
                let at = 16 * lane;
                assert_eq!(found[at..at + 4 * done], input[at..at + 4 * done]);
            }
            let Some(early) = &early else { return };
            let mut device = Device::new(early);
            let (outcome, _) = device.launch(&input, 512);
            assert!(outcome.reports.iter().any(|report| report.kind == Kind::AsyncCopy), "{:?}", outcome.reports);
            // Without checks it runs on, and sees what was there before.
            device.checked = false;
            let (_, found) = device.launch(&input, 512);
            assert_eq!(found[4 * done..4 * done + 4], OLD.to_le_bytes());
        }));
    }
    cases
}

/// `wait_all` needs no group, and a predicate says to read nothing.
fn others() -> Vec<Case> {
    let opcode = "cp.async.cg.shared.global";
    let body = format!(
        "{HEAD}{}and.b32 %n, %t, 1;\nsetp.ne.u32 %p, %n, 0;\n@%p {opcode} [%s], [%f], 16;\ncp.async.wait_all;\n{SHOW}",
        filled()
    );
    vec![Case::new(&[opcode, "cp.async.wait_all"], &body, |device| {
        let input = bytes(512);
        let found = device.run(&input, 512);
        for lane in 0..32 {
            let at = 16 * lane;
            let expected = if lane % 2 == 1 { &input[at..at + 16] } else { &[1; 16] };
            assert_eq!(found[at..at + 16], *expected);
        }
    })]
}

pub fn cases() -> Vec<Case> {
    let mut cases = waits();
    cases.extend(others());
    for zeros in [false, true] {
        for size in [4, 8, 16] {
            cases.push(copy("cp.async.ca.shared.global", size, zeros));
            cases.push(copy("cp.async.ca.shared.global.L2::128B", size, zeros));
        }
        cases.push(copy("cp.async.cg.shared.global", 16, zeros));
        cases.push(copy("cp.async.cg.shared.global.L2::128B", 16, zeros));
        cases.push(copy("cp.async.cg.shared::cta.global", 16, zeros));
    }
    cases
}
