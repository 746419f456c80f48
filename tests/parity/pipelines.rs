//! Whole pipelines of diffusers: guidance over a few steps from given noise, with the networks of sibling folders.

use std::ops::ControlFlow;
use std::path::Path;

use flg_engine::{Device, Key, Precision, Tensor};
use flg_model::Guidance;
use flg_model::sampler::{Ode, Solver};
use flg_train::generate::Sampler;
use flg_train::pipeline::{Denoising, Extents, Given, Images, Latents, Parts, Pixels, View};
use flg_train::video::{Clip, Geometry};
use serde_json::{Value, json};

use super::report::Report;
use super::tensors::Tensors;

const LATENTS: f64 = 3e-4;

const VIDEO: f64 = 2e-4;
const CONDITION: f64 = 1e-5;

/// What the autoencoder makes of the latents, and of the image of a pipeline that is given one.
fn video(folder: &Path, meta: &Value, latents: &Tensor, outputs: &Tensors, report: &mut Report) {
    let (device, dir) = (Device::cpu(), tempfile::tempdir().unwrap());
    for (part, name) in [("transformer", &meta["transformer"]), ("vae", &meta["vae"])] {
        let source = folder.with_file_name(name.as_str().unwrap()).canonicalize().unwrap();
        std::fs::create_dir(dir.path().join(part)).unwrap();
        for entry in std::fs::read_dir(source).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), dir.path().join(part).join(entry.file_name())).unwrap();
        }
    }
    let per_token = meta["expand_timesteps"] == true;
    let index =
        json!({ "_class_name": meta["cls"], "expand_timesteps": per_token, "vae": ["diffusers", "AutoencoderKLWan"] });
    std::fs::write(dir.path().join("model_index.json"), index.to_string()).unwrap();
    let parts = Parts::open(dir.path()).unwrap();
    let mut quiet = |_: usize, _: usize| ControlFlow::Continue(());
    let clip = Pixels::open(&parts, &device).unwrap().decode(latents, View::Whole, &mut quiet).unwrap();
    // diffusers has frames before channels.
    let Geometry { frames, height, width, .. } = clip.geometry();
    let plane = height * width;
    let planes = (0..frames).flat_map(|frame| (0..3).map(move |channel| channel * frames + frame));
    let shown: Vec<f32> = planes.flat_map(|at| clip.pixels()[at * plane..][..plane].to_vec()).collect();
    report.close("video", &shown, &outputs["video_pt"].values, VIDEO);

    let inputs = Tensors::read(&folder.join("inputs.safetensors"));
    let (Some(image), Some(want)) = (inputs.get("image_01"), outputs.get("condition")) else { return };
    let image = Clip::from_pixels(Geometry { channels: 3, frames: 1, height, width }, image.values.clone()).unwrap();
    let images = Images { first: image.frames().next().unwrap(), last: None };
    let autoencoder = Latents::open(&parts, View::Whole, &device).unwrap();
    let extents = Extents { frames, height, width };
    let made = images.latents(&parts, extents, &autoencoder, &device, &mut quiet).unwrap();
    let made = made.beside.or(made.first_frame).unwrap();
    report.close("condition", &made.to_vec(), &want.values, CONDITION);
}

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
        .run(&given, resident, None, &mut |reached| {
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
    video(folder, meta, &latents, &outputs, report);
    report.check("steps", &format!("{seen} of {steps}"), seen == steps);
    report.close("latents", &latents.to_vec(), &outputs["latents"].values, LATENTS);
}
