//! Each check with a kernel that it must report and a neighbour that it must not.

use crate::exec::tests::Bench;
use crate::report::Kind;

const NOTHING: [Kind; 0] = [];

/// `%r7` is the thread's own word of shared memory `s`, `%r8` that of the thread with the number `xor 1` (same warp) or
/// `xor 32` (neighbouring warp).
fn shared(other: u32, body: &str) -> Bench {
    let mut bench = Bench::new(&format!(
        ".shared .align 4 .b32 s[64];\nmov.u32 %r5, s;\nshl.b32 %r6, %r1, 2;\nadd.u32 %r7, %r5, %r6;\n\
         xor.b32 %r8, %r6, {};\nadd.u32 %r8, %r5, %r8;\n{body}",
        4 * other
    ));
    bench.block = [64, 1, 1];
    bench
}

#[track_caller]
fn expect(mut bench: Bench, kinds: &[Kind]) {
    for seed in 0..4 {
        bench.seed = seed;
        assert_eq!(bench.kinds(), kinds, "seed {seed}");
    }
}

#[test]
fn bounds_of_global_memory() {
    expect(Bench::new("ld.global.u32 %r2, [%d4+4096];"), &[Kind::OutOfBounds]);
    expect(Bench::new("st.global.u32 [%d5+-4], %r1;"), &[Kind::OutOfBounds]);
    expect(Bench::new("mov.u64 %d6, 0;\nld.u32 %r2, [%d6];"), &[Kind::OutOfBounds]);
    expect(Bench::new("st.global.u32 [%d5+3968], %r1;"), &NOTHING);
}

#[test]
fn bounds_of_shared_and_local_memory() {
    expect(shared(1, "st.shared.u32 [%r7+4], %r1;"), &[Kind::OutOfBounds]);
    expect(shared(1, "st.shared.u32 [%r7], %r1;"), &NOTHING);
    expect(Bench::new(".local .b8 l[16];\nmov.u32 %r2, l;\nst.local.u32 [%r2+16], %r1;"), &[Kind::OutOfBounds]);
    expect(Bench::new(".local .b8 l[16];\nmov.u32 %r2, l;\nst.local.u32 [%r2+12], %r1;"), &NOTHING);
}

#[test]
fn freed_memory() {
    let bench = Bench::new("ld.global.u32 %r2, [%d4];");
    let (from, to) = (bench.upload(&[0; 32]), bench.upload(&[0; 32]));
    assert!(bench.run(from, to).reports.is_empty());
    bench.memory.free(from).unwrap();
    let outcome = bench.run(from, to);
    assert_eq!((outcome.reports[0].kind, outcome.stopped), (Kind::UseAfterFree, true));
}

#[test]
fn misaligned_addresses() {
    expect(Bench::new("ld.global.v2.u32 {%r2, %r3}, [%d4];"), &[Kind::Misaligned]);
    expect(Bench::new("add.s64 %d6, %d4, %d3;\nld.global.v2.u32 {%r2, %r3}, [%d6];"), &NOTHING);
}

#[test]
fn uninitialised_memory() {
    let bench = Bench::new("ld.global.u32 %r2, [%d4];\nst.global.u32 [%d5], %r2;");
    let (from, to) = (bench.memory.allocate(128).unwrap(), bench.memory.allocate(128).unwrap());
    let outcome = bench.run(from, to);
    assert_eq!((outcome.reports[0].kind, outcome.stopped), (Kind::Uninitialised, false));
    // What the kernel wrote is written.
    assert!(bench.run(to, from).reports.is_empty());
    expect(shared(0, "ld.shared.u32 %r2, [%r7];"), &[Kind::Uninitialised]);
    expect(shared(0, "st.shared.u32 [%r7], %r1;\nld.shared.u32 %r2, [%r7];"), &NOTHING);
    expect(Bench::new(".local .b8 l[16];\nld.local.u32 %r2, [l];"), &[Kind::Uninitialised]);
}

#[test]
fn lanes_outside_of_their_mask() {
    let vote = |mask: &str| {
        Bench::new(&format!(
            "setp.lt.u32 %p1, %r1, 16;\nselp.b32 %r3, 0xffff, 0xffff0000, %p1;\nvote.sync.ballot.b32 %r2, %p1, {mask};"
        ))
    };
    expect(vote("0xffff"), &[Kind::Divergence]);
    expect(vote("-1"), &NOTHING);
    // Two exchanges at the same place, each of its own half.
    expect(vote("%r3"), &NOTHING);
    expect(Bench::new("bar.warp.sync 0xfffffffe;"), &[Kind::Divergence]);
}

#[test]
fn races_between_warps() {
    let exchange =
        |between: &str| shared(32, &format!("st.shared.u32 [%r7], %r1;\n{between}\nld.shared.u32 %r2, [%r8];"));
    expect(exchange("bar.sync 0;"), &NOTHING);
    expect(exchange("mov.u32 %r9, 64;\nbarrier.sync.aligned 3, %r9;"), &NOTHING);
    let kinds = exchange("bar.warp.sync -1;").kinds();
    assert!(kinds.contains(&Kind::Race), "{kinds:?}");
    // A write after reads of the other warp.
    let after = |between: &str| {
        shared(
            32,
            &format!(
                "st.shared.u32 [%r7], %r1;\nbar.sync 0;\nld.shared.u32 %r2, [%r8];\n{between}\nst.shared.u32 [%r7], %r2;"
            ),
        )
    };
    expect(after("bar.sync 0;"), &NOTHING);
    expect(after(""), &[Kind::Race]);
}

