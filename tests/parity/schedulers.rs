//! Levels, times and trajectories of diffusers' schedulers.

use std::path::Path;

use flg_engine::{Device, Tensor};
use flg_model::schedule::{Euler, UniPc};

use super::report::{Report, skip};
use super::tensors::{Array, Tensors};

/// What a name such as `unipc_order3.shift5.steps12` asks for.
struct Asked<'a> {
    solver: &'a str,
    order: usize,
    shift: f64,
    steps: usize,
}

impl<'a> Asked<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        let (solver, rest) = name.split_once(".shift")?;
        // A shift may have a decimal point of its own.
        let (shift, steps) = rest.split_once(".steps")?;
        let (solver, order) = solver.split_once("_order").unwrap_or((solver, "2"));
        Some(Asked { solver, order: order.parse().ok()?, shift: shift.parse().ok()?, steps: steps.parse().ok()? })
    }

    fn levels(&self) -> Option<(Vec<f32>, Vec<f32>)> {
        match self.solver {
            "euler" => {
                let euler = Euler::as_diffusers(self.steps, self.shift).unwrap();
                Some((euler.sigmas().to_vec(), euler.timesteps()))
            }
            "unipc" => {
                let unipc = UniPc::new(self.steps, self.shift, self.order).unwrap();
                Some((unipc.sigmas().to_vec(), unipc.timesteps().to_vec()))
            }
            _ => None,
        }
    }
}

pub fn check(folder: &Path, report: &mut Report) {
    let outputs = Tensors::read(&folder.join("outputs.safetensors"));
    for (name, array) in outputs.iter() {
        if let Some(name) = name.strip_prefix("traj.").and_then(|name| name.strip_suffix(".x")) {
            trajectory(name, array, &outputs[&format!("traj.{name}.v")], report);
        } else if let Some(asked) = name.strip_suffix(".sigmas").and_then(Asked::parse) {
            match asked.levels() {
                Some((sigmas, _)) => report.close(name, &sigmas, &array.values, 2e-7),
                None => skip(&format!("{name} is not supported yet")),
            }
        } else if let Some(asked) = name.strip_suffix(".timesteps").and_then(Asked::parse)
            && let Some((_, times)) = asked.levels()
        {
            // UniPC's are whole numbers and exact; Euler's are f32 levels times 1000.
            report.close(name, &times, &array.values, if asked.solver == "unipc" { 0.0 } else { 2e-4 });
        }
    }
}

fn trajectory(name: &str, x: &Array, v: &Array, report: &mut Report) {
    let asked = Asked::parse(name).unwrap_or_else(|| panic!("`traj.{name}` is not understood"));
    let device = Device::cpu();
    let (xs, vs) = (x.tensor(&device), v.tensor(&device));
    let mut unipc = UniPc::new(asked.steps, asked.shift, asked.order).unwrap();
    let euler = Euler::as_diffusers(asked.steps, asked.shift).unwrap();
    let mut x: Tensor = xs.narrow(0, 0, 1).unwrap();
    let mut got = x.to_vec();
    for i in 0..asked.steps {
        let velocity = vs.narrow(0, i, 1).unwrap().combine(1.0, &x, 0.3).unwrap();
        x = match asked.solver {
            "euler" => euler.step(i, &velocity, &x).unwrap(),
            "unipc" => unipc.step(&velocity, &x).unwrap(),
            _ => return skip(&format!("{name} is not supported yet")),
        };
        got.extend(x.to_vec());
    }
    report.close(&format!("traj.{name}"), &got, &xs.to_vec(), 2e-6);
}
