//! The scheduler's file: the shift to sample with, in diffusers' words.

use std::path::Path;

use flg_engine::files::{read_json, write_json};
use serde_json::{Value, json};

use crate::Result;
use crate::config::DIFFUSERS_VERSION;
use crate::schedule::{FewStep, Rule};

/// The file, in a checkpoint's folder.
pub(super) const CONFIG: &str = "scheduler/scheduler_config.json";
/// The class that it is written for.
pub(super) const CLASS: &str = "FlowMatchEulerDiscreteScheduler";

/// The class of the published checkpoints.
pub(super) const UNIPC: &str = "UniPCMultistepScheduler";

/// The shift of a scheduler's file, whichever of the two classes that Wan uses it is for.
pub(super) fn read_shift(path: &Path) -> Result<Option<f32>> {
    let config: Value = read_json(path)?;
    let shift = config["flow_shift"].as_f64().or(config["shift"].as_f64());
    Ok(shift.map(|shift| shift as f32))
}

/// Writes the scheduler that the published checkpoints sample with, in a checkpoint's folder that is there: UniPC of order
/// 2 over flow levels. What is not written is diffusers' default.
///
/// # Errors
/// What the system refuses.
pub fn write_unipc(folder: impl AsRef<Path>, shift: f32) -> Result<()> {
    let path = folder.as_ref().join(CONFIG);
    super::make_folder(path.parent().unwrap_or(&path))?;
    let config = json!({
        "_class_name": UNIPC,
        "_diffusers_version": DIFFUSERS_VERSION,
        "flow_shift": shift,
        "num_train_timesteps": 1000,
        "prediction_type": "flow_prediction",
        "solver_order": 2,
        "solver_type": "bh2",
        "use_flow_sigmas": true,
    });
    Ok(write_json(path, &config)?)
}

/// Writes the scheduler of a network that was made here: Euler, or what diffusers has for the rule of a distilled one. The
/// levels of a schedule have no place in this file.
pub(super) fn write(path: &Path, shift: f32, few_step: Option<&FewStep>) -> Result<()> {
    let renoises = few_step.is_some_and(|few_step| few_step.rule == Rule::Renoise);
    let config = json!({
        "_class_name": CLASS,
        "_diffusers_version": DIFFUSERS_VERSION,
        "num_train_timesteps": 1000,
        "shift": shift,
        "stochastic_sampling": renoises,
        "use_dynamic_shifting": false,
    });
    Ok(write_json(path, &config)?)
}
