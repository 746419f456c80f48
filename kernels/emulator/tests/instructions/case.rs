//! Cases: an opcode, a kernel around it, and what the manual says it does.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::device::Device;
use crate::values::Kind;

/// Threads of a block in scalar cases: two warps.
const BLOCK: usize = 64;
/// Random operands beside the edges.
const RANDOM: usize = 512;
/// What results hold in lanes that do not execute.
const UNTOUCHED: u64 = 0xdead_beef_dead_beed;

/// Whether results are right, of operands and results.
type Judge = dyn Fn(&[u64], &[u64]) -> Result<(), String>;

/// A test of some opcodes. Cases are made, and so the opcodes listed, without being run.
pub struct Case {
    pub opcodes: Vec<String>,
    pub run: Box<dyn Fn()>,
}

impl Case {
    /// A case of a kernel that tests `opcodes`.
    pub fn new(opcodes: &[&str], body: &str, run: impl Fn(&mut Device) + 'static) -> Case {
        let body = body.to_owned();
        let opcodes: Vec<String> = opcodes.iter().map(|opcode| (*opcode).to_owned()).collect();
        let claimed = opcodes.clone();
        let run = move || {
            let mut device = Device::new(&body);
            for opcode in &claimed {
                assert!(device.contains(opcode), "{opcode} is not in the kernel");
            }
            run(&mut device);
        };
        Case { opcodes, run: Box::new(run) }
    }
}

/// Runs all cases of a class, and names all that fail.
pub fn run_all(cases: Vec<Case>) {
    assert!(!cases.is_empty());
    let failed = |case: &Case| catch_unwind(AssertUnwindSafe(|| (case.run)())).is_err();
    let failed: Vec<Vec<String>> = cases.into_iter().filter(failed).map(|case| case.opcodes).collect();
    assert!(failed.is_empty(), "cases failed: {failed:?}");
}

/// `opcode d, a, b, c` in each lane by itself: the result's bits are those of the reference.
pub fn scalar(opcode: &str, result: Kind, operands: &[Kind], reference: impl Fn(&[u64]) -> u64 + 'static) -> Case {
    let mut text = format!("{opcode} %d0");
    for k in 0..operands.len() {
        let _ = write!(text, ", %a{k}");
    }
    text.push(';');
    form(&text, &[result], operands, move |values| vec![reference(values)])
}

/// One instruction with results `%d0..` and operands `%a0..`, wherever they stand in it.
pub fn form(text: &str, results: &[Kind], operands: &[Kind], reference: impl Fn(&[u64]) -> Vec<u64> + 'static) -> Case {
    let kinds = results.to_vec();
    judged(text, results, operands, move |values, found| {
        let expected = reference(values);
        let same = kinds.iter().zip(expected.iter().zip(found)).all(|(kind, (a, b))| kind.same(kind.mask(*a), *b));
        if same { Ok(()) } else { Err(format!("expected {expected:x?}")) }
    })
}

/// Whether two halves are the same but for the sign of zeros.
pub fn same_but_signs_of_zeros(a: u64, b: u64) -> bool {
    (0..4).all(|i| {
        let (a, b) = ((a >> (16 * i)) as u16, (b >> (16 * i)) as u16);
        a == b || (a | b) & 0x7fff == 0
    })
}

/// As [`form`], with a judge of operands and results.
pub fn judged(
    text: &str,
    results: &[Kind],
    operands: &[Kind],
    judge: impl Fn(&[u64], &[u64]) -> Result<(), String> + 'static,
) -> Case {
    let opcode = text.split(' ').next().unwrap_or_default().to_owned();
    let (text, results, operands) = (text.to_owned(), results.to_vec(), operands.to_vec());
    Case {
        opcodes: vec![opcode],
        run: Box::new(move || Scalar { text: &text, results: &results, operands: &operands }.check(&judge)),
    }
}

struct Scalar<'a> {
    text: &'a str,
    results: &'a [Kind],
    operands: &'a [Kind],
}

/// Where the instruction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Plain,
    /// The result overwrites that operand.
    InPlace(usize),
    /// Only lanes with odd numbers execute it.
    Guarded,
}

