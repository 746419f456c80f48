//! Random programs with branches, loops and guards, against an interpreter that runs each thread by itself.
//!
//! Cases of single instructions do not see what an instruction does to its neighbours: registers that share a place,
//! lanes that come back with values of others, guards that outlive their predicate.

use std::fmt::Write;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::case::Case;
use crate::device::Device;

/// Registers of 32 bits, and of 64.
const WORDS: usize = 10;
const DOUBLES: usize = 3;
const THREADS: usize = 64;

#[derive(Clone, Copy, Debug)]
enum Operation {
    Add,
    Sub,
    Mul,
    Xor,
    And,
    Max,
    Shift,
}

#[derive(Clone, Debug)]
enum Step {
    /// `d = a op b`.
    Word(Operation, usize, usize, usize),
    /// `d = a op b` where register `c` is odd.
    Guarded(Operation, usize, usize, usize, usize),
    /// Two words to a double, its sum with another, and a double to two words.
    Pack(usize, usize, usize),
    Double(usize, usize, usize),
    Unpack(usize, usize, usize),
    /// Where register `a` is below `b`.
    If(usize, usize, Vec<Step>, Vec<Step>),
    /// As often as the low bits of register `a` say.
    Loop(usize, Vec<Step>),
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    proptest::sample::select(vec![Add, Sub, Mul, Xor, And, Max, Shift])
}

/// A list of steps.
fn steps() -> BoxedStrategy<Vec<Step>> {
    let word = 0..WORDS;
    let double = 0..DOUBLES;
    let leaf = prop_oneof![
        4 => (operation(), word.clone(), word.clone(), word.clone()).prop_map(|(o, d, a, b)| Step::Word(o, d, a, b)),
        2 => (operation(), word.clone(), word.clone(), word.clone(), word.clone())
            .prop_map(|(o, d, a, b, c)| Step::Guarded(o, d, a, b, c)),
        1 => (double.clone(), word.clone(), word.clone()).prop_map(|(d, a, b)| Step::Pack(d, a, b)),
        1 => (double.clone(), double.clone(), double.clone()).prop_map(|(d, a, b)| Step::Double(d, a, b)),
        // Two words that differ: which of two results in one register stays is nobody's promise.
        1 => (word.clone(), 1..WORDS, double).prop_map(|(a, b, d)| Step::Unpack(a, (a + b) % WORDS, d)),
    ];
    let list = |step: BoxedStrategy<Step>| prop::collection::vec(step, 1..7);
    let step = leaf.boxed().prop_recursive(3, 40, 6, move |inner| {
        let word = 0..WORDS;
        prop_oneof![
            (word.clone(), word.clone(), list(inner.clone()), list(inner.clone()))
                .prop_map(|(a, b, then, or)| Step::If(a, b, then, or)),
            (word, list(inner)).prop_map(|(a, body)| Step::Loop(a, body)),
        ]
    });
    prop::collection::vec(step, 4..12).boxed()
}

/// A thread's registers.
#[derive(Clone)]
struct State {
    words: [u32; WORDS],
    doubles: [u64; DOUBLES],
}

fn compute(operation: Operation, a: u32, b: u32) -> u32 {
    match operation {
        Operation::Add => a.wrapping_add(b),
        Operation::Sub => a.wrapping_sub(b),
        Operation::Mul => a.wrapping_mul(b),
        Operation::Xor => a ^ b,
        Operation::And => a & b,
        Operation::Max => a.max(b),
        Operation::Shift => {
            if b > 31 {
                0
            } else {
                a >> b
            }
        }
    }
}

fn interpret(state: &mut State, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Word(o, d, a, b) => state.words[*d] = compute(*o, state.words[*a], state.words[*b]),
            Step::Guarded(o, d, a, b, c) => {
                if state.words[*c] & 1 == 1 {
                    state.words[*d] = compute(*o, state.words[*a], state.words[*b]);
                }
            }
            Step::Pack(d, a, b) => {
                state.doubles[*d] = u64::from(state.words[*b]) << 32 | u64::from(state.words[*a]);
            }
            Step::Double(d, a, b) => state.doubles[*d] = state.doubles[*a].wrapping_add(state.doubles[*b]),
            Step::Unpack(a, b, d) => {
                (state.words[*a], state.words[*b]) = (state.doubles[*d] as u32, (state.doubles[*d] >> 32) as u32);
            }
            Step::If(a, b, then, or) => {
                let branch = if state.words[*a] < state.words[*b] { then } else { or };
                interpret(state, branch);
            }
            Step::Loop(a, body) => {
                for _ in 0..state.words[*a] & 3 {
                    interpret(state, body);
                }
            }
        }
    }
}

/// PTX of steps; each branch and loop has registers of its own.
#[derive(Default)]
struct Writer {
    text: String,
    labels: usize,
}

