//! What the autoencoders promise beyond agreement with diffusers: the published networks' tensors, streams that do not
//! depend on how a clip is cut, memory as forecast, files that are refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flg_engine::{Device, ParamStore, Shape, Tensor};
use flg_model::vae::{Part, load_decoder, load_vae};
use flg_model::{Error, Vae, VaeConfig};
use proptest::prelude::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Wan 2.2's.
fn large() -> VaeConfig {
    VaeConfig {
        base_dim: 160,
        decoder_base_dim: Some(256),
        z_dim: 48,
        latents_mean: vec![0.0; 48],
        latents_std: vec![1.0; 48],
        is_residual: true,
        in_channels: 12,
        out_channels: 12,
        patch_size: Some(2),
        ..VaeConfig::default()
    }
}

/// An autoencoder of few channels with these values in its weights, so that nothing is zero.
fn small(is_residual: bool, device: &Device) -> (Vae, ParamStore) {
    let config = VaeConfig {
        base_dim: 2,
        z_dim: 3,
        dim_mult: vec![1, 2, 2, 2],
        num_res_blocks: 1,
        latents_mean: vec![0.5, -0.25, 1.0],
        latents_std: vec![2.0, 0.5, 3.0],
        is_residual,
        in_channels: if is_residual { 12 } else { 3 },
        out_channels: if is_residual { 12 } else { 3 },
        patch_size: is_residual.then_some(2),
        ..VaeConfig::default()
    };
    let mut weights = ParamStore::new(device);
    for (i, parameter) in config.parameters().into_iter().enumerate() {
        let value = values(i as u64, parameter.shape);
        weights.insert(parameter.name, Tensor::from_vec(device, value, parameter.shape).unwrap()).unwrap();
    }
    (Vae::bind(config, &weights).unwrap(), weights)
}

fn values(seed: u64, shape: Shape) -> Vec<f32> {
    flg_kernels::catalog::operands(seed, 7, shape.elements()).into_iter().map(|x| x / 2.0).collect()
}

fn clip(device: &Device, shape: [usize; 5]) -> Tensor {
    Tensor::from_vec(device, values(1, shape.into()), shape).unwrap()
}

fn part(clip: &Tensor, start: usize, len: usize) -> Tensor {
    clip.narrow(2, start, len).unwrap().contiguous().unwrap()
}

#[test]
fn tensors_are_those_of_the_published_networks() {
    // Parameters, tensors of the decoder with the convolution before it.
    for (name, config, count, decoder) in
        [("vae21", VaeConfig::default(), 126_892_531, 108), ("vae22", large(), 704_688_668, 110)]
    {
        let text = std::fs::read_to_string(fixture("manifests").join(format!("{name}.json"))).unwrap();
        let manifest: BTreeMap<String, Vec<usize>> = serde_json::from_str(&text).unwrap();
        let listed = config.parameters();
        let ours: BTreeMap<_, _> =
            listed.iter().map(|parameter| (parameter.name.clone(), parameter.shape.dims().to_vec())).collect();
        assert_eq!(ours.len(), listed.len(), "{name}: a name twice");
        for (tensor, shape) in &manifest {
            assert_eq!(ours.get(tensor), Some(shape), "{name}: {tensor}");
        }
        let extra: Vec<_> = ours.keys().filter(|tensor| !manifest.contains_key(*tensor)).collect();
        assert!(extra.is_empty(), "{name}: {extra:?}");
        assert_eq!(config.parameter_count(), count, "{name}");
        let of_decoder = listed.iter().filter(|parameter| Part::of(&parameter.name) == Part::Decoder).count();
        assert_eq!(of_decoder, decoder, "{name}");
    }
}

#[test]
fn every_difference_of_tensors_is_named() {
    let device = Device::cpu();
    let (vae, weights) = small(false, &device);
    let mut other = ParamStore::new(&device);
    for (_, name, value) in weights.iter() {
        match name {
            "decoder.conv_in.bias" => continue,
            "quant_conv.bias" => other.insert(name, Tensor::zeros(&device, [7]).unwrap()).unwrap(),
            _ => other.insert(name, value.clone()).unwrap(),
        };
    }
    other.insert("decoder.attention", Tensor::zeros(&device, [1]).unwrap()).unwrap();
    let Err(Error::Parameters(mismatch)) = Vae::bind(vae.config().clone(), &other) else { panic!("it is refused") };
    assert_eq!(mismatch.missing, ["decoder.conv_in.bias"]);
    assert_eq!(mismatch.extra, ["decoder.attention"]);
    assert_eq!(mismatch.misshapen, [("quant_conv.bias".to_owned(), [6].into(), [7].into())]);
}

