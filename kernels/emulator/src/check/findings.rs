//! Reports, a few of each kind and line.

use std::collections::HashMap;

use crate::report::{Kind, Report};

/// Reports of one kind and line that are kept.
const KEPT: u32 = 3;

/// Reports in the making.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    counts: HashMap<(Kind, usize), u32>,
    /// What is kept.
    pub reports: Vec<Report>,
}

impl Findings {
    /// Whether another report of that kind and line would be kept; it is counted.
    pub fn wants(&mut self, kind: Kind, line: usize) -> bool {
        let count = self.counts.entry((kind, line)).or_default();
        *count += 1;
        *count <= KEPT
    }

    /// Adds a report, unless there are enough of its kind and line.
    pub fn add(&mut self, report: Report) {
        if self.wants(report.kind, report.line) {
            self.reports.push(report);
        }
    }
}
