//! Kernels from text to result.

use super::*;
use crate::report::Kind;

/// A device with one kernel.
pub(crate) struct Bench {
    pub memory: Memory,
    module: Module,
    pub block: [u32; 3],
    pub grid: [u32; 3],
    pub seed: u64,
    pub dynamic_shared: usize,
}

impl Bench {
    /// A kernel `k` with two pointers `in` and `out`, and registers of all kinds.
    pub fn new(body: &str) -> Bench {
        let text = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 dynamic[];\n\
             .visible .entry k(.param .u64 in, .param .u64 out)\n{{\n.reg .pred %p<9>; .reg .b16 %h<20>; .reg .b32 %r<40>; \
             .reg .b64 %d<40>; .reg .f32 %f<40>; .reg .f64 %g<20>;\nld.param.u64 %d1, [in];\nld.param.u64 %d2, [out];\n\
             mov.u32 %r1, %tid.x;\nmul.wide.u32 %d3, %r1, 4;\nadd.s64 %d4, %d1, %d3;\nadd.s64 %d5, %d2, %d3;\n{body}\nret;\n}}\n"
        );
        Bench {
            memory: Memory::new(1 << 24).unwrap(),
            module: Module::parse(&text).unwrap_or_else(|error| panic!("{error}")),
            block: [32, 1, 1],
            grid: [1, 1, 1],
            seed: 1,
            dynamic_shared: 0,
        }
    }

    pub fn upload(&self, values: &[u32]) -> u64 {
        let address = self.memory.allocate(4 * values.len()).unwrap();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.memory.write(address, &bytes).unwrap();
        address
    }

    pub fn download(&self, address: u64, count: usize) -> Vec<u32> {
        let mut bytes = vec![0; 4 * count];
        self.memory.read(address, &mut bytes).unwrap();
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    }

    pub fn run(&self, input: u64, output: u64) -> Outcome {
        let params: Vec<u8> = [input, output].iter().flat_map(|value| value.to_le_bytes()).collect();
        let launch = Launch {
            module: &self.module,
            entry: &self.module.entries[0],
            globals: &[],
            grid: self.grid,
            block: self.block,
            dynamic_shared: self.dynamic_shared,
            shared_limit: 48 << 10,
            params: &params,
        };
        run(launch, &self.memory, Options { seed: self.seed, checked: true, counted: true })
    }

    /// Runs with 32 inputs; no report is expected.
    pub fn words(&self, input: &[u32]) -> Vec<u32> {
        let (from, to) = (self.upload(input), self.upload(&vec![0; 1024]));
        let outcome = self.run(from, to);
        assert!(outcome.reports.is_empty(), "{:#?}", outcome.reports);
        self.download(to, 1024)
    }

    /// Kinds of reports with `threads` threads and 1024 words in and out.
    pub fn kinds(&self) -> Vec<Kind> {
        let (from, to) = (self.upload(&vec![1; 1024]), self.upload(&vec![0; 1024]));
        let mut kinds: Vec<Kind> = self.run(from, to).reports.iter().map(|report| report.kind).collect();
        kinds.dedup();
        kinds
    }
}

#[test]
fn lanes_part_and_meet() {
    let bench = Bench::new(
        "ld.global.u32 %r2, [%d4];\nand.b32 %r3, %r2, 1;\nsetp.eq.u32 %p1, %r3, 0;\n@%p1 bra EVEN;\n\
         mul.lo.u32 %r2, %r2, 3;\nadd.u32 %r2, %r2, 1;\nbra.uni DONE;\nEVEN: shr.u32 %r2, %r2, 1;\n\
         DONE: activemask.b32 %r4;\nst.global.u32 [%d5], %r2;\nst.global.u32 [%d5+128], %r4;",
    );
    let input: Vec<u32> = (0..32).collect();
    let result = bench.words(&input);
    for (i, value) in result[..32].iter().enumerate() {
        let i = i as u32;
        assert_eq!(*value, if i & 1 == 0 { i / 2 } else { 3 * i + 1 });
    }
    assert_eq!(result[32..64], [u32::MAX; 32]);
}

#[test]
fn loops_of_different_lengths_end() {
    let bench = Bench::new(
        "mov.u32 %r2, 0;\nmov.u32 %r3, 0;\nL: add.u32 %r3, %r3, %r2;\nadd.u32 %r2, %r2, 1;\n\
         setp.le.u32 %p1, %r2, %r1;\n@%p1 bra L;\nst.global.u32 [%d5], %r3;",
    );
    let result = bench.words(&[0; 32]);
    assert!((0..32).all(|i| result[i] as usize == i * (i + 1) / 2));
}