/// Cuts `len` into the given pieces, over and over.
fn cuts(len: usize, pieces: &[usize]) -> Vec<(usize, usize)> {
    let mut at = 0;
    let mut cuts = Vec::new();
    for &piece in pieces.iter().cycle() {
        if at >= len {
            break;
        }
        let piece = piece.min(len - at);
        cuts.push((at, piece));
        at += piece;
    }
    cuts
}

/// Frames of all parts, one after the other, of one sample.
fn joined(parts: &[Tensor], channels: usize) -> Vec<f32> {
    (0..channels).flat_map(|c| parts.iter().flat_map(move |part| part.narrow(1, c, 1).unwrap().to_vec())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streams_do_not_depend_on_how_a_clip_is_cut(
        is_residual in any::<bool>(),
        frames in 1usize..12,
        size in [1usize..3, 1usize..3],
        pieces in proptest::collection::vec(1usize..6, 1..4),
    ) {
        let device = Device::cpu();
        let (vae, weights) = small(is_residual, &device);
        let (encoder, decoder) = (vae.encoder(&weights).unwrap(), vae.decoder(&weights).unwrap());
        let factor = vae.config().spatial_factor();
        let [h, w] = size;

        let video = clip(&device, [1, 3, frames, h * factor, w * factor]);
        let whole = encoder.encode(&video).unwrap().parameters().clone();
        prop_assert_eq!(whole.dims(), &[1, 6, 1 + (frames - 1) / 4, h, w]);
        let mut stream = encoder.start();
        let parts = cuts(frames, &pieces).into_iter().map(|(at, len)| stream.push(&part(&video, at, len)).unwrap());
        let parts: Vec<_> = parts.map(|posterior| posterior.parameters().clone()).collect();
        prop_assert_eq!(joined(&parts, 6), whole.to_vec());

        let frames = frames.min(5);
        let latents = clip(&device, [1, 3, frames, h, w]);
        let whole = decoder.decode(&latents).unwrap();
        prop_assert_eq!(whole.dims(), &[1, 3, 4 * frames - 3, h * factor, w * factor]);
        let mut stream = decoder.start();
        let parts: Vec<_> =
            cuts(frames, &pieces).into_iter().map(|(at, len)| stream.push(&part(&latents, at, len)).unwrap()).collect();
        prop_assert_eq!(joined(&parts, 3), whole.to_vec());
    }
}

#[test]
fn samples_of_a_batch_do_not_see_each_other() {
    let device = Device::cpu();
    for is_residual in [false, true] {
        let (vae, weights) = small(is_residual, &device);
        let decoder = vae.decoder(&weights).unwrap();
        let latents = clip(&device, [2, 3, 3, 2, 1]);
        let both = decoder.decode(&latents).unwrap().to_vec();
        let second = decoder.decode(&latents.narrow(0, 1, 1).unwrap().contiguous().unwrap()).unwrap().to_vec();
        assert_eq!(both[both.len() / 2..], second);
        assert_ne!(both[..both.len() / 2], second);
    }
}

#[test]
fn frames_without_latents_are_left_out() {
    let device = Device::cpu();
    let (vae, weights) = small(true, &device);
    let encoder = vae.encoder(&weights).unwrap();
    let video = clip(&device, [1, 3, 8, 16, 16]);
    let encode = |frames| encoder.encode(&part(&video, 0, frames)).unwrap().mean().unwrap();
    assert_eq!(encode(8).to_vec(), encode(5).to_vec());
    assert_eq!(encode(5).dims(), [1, 3, 2, 1, 1]);
    assert_eq!(encode(4).to_vec(), encode(1).to_vec());
}

#[test]
fn a_clip_keeps_its_shape() {
    let device = Device::cpu();
    let (vae, weights) = small(false, &device);
    let (encoder, decoder) = (vae.encoder(&weights).unwrap(), vae.decoder(&weights).unwrap());
    let mut stream = decoder.start();
    stream.push(&clip(&device, [1, 3, 1, 2, 2])).unwrap();
    for shape in [[2, 3, 1, 2, 2], [1, 3, 1, 2, 3], [1, 4, 1, 2, 2]] {
        assert!(matches!(stream.push(&clip(&device, shape)), Err(Error::Latents { .. })), "{shape:?}");
    }
    let mut stream = encoder.start();
    stream.push(&clip(&device, [1, 3, 1, 8, 8])).unwrap();
    for shape in [[2, 3, 1, 8, 8], [1, 3, 1, 8, 16], [1, 4, 1, 8, 8], [1, 3, 1, 8, 9]] {
        assert!(matches!(stream.push(&clip(&device, shape)), Err(Error::Video { .. })), "{shape:?}");
    }
}

#[test]
fn normalising_comes_back() {
    let device = Device::cpu();
    let (vae, _) = small(false, &device);
    let latents = clip(&device, [2, 3, 2, 3, 2]);
    let normal = vae.config().normalise(&latents).unwrap();
    let (z, n) = (latents.to_vec(), normal.to_vec());
    // Elements of channels 0, 1, 2 of the second sample.
    for (i, (mean, std)) in [(36, (0.5, 2.0)), (48, (-0.25, 0.5)), (60, (1.0, 3.0))] {
        assert!((n[i] - (z[i] - mean) / std).abs() < 1e-6);
    }
    let back = vae.config().denormalise(&normal).unwrap().to_vec();
    assert!(z.iter().zip(back).all(|(z, back)| (z - back).abs() < 1e-6));
    assert!(vae.config().normalise(&clip(&device, [1, 4, 1, 1, 1])).is_err());
}

#[test]
fn memory_is_as_forecast() {
    for is_residual in [false, true] {
        // A pool of its own for each direction: what another left behind would serve some of the requests.
        let device = Device::cpu();
        let (vae, weights) = small(is_residual, &device);
        let decoder = vae.decoder(&weights).unwrap();
        drop(weights);
        let live = device.memory().live;
        device.pool().reset_peak();
        let mut stream = decoder.start();
        for _ in 0..5 {
            stream.push(&clip(&device, [1, 3, 1, 12, 10])).unwrap();
        }
        let forecast = vae.decode_bytes([12, 10]).unwrap();
        close(device.memory().peak - live, forecast.peak - forecast.weights);

        let device = Device::cpu();
        let (vae, weights) = small(is_residual, &device);
        let encoder = vae.encoder(&weights).unwrap();
        drop(weights);
        let live = device.memory().live;
        device.pool().reset_peak();
        let [height, width] = [12, 10].map(|extent| extent * vae.config().spatial_factor());
        let mut stream = encoder.start();
        for _ in 0..17 {
            stream.push(&clip(&device, [1, 3, 1, height, width])).unwrap();
        }
        let forecast = vae.encode_bytes([height, width]).unwrap();
        close(device.memory().peak - live, forecast.peak - forecast.weights);
    }
}

/// Small buffers serve requests of about their size, and there is no telling which.
fn close(got: usize, forecast: usize) {
    assert!(50 * got.abs_diff(forecast) <= forecast, "{got}, forecast {forecast}");
}

/// The published networks at the sizes that they are used at.
#[test]
fn published_networks_need_what_is_documented() {
    let size = VaeConfig::default;
    for (what, bytes, weights, peak) in [
        ("2.1 decoding 480x832", size().decode_bytes([60, 104]).unwrap(), 280, 4367),
        ("2.1 encoding 480x832", size().encode_bytes([480, 832]).unwrap(), 204, 2814),
        ("2.2 decoding 704x1280", large().decode_bytes([44, 80]).unwrap(), 2117, 9710),
    ] {
        for (bytes, mib) in [(bytes.weights, weights), (bytes.peak, peak)] {
            // Panels are as wide as the processor's tiles.
            assert!((bytes >> 20).abs_diff(mib) <= mib / 50, "{what}: {} MiB, documented {mib}", bytes >> 20);
        }
    }
}

#[test]
fn folders_of_something_else_are_refused() {
    let device = Device::cpu();
    let error = load_vae(fixture("wan_t2v"), &device).unwrap_err().to_string();
    assert!(error.contains("WanTransformer3DModel") && error.contains("AutoencoderKLWan"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "diffusion_pytorch_model.safetensors"] {
        std::fs::copy(fixture("wan_vae21").join(file), folder.path().join(file)).unwrap();
    }
    let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    std::fs::write(folder.path().join("config.json"), config.replace("\"base_dim\": 4", "\"base_dim\": 8")).unwrap();
    let error = load_decoder(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("decoder.conv_out.weight is [3, 4, 3, 3, 3], expected [3, 8, 3, 3, 3]"), "{error}");
}
