//! A `CLIPVisionModel` with pixels, hidden states and the one that is the embedding.

use std::ops::ControlFlow;
use std::path::Path;

use flg_engine::Device;
use flg_model::clip::Clip;

use super::report::Report;
use super::tensors::Tensors;

const FORWARD: f64 = 2e-5;

pub fn check(folder: &Path, device: &Device, report: &mut Report) {
    report.device(device);
    let mut clip = Clip::open(folder).unwrap();
    let read = |name: &str| Tensors::read(&folder.join(name));
    let activations = read("activations.safetensors");
    let mut hidden = Vec::new();
    let mut see = |done: flg_model::BlockDone<'_>| {
        hidden.push(done.hidden.clone());
        ControlFlow::Continue(())
    };
    let pixels = read("inputs.safetensors")["pixel_values"].tensor(device);
    let got = clip.forward(&pixels, device, &mut see).unwrap();
    report.close("image_embeds", &got.to_vec(), &read("outputs.safetensors")["image_embeds"].values, FORWARD);
    for (i, hidden) in hidden.iter().enumerate() {
        let name = format!("hidden_states.{i}");
        report.close(&name, &hidden.to_vec(), &activations[&name].values, FORWARD);
    }
    // The last block is not run.
    let all = activations.names().filter(|name| name.starts_with("hidden_states.")).count();
    report.check("hidden_states", &format!("{} of {all}", hidden.len()), hidden.len() + 1 == all);
}
