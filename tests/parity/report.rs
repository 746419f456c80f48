//! Collects differences, so that one run shows all of them.

use std::io::Write;

/// Names what is skipped, also where the test harness hides the output of tests that pass.
pub fn skip(what: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

/// Largest differences beside their limits.
#[derive(Default)]
pub struct Report {
    folder: String,
    device: String,
    checks: usize,
    failures: Vec<String>,
}

impl Report {
    pub fn folder(&mut self, name: &str) {
        self.folder = name.to_owned();
        self.device.clear();
        self.checks = 0;
    }

    /// What the checks that follow were computed on.
    pub fn device(&mut self, device: &flg_engine::Device) {
        self.device = if device.is_host() { String::new() } else { format!(" on {:?}", device.runtime()) };
    }

    pub fn checks_of_folder(&self) -> usize {
        self.checks
    }

    /// The largest difference of two equally long lists must be within `limit`; a NaN is not.
    pub fn close(&mut self, what: &str, got: &[f32], want: &[f32], limit: f64) {
        let differences = got.iter().zip(want).map(|(&g, &w)| (f64::from(g) - f64::from(w)).abs());
        let largest = differences.fold(0.0, |max: f64, d| if d.is_nan() { f64::INFINITY } else { max.max(d) });
        let detail = if got.len() == want.len() {
            format!("{largest:.2e}, limit {limit:.0e}")
        } else {
            format!("{} values, expected {}", got.len(), want.len())
        };
        self.check(what, &detail, got.len() == want.len() && !want.is_empty() && largest <= limit);
    }

    pub fn check(&mut self, what: &str, detail: &str, passed: bool) {
        self.checks += 1;
        let line = format!("{}{}: {what}: {detail}", self.folder, self.device);
        eprintln!("{}{line}", if passed { "" } else { "FAILED " });
        if !passed {
            self.failures.push(line);
        }
    }

    pub fn finish(self) {
        assert!(self.failures.is_empty(), "{} checks failed:\n{}", self.failures.len(), self.failures.join("\n"));
    }
}