#[test]
fn a_lock_within_a_warp_is_passed_on() {
    let bench = Bench::new(
        "SPIN: atom.global.cas.b32 %r2, [%d1], 0, 1;\nsetp.ne.u32 %p1, %r2, 0;\n@%p1 bra SPIN;\n\
         ld.volatile.global.u32 %r3, [%d2];\nadd.u32 %r3, %r3, 1;\nst.volatile.global.u32 [%d2], %r3;\n\
         membar.gl;\natom.global.exch.b32 %r4, [%d1], 0;",
    );
    assert_eq!(bench.words(&[0; 32])[0], 32);
}

#[test]
fn warps_exchange_through_shared_memory() {
    let mut bench = Bench::new(
        ".shared .align 4 .b32 s[256];\nmov.u32 %r5, s;\nshl.b32 %r6, %r1, 2;\nadd.u32 %r7, %r5, %r6;\n\
         st.shared.u32 [%r7], %r1;\nbar.sync 0;\nxor.b32 %r8, %r6, 1020;\nadd.u32 %r8, %r5, %r8;\n\
         ld.shared.u32 %r9, [%r8];\nst.global.u32 [%d5], %r9;",
    );
    bench.block = [256, 1, 1];
    for seed in 0..8 {
        bench.seed = seed;
        let result = bench.words(&[0; 32]);
        assert!((0..256).all(|i| result[i] as usize == 255 - i));
    }
}

#[test]
fn generic_addresses_reach_all_spaces() {
    let bench = Bench::new(
        ".shared .align 4 .b32 s[32];\n.local .align 4 .b32 l[2];\nmov.u64 %d10, s;\ncvta.shared.u64 %d10, %d10;\n\
         add.s64 %d10, %d10, %d3;\nmov.u64 %d11, l;\ncvta.local.u64 %d11, %d11;\nst.u32 [%d10], %r1;\n\
         add.u32 %r2, %r1, 100;\nst.u32 [%d11+4], %r2;\nld.u32 %r3, [%d10];\nld.local.u32 %r4, [l+4];\n\
         isspacep.shared %p1, %d10;\nselp.b32 %r5, %r3, 0, %p1;\nadd.u32 %r5, %r5, %r4;\nst.u32 [%d5], %r5;",
    );
    let result = bench.words(&[0; 32]);
    assert!((0..32).all(|i| result[i] as usize == 2 * i + 100));
}

#[test]
fn matrices_are_multiplied_and_loaded() {
    // a = identity in the left half: d = b, each element times 1.
    let bench = Bench::new(
        "mov.b32 %r2, {%h1, %h2};\nshr.u32 %r3, %r1, 2;\nand.b32 %r4, %r1, 3;\nshl.b32 %r4, %r4, 1;\n\
         sub.u32 %r5, %r3, %r4;\nsetp.eq.u32 %p1, %r5, 0;\nsetp.eq.u32 %p2, %r5, 1;\nselp.b32 %r6, 0x3f80, 0, %p1;\n\
         selp.b32 %r7, 0x3f800000, 0, %p2;\nor.b32 %r6, %r6, %r7;\nld.global.u32 %r8, [%d4];\n\
         mov.f32 %f1, 0f40000000;\nmov.b32 %r9, 0;\n\
         mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f2, %f3, %f4, %f5}, {%r6, %r9, %r9, %r9}, {%r8, %r9}, \
         {%f1, %f1, %f1, %f1};\nshl.b32 %r10, %r1, 4;\ncvt.u64.u32 %d6, %r10;\nadd.s64 %d6, %d2, %d6;\n\
         st.global.v4.f32 [%d6], {%f2, %f3, %f4, %f5};",
    );
    // Lane 4 j + t holds rows 2 t and 2 t + 1 of column j of b.
    let value = |row: u32, column: u32| (row * 8 + column) as f32;
    let input: Vec<u32> = (0..32)
        .map(|lane| {
            let (column, row) = (lane / 4, lane % 4 * 2);
            value(row, column).to_bits() >> 16 | value(row + 1, column).to_bits()
        })
        .collect();
    let result = bench.words(&input);
    for lane in 0..32u32 {
        let (row, column) = (lane / 4, lane % 4 * 2);
        let at = 4 * lane as usize;
        assert_eq!(f32::from_bits(result[at]), value(row, column) + 2.0);
        assert_eq!(f32::from_bits(result[at + 1]), value(row, column + 1) + 2.0);
        assert_eq!(f32::from_bits(result[at + 2]), 2.0);
    }
}

#[test]
fn limits_of_launches() {
    let mut bench = Bench::new("");
    bench.block = [1025, 1, 1];
    assert_eq!(bench.kinds(), [Kind::LaunchLimit]);
    bench.block = [32, 1, 1];
    bench.dynamic_shared = 49153;
    assert_eq!(bench.kinds(), [Kind::LaunchLimit]);
    bench.dynamic_shared = 49152;
    assert_eq!(bench.kinds(), []);
}