#[test]
fn races_between_lanes() {
    let exchange =
        |between: &str| shared(1, &format!("st.shared.u32 [%r7], %r1;\n{between}\nld.shared.u32 %r2, [%r8];"));
    expect(exchange("bar.warp.sync -1;"), &NOTHING);
    expect(exchange("bar.sync 0;"), &NOTHING);
    expect(exchange(""), &[Kind::WarpRace]);
    // Exchanges do not order memory.
    expect(exchange("shfl.sync.bfly.b32 %r9, %r1, 1, 31, -1;"), &[Kind::WarpRace]);
    // One word written by all lanes: the same value, or not.
    let all = |value: &str| {
        let mut bench = shared(1, &format!("mov.u32 %r2, 7;\nst.shared.u32 [%r5], {value};"));
        bench.block = [32, 1, 1];
        bench
    };
    expect(all("%r2"), &NOTHING);
    expect(all("%r1"), &[Kind::WarpRace]);
}

#[test]
fn neighbouring_halves_do_not_race() {
    let body = "shl.b32 %r2, %r1, 1;\nadd.u32 %r2, %r5, %r2;\nmov.u16 %h1, 1;\nst.shared.u16 [%r2], %h1;";
    expect(shared(1, body), &NOTHING);
}

#[test]
fn atomics_do_not_race_with_each_other() {
    let mut bench = Bench::new("atom.global.add.u32 %r2, [%d2], 1;");
    (bench.block, bench.grid) = ([64, 1, 1], [4, 1, 1]);
    expect(bench, &NOTHING);
    let mut bench = Bench::new("atom.global.add.u32 %r2, [%d2], 1;\nld.global.u32 %r3, [%d2];");
    bench.block = [64, 1, 1];
    let kinds = bench.kinds();
    assert!(kinds.contains(&Kind::Race), "{kinds:?}");
}

#[test]
fn races_in_global_memory() {
    let exchange = |between: &str| {
        let mut bench = Bench::new(&format!(
            "st.global.u32 [%d5], %r1;\n{between}\nxor.b32 %r2, %r1, 32;\nmul.wide.u32 %d6, %r2, 4;\n\
             add.s64 %d6, %d2, %d6;\nld.global.u32 %r3, [%d6];"
        ));
        bench.block = [64, 1, 1];
        bench
    };
    expect(exchange("bar.sync 0;"), &NOTHING);
    expect(exchange(""), &[Kind::Race]);
}

#[test]
fn races_between_blocks() {
    let own = "mov.u32 %r2, %ctaid.x;\nmul.wide.u32 %d6, %r2, 128;\nadd.s64 %d6, %d5, %d6;\n";
    let blocks = |body: &str| {
        let mut bench = Bench::new(body);
        bench.grid = [3, 1, 1];
        bench
    };
    expect(blocks(&format!("{own}st.global.u32 [%d6], %r1;")), &NOTHING);
    expect(blocks("st.global.u32 [%d5], %r1;"), &[Kind::BlockRace]);
    let read = "ld.global.u32 %r3, [%d6+128];";
    expect(blocks(&format!("{own}st.global.u32 [%d6], %r1;\n{read}")), &[Kind::BlockRace]);
    // The last block reads what all left: a fence, a counter, and only then the others' words.
    let protocol = format!(
        "{own}st.global.u32 [%d6], %r1;\nmembar.gl;\nbar.sync 0;\natom.global.inc.u32 %r4, [%d1], 2;\n\
         setp.eq.u32 %p1, %r4, 2;\n@!%p1 bra DONE;\nld.global.u32 %r3, [%d5+128];\nDONE:"
    );
    let mut bench = blocks(&protocol.replace("DONE:", "DONE: bar.sync 0;"));
    bench.block = [1, 1, 1];
    bench.seed = 5;
    let (counter, to) = (bench.upload(&[0; 32]), bench.upload(&[0; 1024]));
    assert_eq!(bench.run(counter, to).reports, []);
    // The same without the fence.
    let mut bench = blocks(&protocol.replace("membar.gl;", "").replace("DONE:", "DONE: bar.sync 0;"));
    bench.block = [1, 1, 1];
    let (counter, to) = (bench.upload(&[0; 32]), bench.upload(&[0; 1024]));
    assert_eq!(bench.run(counter, to).reports[0].kind, Kind::BlockRace);
}

