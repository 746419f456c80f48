//! Launches as the emulated driver counted them.

use flg_kernels::runtime::cuda::COMPILED;
use serde_json::Value;

use super::bound::{Bound, Gpu};
use super::emulator;

/// Classes of instructions, in the order in which the emulated driver lists them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Class {
    Fp32 = 0,
    Integer = 3,
    Conversion = 4,
    SpecialFunction = 5,
}

/// One launch.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) kernel: String,
    grid: Vec<usize>,
    block: Vec<usize>,
    /// Bytes of shared memory a block.
    pub(super) shared: usize,
    pub(super) warp_instructions: u64,
    pub(super) tensor_flops: u64,
    /// Of sectors that were read, and of those that were written: what must come from memory and go there, if all else
    /// is in caches.
    pub(super) bytes: u64,
    pub(super) global_sectors: u64,
    sectors_ideal: u64,
    pub(super) shared_wavefronts: u64,
    wavefronts_ideal: u64,
    classes: Vec<u64>,
}

/// The launches since the last call.
pub(super) fn take() -> Vec<Launch> {
    emulator::take_counters().iter().filter_map(|line| Launch::read(&serde_json::from_str(line).ok()?)).collect()
}

impl Launch {
    fn read(value: &Value) -> Option<Launch> {
        let number = |name: &str| value.get(name)?.as_u64();
        let list = |name: &str| -> Option<Vec<u64>> {
            value.get(name)?.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<_>>>()
        };
        let extents = |name: &str| Some(list(name)?.into_iter().map(|n| n as usize).collect::<Vec<_>>());
        Some(Launch {
            kernel: value.get("kernel")?.as_str()?.to_owned(),
            grid: extents("grid")?,
            block: extents("block")?,
            shared: number("shared")? as usize,
            warp_instructions: number("warp_instructions")?,
            tensor_flops: number("tensor_flops")?,
            bytes: number("global_bytes_read")? + number("global_bytes_written")?,
            global_sectors: number("global_sectors")?,
            sectors_ideal: number("global_sectors_ideal")?,
            shared_wavefronts: number("shared_wavefronts")?,
            wavefronts_ideal: number("shared_wavefronts_ideal")?,
            classes: list("classes")?,
        })
    }

    pub(super) fn of(&self, class: Class) -> u64 {
        self.classes.get(class as usize).copied().unwrap_or(0)
    }

    pub(super) fn blocks(&self) -> usize {
        self.grid.iter().product()
    }

    pub(super) fn threads(&self) -> usize {
        self.block.iter().product()
    }

    /// Registers a thread, by ptxas for an architecture.
    pub(super) fn registers(&self, arch: &str) -> usize {
        let reports = COMPILED.iter().flat_map(|folder| folder.reports).filter(|(of, _)| *of == arch);
        let mut found = reports.filter_map(|(_, text)| {
            let (_, after) = text.split_once(&format!("entry function '{}' for", self.kernel))?;
            let (_, used) = after.split_once("Used ")?;
            used.split(' ').next()?.parse().ok()
        });
        found.next().unwrap_or(0)
    }

    /// Sectors of 32 bytes that were touched, over the fewest that the bytes fit into.
    pub(super) fn sectors(&self) -> f64 {
        ratio(self.global_sectors, self.sectors_ideal)
    }

    /// Passes over the banks of shared memory, over those without a conflict.
    pub(super) fn wavefronts(&self) -> f64 {
        ratio(self.shared_wavefronts, self.wavefronts_ideal)
    }

    pub(super) fn line(&self, name: &str, gpus: &[&Gpu]) -> String {
        let bounds: String = gpus
            .iter()
            .map(|gpu| {
                let Bound { seconds, unit, tensor_share, occupancy } = gpu.bound(self);
                let tensor = if self.tensor_flops > 0 {
                    format!(", tensor cores {:.0} %", 100.0 * tensor_share)
                } else {
                    String::new()
                };
                format!(
                    "\n    {}: at least {:.2} us by {unit}{tensor}, occupancy {:.0} %",
                    gpu.name,
                    seconds * 1e6,
                    100.0 * occupancy
                )
            })
            .collect();
        format!(
            "{name}\n  {} {:?} x {:?}, {} B shared: {} warp instructions, sectors {:.2}, wavefronts {:.2} of the ideal{bounds}",
            self.kernel,
            self.grid,
            self.block,
            self.shared,
            self.warp_instructions,
            self.sectors(),
            self.wavefronts(),
        )
    }
}

fn ratio(got: u64, ideal: u64) -> f64 {
    if ideal == 0 { 1.0 } else { got as f64 / ideal as f64 }
}