impl Writer {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{line}");
    }

    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        let name = |operation: &Operation| match operation {
            Operation::Add => "add.u32",
            Operation::Sub => "sub.u32",
            Operation::Mul => "mul.lo.u32",
            Operation::Xor => "xor.b32",
            Operation::And => "and.b32",
            Operation::Max => "max.u32",
            Operation::Shift => "shr.u32",
        };
        let n = self.labels;
        self.labels += 1;
        match step {
            Step::Word(o, d, a, b) => self.line(format_args!("{} %r{d}, %r{a}, %r{b};", name(o))),
            Step::Guarded(o, d, a, b, c) => {
                self.line(format_args!(".reg .b32 %c{n}; .reg .pred %g{n};\nand.b32 %c{n}, %r{c}, 1;"));
                self.line(format_args!("setp.eq.u32 %g{n}, %c{n}, 0;\n@!%g{n} {} %r{d}, %r{a}, %r{b};", name(o)));
            }
            Step::Pack(d, a, b) => self.line(format_args!("mov.b64 %w{d}, {{%r{a}, %r{b}}};")),
            Step::Double(d, a, b) => self.line(format_args!("add.u64 %w{d}, %w{a}, %w{b};")),
            Step::Unpack(a, b, d) => self.line(format_args!("mov.b64 {{%r{a}, %r{b}}}, %w{d};")),
            Step::If(a, b, then, or) => {
                self.line(format_args!(".reg .pred %g{n};\nsetp.lt.u32 %g{n}, %r{a}, %r{b};\n@%g{n} bra T{n};"));
                self.steps(or);
                self.line(format_args!("bra.uni E{n};\nT{n}:"));
                self.steps(then);
                self.line(format_args!("E{n}:"));
            }
            Step::Loop(a, body) => {
                self.line(format_args!(".reg .b32 %c{n}; .reg .pred %g{n};\nand.b32 %c{n}, %r{a}, 3;"));
                self.line(format_args!(
                    "L{n}: setp.eq.u32 %g{n}, %c{n}, 0;\n@%g{n} bra E{n};\nsub.u32 %c{n}, %c{n}, 1;"
                ));
                self.steps(body);
                self.line(format_args!("bra L{n};\nE{n}:"));
            }
        }
    }
}

/// A kernel that begins with words of memory, and ends by storing all registers.
fn kernel(steps: &[Step]) -> String {
    let mut writer = Writer::default();
    let stride = 4 * (WORDS + 2 * DOUBLES);
    writer.line(format_args!(".reg .b64 %from; .reg .b64 %to;\nmad.wide.u32 %from, %i, {stride}, %in;"));
    writer.line(format_args!(".reg .b32 %r<{WORDS}>; .reg .b64 %w<{DOUBLES}>;"));
    for k in 0..WORDS {
        writer.line(format_args!("ld.global.b32 %r{k}, [%from+{}];", 4 * k));
    }
    for k in 0..DOUBLES {
        writer.line(format_args!("ld.global.b64 %w{k}, [%from+{}];", 4 * WORDS + 8 * k));
    }
    writer.steps(steps);
    writer.line(format_args!("mad.wide.u32 %to, %i, {stride}, %out;"));
    for k in 0..WORDS {
        writer.line(format_args!("st.global.b32 [%to+{}], %r{k};", 4 * k));
    }
    for k in 0..DOUBLES {
        writer.line(format_args!("st.global.b64 [%to+{}], %w{k};", 4 * WORDS + 8 * k));
    }
    writer.text
}

fn check(steps: &[Step]) {
    let mut device = Device::new(&kernel(steps));
    device.block = THREADS as u32;
    let stride = WORDS + 2 * DOUBLES;
    let word = |i: usize| (i as u32 + 1).wrapping_mul(0x9e37_79b9) >> (i * 7 % 29);
    let input: Vec<u32> = (0..THREADS * stride).map(word).collect();
    let found = device.words(&input, input.len());
    for (thread, (input, found)) in input.chunks_exact(stride).zip(found.chunks_exact(stride)).enumerate() {
        let double = |k: usize| u64::from(input[WORDS + 2 * k + 1]) << 32 | u64::from(input[WORDS + 2 * k]);
        let mut state = State { words: std::array::from_fn(|k| input[k]), doubles: std::array::from_fn(double) };
        interpret(&mut state, steps);
        let doubles = state.doubles.iter().flat_map(|value| [*value as u32, (*value >> 32) as u32]);
        let expected: Vec<u32> = state.words.into_iter().chain(doubles).collect();
        assert_eq!(found, expected, "thread {thread} of {steps:?}");
    }
}

pub fn cases() -> Vec<Case> {
    let run = || {
        let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let result = runner.run(&steps(), |steps| {
            check(&steps);
            Ok(())
        });
        if let Err(error) = result {
            panic!("{error}");
        }
    };
    vec![Case { opcodes: Vec::new(), run: Box::new(run) }]
}