#[test]
fn flags_order_memory_within_a_block() {
    // Warp 1 waits for a flag that warp 0 sets after its word.
    let body = |fence: &str| {
        format!(
            "setp.lt.u32 %p1, %r1, 32;\n@!%p1 bra READ;\nst.shared.u32 [%r7], %r1;\nbar.warp.sync -1;\n{fence}\n\
             setp.eq.u32 %p2, %r1, 0;\nmov.u32 %r9, 1;\n@%p2 st.volatile.global.u32 [%d2], %r9;\nbra DONE;\n\
             READ: ld.volatile.global.u32 %r9, [%d2];\nsetp.eq.u32 %p3, %r9, 0;\n@%p3 bra READ;\n\
             ld.shared.u32 %r2, [%r8];\nDONE: bar.sync 0;"
        )
    };
    expect(shared(32, &body("membar.cta;")), &NOTHING);
    expect(shared(32, &body("")), &[Kind::Race]);
}

#[test]
fn asynchronous_copies() {
    let copy =
        |rest: &str| shared(0, &format!("cp.async.ca.shared.global [%r7], [%d4], 4;\ncp.async.commit_group;\n{rest}"));
    expect(copy("cp.async.wait_group 0;\nld.shared.u32 %r2, [%r7];"), &NOTHING);
    expect(copy("ld.shared.u32 %r2, [%r7];\ncp.async.wait_all;"), &[Kind::AsyncCopy]);
    expect(copy("cp.async.wait_group 1;\nld.shared.u32 %r2, [%r7];\ncp.async.wait_all;"), &[Kind::AsyncCopy]);
    expect(copy(""), &[Kind::AsyncCopy]);
    expect(copy("st.global.u32 [%d4], %r1;\ncp.async.wait_all;"), &[Kind::AsyncCopy]);
    // Zeros behind the bytes that are read, and nothing read at all from a wild address.
    let none = "mov.u64 %d6, 64;\nmov.u32 %r2, 0;\ncp.async.ca.shared.global [%r7], [%d6], 4, %r2;\n\
                cp.async.wait_all;\nld.shared.u32 %r2, [%r7];\nst.global.u32 [%d5], %r2;";
    expect(shared(0, none), &NOTHING);
    // Waited for by each thread, but read by another one without a barrier.
    let other = "cp.async.ca.shared.global [%r7], [%d4], 4;\ncp.async.wait_all;\nbar.warp.sync -1;\n{between}\n\
                 ld.shared.u32 %r2, [%r8];";
    expect(shared(32, &other.replace("{between}", "bar.sync 0;")), &NOTHING);
    let kinds = shared(32, &other.replace("{between}", "")).kinds();
    assert!(kinds.contains(&Kind::Race) || kinds.contains(&Kind::AsyncCopy), "{kinds:?}");
}

#[test]
fn divergent_barriers() {
    let half = "setp.lt.u32 %p1, %r1, 16;\n@!%p1 bra DONE;\nbar.sync 0;\nDONE:";
    expect(Bench::new(half), &[Kind::Divergence]);
    let warp = "setp.lt.u32 %p1, %r1, 32;\n@!%p1 bra DONE;\nbar.sync 0;\nDONE:";
    let mut bench = Bench::new(warp);
    bench.block = [64, 1, 1];
    expect(bench, &[Kind::Divergence]);
    let apart = "setp.lt.u32 %p1, %r1, 16;\n@%p1 bra L;\nmov.u32 %r2, 1;\nL: bar.sync 0;";
    expect(Bench::new(apart), &NOTHING);
    // Some warps only, as many as the barrier is for.
    let mut bench = Bench::new("setp.lt.u32 %p1, %r1, 32;\n@!%p1 bra DONE;\nbar.sync 1, 32;\nDONE:");
    bench.block = [64, 1, 1];
    expect(bench, &NOTHING);
}

#[test]
fn exchanges_with_lanes_that_are_absent() {
    let half = |mask: &str, by: u32| {
        Bench::new(&format!(
            "setp.lt.u32 %p1, %r1, 16;\n@!%p1 bra DONE;\nshfl.sync.bfly.b32 %r2, %r1, {by}, 31, {mask};\nDONE:"
        ))
    };
    expect(half("0xffff", 1), &NOTHING);
    expect(half("0xffff", 16), &[Kind::Divergence]);
    expect(half("-1", 1), &[Kind::Divergence]);
}

#[test]
fn traps() {
    expect(Bench::new("setp.eq.u32 %p1, %r1, 40;\n@%p1 trap;"), &NOTHING);
    expect(Bench::new("setp.eq.u32 %p1, %r1, 4;\n@%p1 trap;"), &[Kind::Trap]);
}

#[test]
fn reports_name_thread_line_and_instruction() {
    let bench = Bench::new("setp.eq.u32 %p1, %r1, 5;\n@%p1 ld.global.u32 %r2, [%d4+1000000];");
    let (from, to) = (bench.upload(&[0; 32]), bench.upload(&[0; 32]));
    let outcome = bench.run(from, to);
    let report = &outcome.reports[0];
    assert!(outcome.stopped);
    assert_eq!((report.thread, report.line), ([5, 0, 0], 15));
    assert_eq!(report.instruction, "@%p1 ld.global.u32 %r2, [%d4+1000000];");
    assert_eq!(report.address, Some(from + 20 + 1_000_000));
    assert_eq!(report.kernel, "k");
}
