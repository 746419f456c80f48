//! What criterion does not print: the rates of a group in one table, and their share of what this machine could do.

use std::time::Instant;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Throughput};
use flg_kernels::Runtime;
use flg_kernels::catalog::Work;
use flg_train::bench::peak_flops;

/// Samples of a bench: half of criterion's default, since the largest products take a fifth of a second each.
pub const SAMPLES: usize = 50;

/// The rates of the benches of a group.
pub struct Table {
    /// Operations a second of all threads together.
    peak: f64,
    rows: Vec<String>,
}

impl Table {
    /// Measures and prints the peak of one thread; shares will be those of `threads` such threads.
    pub fn new(rt: &Runtime, threads: usize) -> Self {
        let one = peak_flops(rt);
        println!("peak of one thread: {:.1} GFLOP/s, measured now; threads: {threads}\n", one / 1e9);
        Table { peak: one * threads as f64, rows: Vec::new() }
    }

    /// Times `call` as criterion's bench `name` of `group`, and takes down the rate of the median sample.
    ///
    /// Arithmetic-bound calls report operations a second, the others bytes a second.
    pub fn time(&mut self, group: &mut BenchmarkGroup<'_, WallTime>, name: &str, work: Work, mut call: impl FnMut()) {
        let arithmetic = work.flops > 8 * work.bytes;
        group.throughput(if arithmetic { Throughput::Elements(work.flops) } else { Throughput::Bytes(work.bytes) });
        let mut seconds = Vec::new();
        group.bench_function(name, |b| {
            b.iter_custom(|calls| {
                let start = Instant::now();
                (0..calls).for_each(|_| call());
                let elapsed = start.elapsed();
                seconds.push(elapsed.as_secs_f64() / calls as f64);
                elapsed
            });
        });
        // The warm-up comes first. Nothing was timed where a filter left the bench out.
        let mut samples = seconds.split_off(seconds.len().saturating_sub(SAMPLES));
        samples.sort_by(f64::total_cmp);
        let Some(&median) = samples.get(samples.len() / 2) else { return };
        let (rate, share) = if arithmetic {
            let rate = work.flops as f64 / median;
            (format!("{:.1} GFLOP/s", rate / 1e9), format!("{:.0} %", 100.0 * rate / self.peak))
        } else {
            (format!("{:.1} GB/s", work.bytes as f64 / median / 1e9), "-".to_owned())
        };
        self.rows.push(format!("{name:<40} {:>12.1} us {rate:>16} {share:>8}", median * 1e6));
    }

    /// Prints what has been taken down since the last time, under a title.
    pub fn print(&mut self, title: &str) {
        if !self.rows.is_empty() {
            println!("\n{title:<40} {:>15} {:>16} {:>8}", "median", "rate", "of peak");
            self.rows.drain(..).for_each(|row| println!("{row}"));
            println!();
        }
    }
}
