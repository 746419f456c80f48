//! The scheduler's file: the shift to sample with, in diffusers' words.

use std::path::Path;

use flg_engine::files::{read_json, write_json};
use serde_json::{Value, json};

use crate::Result;
use crate::config::DIFFUSERS_VERSION;

/// The file, in a checkpoint's folder.
pub(super) const CONFIG: &str = "scheduler/scheduler_config.json";
/// The class that it is written for.
pub(super) const CLASS: &str = "FlowMatchEulerDiscreteScheduler";

/// The shift of a scheduler's file, whichever of the two classes that Wan uses it is for.
pub(super) fn read_shift(path: &Path) -> Result<Option<f32>> {
    let config: Value = read_json(path)?;
    let shift = config["flow_shift"].as_f64().or(config["shift"].as_f64());
    Ok(shift.map(|shift| shift as f32))
}

pub(super) fn write(path: &Path, shift: f32) -> Result<()> {
    let config = json!({
        "_class_name": CLASS,
        "_diffusers_version": DIFFUSERS_VERSION,
        "num_train_timesteps": 1000,
        "shift": shift,
        "use_dynamic_shifting": false,
    });
    Ok(write_json(path, &config)?)
}
