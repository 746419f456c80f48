//! What the process has to say: defects found, kernels run. Kept until somebody takes it, and printed once.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::report::{Kind, Report};

/// Lines that are kept; older ones are dropped for newer ones.
const KEPT: usize = 1 << 16;
/// Texts that are printed; what a program does wrong a thousand times fills no disk.
const PRINTED: usize = 1000;

static REPORTS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static LAUNCHES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static SAID: Mutex<Option<HashSet<String>>> = Mutex::new(None);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A defect: kept, counted, printed.
pub(super) fn report(report: &Report) {
    let line = report.to_string().replace('\n', " ");
    COUNT.fetch_add(1, Relaxed);
    say_once(&line);
    keep(&REPORTS, line);
}

/// A defect of a copy, a launch, an order: of what the host asked for, not of a kernel's instruction.
pub(super) fn report_host(kind: Kind, address: Option<u64>, detail: String) {
    report(&Report { address, ..Report::without_place(kind, detail) });
}

/// A kernel that ran, as one line of JSON.
pub(super) fn launch(line: String) {
    keep(&LAUNCHES, line);
}

/// Prints a text, unless it was printed before.
pub(super) fn say_once(text: &str) {
    let mut said = lock(&SAID);
    let said = said.get_or_insert_with(HashSet::new);
    if said.len() < PRINTED && said.insert(text.to_owned()) {
        eprintln!("flg-emulator: {text}");
        if said.len() == PRINTED {
            eprintln!("flg-emulator: {PRINTED} different messages; no more are printed");
        }
    }
}

/// Defects so far, taken or not.
pub(super) fn count() -> u64 {
    COUNT.load(Relaxed)
}

/// The kept lines, if they fit into `room` bytes with a newline each, and the bytes that they take. They are kept no
/// longer when they fit.
pub(super) fn take_reports(room: usize) -> (Option<String>, usize) {
    take(&REPORTS, room)
}

/// As [`take_reports`], of kernels that ran.
pub(super) fn take_launches(room: usize) -> (Option<String>, usize) {
    take(&LAUNCHES, room)
}

fn take(list: &Mutex<VecDeque<String>>, room: usize) -> (Option<String>, usize) {
    let mut lines = lock(list);
    let needed = lines.iter().map(|line| line.len() + 1).sum();
    if needed > room {
        return (None, needed);
    }
    let text = lines.drain(..).flat_map(|line| [line, "\n".into()]).collect();
    (Some(text), needed)
}

fn keep(list: &Mutex<VecDeque<String>>, line: String) {
    let mut lines = lock(list);
    if lines.len() == KEPT {
        lines.pop_front();
    }
    lines.push_back(line);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind is a list of whole lines at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
