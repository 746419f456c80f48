//! Each PTX instruction by itself, against what the manual (PTX ISA 8.x) says it does.
//!
//! Kernels and emulator are ours, and a reading of the manual that both share would not show in tests of kernels. The
//! references here are scalar and share no code with the emulator: integers wider than the operands, exact rational
//! numbers rounded once, matrices placed by the manual's tables. Whatever is compared is compared bit for bit, but
//! approximations by the manual's largest error, and any NaN passes for another where the manual leaves its bits open.
//!
//! | file | what it says |
//! |---|---|
//! | `case.rs`, `device.rs`, `values.rs` | kernels around an instruction, their launches, operands |
//! | `exact.rs` | exact numbers and their rounding |
//! | the others | a class of instructions each |
//!
//! A class is a list of cases, each with its opcodes; `opcodes.txt` is the sorted list of all of them.

mod approximations;
mod atomics;
mod barriers;
mod bits;
mod case;
mod comparisons;
mod conversions;
mod copies;
mod device;
mod exact;
mod floats;
mod flow;
mod fragments;
mod integers;
mod loads;
mod matrices;
mod programs;
mod values;
mod warps;

use std::collections::BTreeSet;

use case::{Case, run_all};

/// Makes the cases of a class.
type Make = fn() -> Vec<Case>;

/// Tests that run the cases of a class, and the list of classes: no class is listed without being run.
macro_rules! classes {
    ($($class:ident),* $(,)?) => {
        const CLASSES: &[Make] = &[$($class::cases),*];
        $(
            #[test]
            fn $class() {
                run_all($class::cases());
            }
        )*
    };
}

classes!(
    integers,
    bits,
    floats,
    conversions,
    comparisons,
    approximations,
    loads,
    atomics,
    warps,
    matrices,
    fragments,
    copies,
    flow,
    barriers,
    programs
);

/// The list is what the cases say that they test, and a case runs only if its opcodes stand in its kernel.
#[test]
fn the_list_of_opcodes_is_complete() {
    let tested: BTreeSet<String> = CLASSES.iter().flat_map(|cases| cases()).flat_map(|case| case.opcodes).collect();
    let text: String = tested.iter().map(|opcode| format!("{opcode}\n")).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/instructions/opcodes.txt");
    if std::env::var_os("FLG_BLESS").is_some() {
        std::fs::write(path, &text).expect("the list can be written");
    }
    let listed = std::fs::read_to_string(path).expect("the list can be read");
    let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let missing: Vec<_> = tested.difference(&listed).collect();
    let untested: Vec<_> = listed.difference(&tested).collect();
    assert!(missing.is_empty() && untested.is_empty(), "not in opcodes.txt: {missing:?}; not tested: {untested:?}");
}
