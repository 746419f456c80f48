//! Flags that make a configuration.

use std::path::PathBuf;

use crate::config::{Config, Layers, Result};

/// Where the configuration comes from, each over the one before: defaults, preset, file, `--set`, `--seed`.
#[derive(Debug, Default, clap::Args)]
pub struct ConfigArgs {
    /// A built-in configuration: digits, counter, quick (repeatable, in order)
    #[arg(long, value_name = "NAME")]
    preset: Vec<String>,
    /// A TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One value, such as `train.steps=100` (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seed of all random numbers, `run.seed`
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl ConfigArgs {
    /// The configuration over `base`; `overrides` are values that other flags stand for.
    ///
    /// # Errors
    /// Whatever a layer gets wrong.
    pub fn resolve(&self, base: Layers, overrides: &[String]) -> Result<Config> {
        let mut layers = base;
        for name in &self.preset {
            layers = layers.preset(name)?;
        }
        if let Some(path) = &self.config {
            layers = layers.file(path)?;
        }
        let seed = self.seed.map(|seed| format!("run.seed={seed}"));
        for text in self.set.iter().chain(overrides).chain(&seed) {
            layers = layers.set(text)?;
        }
        layers.finish()
    }
}