impl Scalar<'_> {
    fn check(&self, judge: &Judge) {
        let mut variants = vec![Variant::Plain, Variant::Guarded];
        if let [result] = self.results {
            let fits = |operand: &Kind| operand.register() == result.register();
            variants.extend((0..self.operands.len()).filter(|k| fits(&self.operands[*k])).map(Variant::InPlace));
        }
        let mut lanes = self.products();
        lanes.extend(self.random());
        for variant in variants {
            self.launch(&mut Device::new(&self.body(variant)), variant, &lanes, judge);
        }
    }

    /// Random operands: the same in each run. What fails is named with its operands, so nothing is shrunk.
    fn random(&self) -> Vec<Vec<u64>> {
        let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let lane: Vec<_> = self.operands.iter().map(|kind| kind.any()).collect();
        (0..RANDOM).map(|_| lane.new_tree(&mut runner).expect("nothing is rejected").current()).collect()
    }

    /// All combinations of edges.
    fn products(&self) -> Vec<Vec<u64>> {
        let mut products = vec![Vec::new()];
        let most = if self.operands.len() > 2 { 12 } else { 64 };
        for kind in self.operands {
            let edges: Vec<u64> = kind.edges().into_iter().take(most).collect();
            products = products
                .iter()
                .flat_map(|left| edges.iter().map(|edge| left.iter().copied().chain([*edge]).collect()))
                .collect();
        }
        products
    }

    fn launch(&self, device: &mut Device, variant: Variant, lanes: &[Vec<u64>], judge: &Judge) {
        let blocks = lanes.len().div_ceil(BLOCK);
        let padded = lanes.iter().cycle().take(blocks * BLOCK);
        let input: Vec<u8> = padded.flatten().flat_map(|value| value.to_le_bytes()).collect();
        (device.grid, device.block) = (blocks as u32, BLOCK as u32);
        let output = device.run(&input, blocks * BLOCK * self.results.len() * 8);
        let words: Vec<u64> =
            output.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))).collect();
        for (i, (values, found)) in lanes.iter().zip(words.chunks_exact(self.results.len())).enumerate() {
            let verdict = if variant == Variant::Guarded && i % 2 == 0 {
                let kept = self.results.iter().zip(found).all(|(kind, found)| kind.mask(UNTOUCHED) == *found);
                if kept { Ok(()) } else { Err("a lane that does not execute was changed".to_owned()) }
            } else {
                judge(values, found)
            };
            if let Err(what) = verdict {
                panic!("`{}` {variant:?} of {values:x?} gave {found:x?}: {what}", self.text);
            }
        }
    }

    fn body(&self, variant: Variant) -> String {
        let mut body = String::from(
            ".reg .b64 %at; .reg .b64 %to; .reg .b32 %word; .reg .pred %guard; .reg .b16 %clean; .reg .pred %unclean;\nand.b32 %word, %i, 1;\n\
             setp.ne.u32 %guard, %word, 0;\n",
        );
        let _ = writeln!(body, "mad.wide.u32 %at, %i, {}, %in;", 8 * self.operands.len());
        let _ = writeln!(body, "mad.wide.u32 %to, %i, {}, %out;", 8 * self.results.len());
        for (k, kind) in self.operands.iter().enumerate() {
            let _ = writeln!(body, ".reg {} %a{k};", kind.register());
            let _ = match kind {
                Kind::Pred => write!(body, "ld.global.b32 %word, [%at+{}];\nsetp.ne.u32 %a{k}, %word, 0;\n", 8 * k),
                _ => writeln!(body, "ld.global{} %a{k}, [%at+{}];", kind.register(), 8 * k),
            };
        }
        for (k, kind) in self.results.iter().enumerate() {
            let _ = writeln!(body, ".reg {} %d{k};", kind.register());
            let _ = match kind {
                Kind::Pred => writeln!(body, "setp.eq.u32 %d{k}, %i, %i;"),
                _ => writeln!(body, "mov{} %d{k}, {:#x};", kind.register(), kind.mask(UNTOUCHED)),
            };
        }
        let guard = if variant == Variant::Guarded { "@%guard " } else { "" };
        let mut core: String = self
            .text
            .lines()
            .map(|line| if line.starts_with('.') { format!("{line}\n") } else { format!("{guard}{line}\n") })
            .collect();
        for (k, kind) in self.results.iter().enumerate() {
            // 16 bits are compared with a copy: what an emulated register has beyond them must not be seen.
            let _ = match (kind, kind.bits()) {
                (Kind::Pred, _) => {
                    write!(core, "selp.b32 %word, 1, 0, %d{k};\nst.global.b32 [%to+{}], %word;\n", 8 * k)
                }
                (_, 16) => write!(
                    core,
                    "cvt.u32.u16 %word, %d{k};\ncvt.u16.u32 %clean, %word;\nsetp.ne.b16 %unclean, %d{k}, %clean;\n\
                     @%unclean or.b32 %word, %word, 0x10000;\nst.global.b32 [%to+{}], %word;\n",
                    8 * k
                ),
                _ => writeln!(core, "st.global{} [%to+{}], %d{k};", kind.register(), 8 * k),
            };
        }
        if let Variant::InPlace(k) = variant {
            core = core.replace("%d0", &format!("%a{k}"));
        }
        body + &core
    }
}
