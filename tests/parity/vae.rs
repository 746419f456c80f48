//! An `AutoencoderKLWan` with its inputs, outputs and activations.

use std::collections::BTreeMap;
use std::path::Path;

use flg_engine::{Device, Tensor};
use flg_model::vae::{Decoder, Encoder, load_decoder, load_encoder, load_vae};

use super::report::Report;
use super::tensors::{Array, Tensors};

const LIMIT: f64 = 2e-5;

/// Frames `[h, w, c]` of each module, in the order in which they were seen.
type Seen = BTreeMap<String, Vec<Tensor>>;

pub fn check(folder: &Path, device: &Device, report: &mut Report) {
    report.device(device);
    let (vae, weights) = load_vae(folder, device).unwrap();
    let (encoder, decoder) = (vae.encoder(&weights).unwrap(), vae.decoder(&weights).unwrap());
    let inputs = Tensors::read(&folder.join("inputs.safetensors"));
    let outputs = Tensors::read(&folder.join("outputs.safetensors"));
    let activations = Tensors::read(&folder.join("activations.safetensors"));
    let (video, latents) = (&inputs["video"], &inputs["latents"]);

    let (mut seen_encoding, mut seen_decoding) = (Vec::new(), Vec::new());
    for sample in samples(video, device) {
        let mut seen = Seen::new();
        let mut see = |name: &str, frame: &Tensor| seen.entry(name.to_owned()).or_default().push(frame.clone());
        encoder.start().push_probed(&sample, &mut see).unwrap();
        seen_encoding.push(seen);
    }
    for sample in samples(latents, device) {
        let mut seen = Seen::new();
        let mut see = |name: &str, frame: &Tensor| seen.entry(name.to_owned()).or_default().push(frame.clone());
        decoder.start().push_probed(&sample, &mut see).unwrap();
        seen_decoding.push(seen);
    }
    let patch = vae.config().patch();
    compare(&seen_encoding, &activations, patch, report);
    compare(&seen_decoding, &activations, patch, report);
    let covered = activations.names().filter(|name| {
        let name = module(name).0;
        seen_encoding[0].contains_key(name) || seen_decoding[0].contains_key(name)
    });
    let (covered, all) = (covered.count(), activations.names().count());
    report.check("activations", &format!("{covered} of {all}"), covered == all);

    let posterior = encoder.encode(&video.tensor(device)).unwrap();
    for (name, got) in [
        ("encode.parameters", posterior.parameters().clone()),
        ("encode.mean", posterior.mean().unwrap()),
        ("encode.logvar_clamped", posterior.logvar().unwrap()),
        ("encode_image.mean", image(&encoder, video, device)),
        ("decode.sample", decoder.decode(&latents.tensor(device)).unwrap()),
    ] {
        report.check(name, &format!("shape {}", got.shape()), got.dims() == outputs[name].shape);
        report.close(name, &got.to_vec(), &outputs[name].values, LIMIT);
    }
    alone(folder, &encoder, &decoder, [video, latents], device, report);
}

/// The parts that are read without the rest of the network are the same.
fn alone(
    folder: &Path,
    encoder: &Encoder,
    decoder: &Decoder,
    [video, latents]: [&Array; 2],
    device: &Device,
    report: &mut Report,
) {
    let (video, latents) = (video.tensor(device), latents.tensor(device));
    let mean = |encoder: &Encoder| encoder.encode(&video).unwrap().mean().unwrap().to_vec();
    let other = load_encoder(folder, device).unwrap();
    report.check("the encoder alone", "same bits", mean(encoder) == mean(&other));
    let other = load_decoder(folder, device).unwrap();
    let same = decoder.decode(&latents).unwrap().to_vec() == other.decode(&latents).unwrap().to_vec();
    report.check("the decoder alone", "same bits", same);
}

/// Only the first frame, as for a picture.
fn image(encoder: &Encoder, video: &Array, device: &Device) -> Tensor {
    let frame = video.tensor(device).narrow(2, 0, 1).unwrap().contiguous().unwrap();
    encoder.encode(&frame).unwrap().mean().unwrap()
}

fn samples(clip: &Array, device: &Device) -> Vec<Tensor> {
    let clip = clip.tensor(device);
    (0..clip.dims()[0]).map(|i| clip.narrow(0, i, 1).unwrap().contiguous().unwrap()).collect()
}

/// The module of a captured activation, and its call.
fn module(name: &str) -> (&str, usize) {
    match name.rsplit_once(".call") {
        Some((module, call)) => (module, call.parse().unwrap()),
        None => (name, 0),
    }
}

/// Captured are `[b, c, f, h, w]`, each call's frames together.
fn compare(seen: &[Seen], activations: &Tensors, patch: usize, report: &mut Report) {
    let mut calls: BTreeMap<&str, Vec<(usize, &str, &Array)>> = BTreeMap::new();
    for (name, want) in activations.iter() {
        let (module, call) = module(name);
        if seen[0].contains_key(module) {
            calls.entry(module).or_default().push((call, name, want));
        }
    }
    for (module, mut calls) in calls {
        calls.sort_by_key(|(call, ..)| *call);
        let mut first = 0;
        for (_, name, want) in calls {
            let count = want.shape[2];
            let frames: Vec<_> = seen.iter().map(|seen| &seen[module][first..first + count]).collect();
            first += count;
            let side = if module == "decoder" { patch } else { 1 };
            report.close(name, &as_captured(&frames, side), &want.values, LIMIT * size(want));
        }
    }
}

fn size(want: &Array) -> f64 {
    want.values.iter().fold(1.0, |max: f64, x| max.max(f64::from(x.abs())))
}

/// `[b, c, f, h, w]` of frames `[h, w, c]`; channels of patches are `(c, y, x)` here, and `(c, x, y)` there.
fn as_captured(samples: &[&[Tensor]], side: usize) -> Vec<f32> {
    let mut values = Vec::new();
    for frames in samples {
        let channels = frames[0].dims()[2];
        let frames: Vec<_> = frames.iter().map(|frame| frame.to_vec()).collect();
        for channel in 0..channels {
            let (x, y) = (channel / side % side, channel % side);
            let channel = channel / (side * side) * side * side + y * side + x;
            for frame in &frames {
                values.extend(frame.iter().skip(channel).step_by(channels));
            }
        }
    }
    values
}
