//! Every instruction in the PTX of our kernels is one that the emulated driver's own tests hold to the manual.

use std::collections::{BTreeMap, BTreeSet};

use flg_kernels::runtime::cuda::COMPILED;

/// What `kernels/emulator/tests/instructions` tests; a test there holds the list to what is really called.
const TESTED: &str = include_str!("../kernels/emulator/tests/instructions/opcodes.txt");

/// Instructions of a PTX text: the first word of each statement, a guard left out.
fn opcodes(ptx: &str) -> impl Iterator<Item = &str> {
    ptx.lines().filter_map(|line| {
        let code = line.trim();
        let code =
            code.strip_prefix('@').map_or(code, |rest| rest.split_once(char::is_whitespace).unwrap_or_default().1);
        let word = code.trim_start_matches(['{', ' ']).split([' ', '\t', ';']).next()?;
        let instruction = code.ends_with(';') && word.starts_with(|c: char| c.is_ascii_lowercase());
        instruction.then_some(word)
    })
}

#[test]
fn every_opcode_of_our_kernels_is_tested_against_the_manual() {
    let tested: BTreeSet<&str> = TESTED.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    let mut untested: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for folder in COMPILED {
        for opcode in opcodes(folder.ptx) {
            found.insert(opcode);
            if !tested.contains(opcode) {
                untested.entry(opcode).or_default().insert(folder.name);
            }
        }
    }
    assert!(found.len() > 50, "only {} opcodes were found: is this PTX?", found.len());
    assert!(untested.is_empty(), "{} of {} opcodes are not tested: {untested:#?}", untested.len(), found.len());
}
