//! Ways to break PTX: one line deleted or weakened.

use std::fmt;

/// What a change breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Barriers, waits, lengths of copies, masks of exchanges.
    Order,
    /// Comparisons and branches.
    Bounds,
}

/// One change of a PTX text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mutant {
    /// Its number among all mutants of the text.
    pub(super) index: usize,
    pub(super) group: Group,
    /// Index of the line.
    line: usize,
    /// How often the same line occurs before, so that a name stays when code far from it changes.
    occurrence: usize,
    /// The entry that the line belongs to.
    pub(super) entry: String,
    old: String,
    /// Empty where the line is deleted.
    new: String,
}

impl Mutant {
    pub(super) fn apply(&self, ptx: &str) -> String {
        let lines = ptx.lines().enumerate();
        lines.map(|(i, line)| format!("{}\n", if i == self.line { &self.new } else { line })).collect()
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let new = if self.new.is_empty() { "nothing" } else { self.new.trim() };
        write!(f, "{} #{}: {} -> {new}", self.entry, self.occurrence, self.old.trim())
    }
}

/// The kernels of a PTX text.
pub(super) fn entries(ptx: &str) -> impl Iterator<Item = String> + use<'_> {
    ptx.lines().filter_map(entry)
}

/// The name of the kernel that begins with this line.
fn entry(line: &str) -> Option<String> {
    let (_, name) = line.split_once(".entry ")?;
    Some(name.trim_end_matches(['(', ' ']).to_owned())
}

/// All mutants of a PTX text, in order of lines.
pub(super) fn mutants(ptx: &str) -> Vec<Mutant> {
    let mut within = String::new();
    let mut found: Vec<Mutant> = Vec::new();
    for (line, text) in ptx.lines().enumerate() {
        within = entry(text).unwrap_or(within);
        for new in changes(text) {
            let occurrence = found.iter().filter(|m| m.entry == within && m.old == text && m.new == new).count();
            let bounds = text.contains("setp.") || text.contains("bra");
            let group = if bounds { Group::Bounds } else { Group::Order };
            let index = found.len();
            found.push(Mutant { index, group, line, occurrence, entry: within.clone(), old: text.to_owned(), new });
        }
    }
    found
}

/// What a line may become.
fn changes(line: &str) -> Vec<String> {
    let code = line.trim();
    let (guard, instruction) = match code.strip_prefix('@').and_then(|rest| rest.split_once(char::is_whitespace)) {
        Some((guard, instruction)) => (Some(guard), instruction.trim()),
        None => (None, code),
    };
    let opcode = instruction.split(char::is_whitespace).next().unwrap_or_default();
    let deleted = || vec![String::new()];
    let parts: Vec<&str> = opcode.trim_end_matches(';').split('.').collect();
    match parts.as_slice() {
        // Barriers and waits.
        ["bar" | "barrier", ..] => deleted(),
        ["cp", "async", "wait_group" | "wait_all", ..] => {
            let weaker = instruction.trim_end_matches(';').rsplit_once(char::is_whitespace).and_then(|(_, n)| {
                let n: u32 = n.trim().parse().ok()?;
                Some(format!("\tcp.async.wait_group {};", n + 1))
            });
            weaker.into_iter().chain(deleted()).collect()
        }
        // How many bytes a copy takes from its source; the rest is zero.
        ["cp", "async", "cg" | "ca", ..] => {
            let mut operands: Vec<&str> = instruction.trim_end_matches(';').split(", ").collect();
            if operands.len() == 4 {
                operands.pop();
                vec![format!("\t{};", operands.join(", "))]
            } else {
                Vec::new()
            }
        }
        // A branch that skips what is out of bounds, and the bounds of a loop.
        ["bra", ..] if guard.is_some() => {
            vec![line.replacen('@', "@!", 1).replacen("@!!", "@", 1)]
        }
        // An access that only some threads make.
        ["ld" | "st" | "atom" | "red", ..] if guard.is_some() => vec![format!("\t{instruction}")],
        // The comparisons that bounds and masks are made of, off by one.
        ["setp", compare @ ("lt" | "le" | "gt" | "ge"), .., "s32" | "u32" | "s64" | "u64"] => {
            let other = match *compare {
                "lt" => "le",
                "le" => "lt",
                "gt" => "ge",
                _ => "gt",
            };
            vec![line.replacen(&format!("setp.{compare}."), &format!("setp.{other}."), 1)]
        }
        // Which lanes take part in an exchange: the last operand.
        ["shfl" | "vote", "sync", ..] => match line.rsplit_once(", ") {
            Some((others, _)) => vec![format!("{others}, 65535;")],
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}
