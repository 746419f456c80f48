//! Whole pipelines of diffusers: guidance over a few steps from given noise, with the networks of sibling folders.

use std::ops::ControlFlow;
use std::path::Path;

use flg_engine::{Device, Key, Precision, Tensor};
use flg_model::Guidance;
use flg_model::sampler::{Ode, Solver};
use flg_train::generate::Sampler;
use flg_train::pipeline::{Denoising, Given};
use serde_json::Value;

use super::report::Report;
use super::tensors::Tensors;

const LATENTS: f64 = 3e-4;

/// `resident` blocks stay in memory: the others are read anew in every step.
pub fn check(folder: &Path, meta: &Value, resident: usize, report: &mut Report) {
    let device = Device::cpu();
    let [inputs, outputs] =
        ["inputs", "outputs"].map(|name| Tensors::read(&folder.join(format!("{name}.safetensors"))));
    let input = |name: &str| inputs.get(name).map(|array| array.tensor(&device));
    let condition = outputs.get("condition").map(|array| array.tensor(&device));
    let per_token = meta["expand_timesteps"] == true;
    let given = Given {
        noise: input("latents").unwrap(),
        text: input("prompt_embeds").unwrap(),
        null_text: input("negative_prompt_embeds").unwrap(),
        image: input("image_embeds"),
        beside: condition.clone().filter(|_| !per_token),
        first_frame: condition.filter(|_| per_token),
    };
    let (steps, shift) = (meta["steps"].as_u64().unwrap() as usize, meta["shift"].as_f64().unwrap());
    let solver = if meta["scheduler"] == "euler" { Solver::DiffusersEuler } else { Solver::UniPc { order: 2 } };
    let guidance = Guidance::ho_salimans(meta["guidance_scale"].as_f64().unwrap() as f32);
    let denoising = Denoising {
        networks: vec![folder.with_file_name(meta["transformer"].as_str().unwrap())],
        boundary: 1.0,
        skip: Vec::new(),
        sampler: Sampler::Ode(Ode { solver, steps, shift }, guidance),
        second_guidance: guidance,
        precision: Precision::F32,
        key: Key::new(0),
    };
    let per_step = &outputs["latents_per_step"];
    let len = per_step.values.len() / steps;
    let mut seen = 0;
    let latents: Tensor = denoising
        .run(&given, resident, &mut |reached| {
            if let Some([latents, _]) = reached.latents {
                // diffusers puts a given frame back behind the callback that these were captured in.
                if !per_token || given.first_frame.is_none() {
                    let want = &per_step.values[seen * len..][..len];
                    report.close(&format!("latents behind step {}", seen + 1), &latents.to_vec(), want, LATENTS);
                }
                seen += 1;
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    report.check("steps", &format!("{seen} of {steps}"), seen == steps);
    report.close("latents", &latents.to_vec(), &outputs["latents"].values, LATENTS);
}
