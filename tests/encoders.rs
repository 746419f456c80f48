//! What text and image encoders promise beyond agreement with transformers: the tensors of the published files, weights
//! in any type and name, prompts together or alone, memory as foretold, stopping.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use flg_engine::files::write_json;
use flg_engine::safetensors::{ENCODER_WEIGHTS, write};
use flg_engine::{DType, Device, Key, ParamStore, Shape, Tensor};
use flg_model::clip::{Clip, ClipConfig, Image, ImageEncoder};
use flg_model::umt5::{ROWS, Umt5, Umt5Config};
use flg_model::wan::Parameter;
use flg_model::{BlockDone, Error, TextEncoder, UNCOUNTED_BYTES, Wan, WanConfig};
use tempfile::TempDir;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn on(_: BlockDone<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn bits(x: &Tensor) -> Vec<u32> {
    x.to_vec().into_iter().map(f32::to_bits).collect()
}

fn manifest(name: &str) -> BTreeMap<String, Shape> {
    let text = std::fs::read_to_string(fixture("manifests").join(name)).unwrap();
    let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_str(&text).unwrap();
    shapes.into_iter().map(|(name, shape)| (name, Shape::new(&shape).unwrap())).collect()
}

fn named(manifest: &BTreeMap<String, Shape>) -> impl Iterator<Item = (&str, Shape)> {
    manifest.iter().map(|(name, shape)| (name.as_str(), *shape))
}

/// umt5-xxl, the text encoder of every Wan.
fn xxl() -> Umt5Config {
    let base = Umt5Config { vocab_size: 256_384, d_model: 4096, d_ff: 10_240, ..Umt5Config::default() };
    Umt5Config { num_layers: 24, num_heads: 64, ..base }
}

/// ViT-H/14, the image encoder of Wan2.1's image-to-video models.
fn vit_h() -> ClipConfig {
    let gelu = ClipConfig { hidden_act: "gelu".to_owned(), patch_size: 14, ..ClipConfig::default() };
    ClipConfig { hidden_size: 1280, intermediate_size: 5120, num_hidden_layers: 32, num_attention_heads: 16, ..gelu }
}

fn small_umt5() -> Umt5Config {
    let base = Umt5Config { vocab_size: 320, d_model: 20, d_kv: 6, d_ff: 28, ..Umt5Config::default() };
    Umt5Config { num_layers: 3, num_heads: 5, ..base }
}

fn small_clip() -> ClipConfig {
    let gelu = ClipConfig { hidden_act: "gelu".to_owned(), patch_size: 4, image_size: 12, ..ClipConfig::default() };
    ClipConfig { hidden_size: 12, intermediate_size: 20, num_hidden_layers: 3, num_attention_heads: 3, ..gelu }
}

/// A folder with a random network; `change` may rename a tensor, or store it otherwise.
fn written(
    config: &serde_json::Value,
    parameters: &[Parameter],
    change: impl Fn(&str, Tensor) -> (String, Tensor),
) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::cpu();
    let draw = |p: &Parameter| change(&p.name, p.draw(&device, Key::new(5)).unwrap());
    let tensors: Vec<(String, Tensor)> = parameters.iter().map(draw).collect();
    write_json(folder.path().join("config.json"), config).unwrap();
    let entries = tensors.iter().map(|(name, value)| (name.as_str(), value));
    write(folder.path().join(ENCODER_WEIGHTS), entries, &BTreeMap::new()).unwrap();
    folder
}

fn umt5_folder(change: impl Fn(&str, Tensor) -> (String, Tensor)) -> TempDir {
    written(&small_umt5().to_value(), &small_umt5().parameters(), change)
}

fn clip_folder(change: impl Fn(&str, Tensor) -> (String, Tensor)) -> TempDir {
    written(&small_clip().to_value(), &small_clip().parameters(), change)
}

fn as_drawn(name: &str, value: Tensor) -> (String, Tensor) {
    (name.to_owned(), value)
}

#[test]
fn the_published_tensors_are_those_of_the_configurations() {
    let umt5 = manifest("umt5xxl.json");
    assert_eq!((umt5.len(), xxl().parameter_count()), (242, 5_680_910_336));
    assert!(xxl().mismatch(named(&umt5)).is_empty(), "{}", xxl().mismatch(named(&umt5)));
    let clip = manifest("clip.json");
    let with_prefix: BTreeMap<_, _> =
        clip.iter().map(|(name, shape)| (format!("vision_model.{name}"), *shape)).collect();
    for clip in [&clip, &with_prefix] {
        assert!(vit_h().mismatch(named(clip)).is_empty(), "{}", vit_h().mismatch(named(clip)));
        assert_eq!(clip.values().map(Shape::elements).sum::<usize>(), vit_h().parameter_count());
    }
    // And every tensor counts.
    for name in umt5.keys() {
        let mut less = umt5.clone();
        let shape = less.remove(name).unwrap();
        assert_eq!(xxl().mismatch(named(&less)).missing, std::slice::from_ref(name));
        less.insert(name.clone(), Shape::from([1, shape.elements()]));
        assert_eq!(xxl().mismatch(named(&less)).misshapen.len(), 1, "{name}");
    }
    let mut more = clip.clone();
    more.insert("embeddings.position_ids".to_owned(), [1, 257].into());
    assert!(vit_h().mismatch(named(&more)).is_empty());
    more.insert("another".to_owned(), [1].into());
    assert_eq!(vit_h().mismatch(named(&more)).extra, ["another"]);
}

#[test]
fn the_embedding_table_has_either_name_or_both() {
    let mut names = manifest("umt5xxl.json");
    let shape = names["shared.weight"];
    names.insert("encoder.embed_tokens.weight".to_owned(), shape);
    assert!(xxl().mismatch(named(&names)).is_empty());
    names.remove("shared.weight");
    assert!(xxl().mismatch(named(&names)).is_empty());
    names.remove("encoder.embed_tokens.weight");
    assert_eq!(xxl().mismatch(named(&names)).missing, ["shared.weight"]);

    let renamed = |name: &str, value| (name.replace("shared", "encoder.embed_tokens"), value);
    let outputs = [umt5_folder(as_drawn), umt5_folder(renamed)].map(|folder| {
        let mut umt5 = Umt5::open(folder.path()).unwrap();
        bits(&umt5.forward(&[vec![7, 200, 1]], &Device::cpu(), &mut on).unwrap()[0])
    });
    assert_eq!(outputs[0], outputs[1]);
}

#[test]
fn weights_stored_in_bf16_are_the_rounded_ones() {
    let low = |name: &str, value: Tensor| (name.to_owned(), value.cast(DType::Bf16).unwrap());
    let rounded =
        |name: &str, value: Tensor| (name.to_owned(), value.cast(DType::Bf16).unwrap().cast(DType::F32).unwrap());
    let device = Device::cpu();
    let text = |folder: TempDir| {
        let sequences = [(0..40).collect(), vec![9, 1]];
        let rows = Umt5::open(folder.path()).unwrap().forward(&sequences, &device, &mut on).unwrap();
        rows.iter().flat_map(bits).collect::<Vec<_>>()
    };
    let pixels = Key::new(1).normal(&device, [2, 3, 12, 12]).unwrap();
    let image = |folder: TempDir| bits(&Clip::open(folder.path()).unwrap().forward(&pixels, &device, &mut on).unwrap());
    assert_eq!(text(umt5_folder(low)), text(umt5_folder(rounded)));
    assert_ne!(text(umt5_folder(low)), text(umt5_folder(as_drawn)));
    assert_eq!(image(clip_folder(low)), image(clip_folder(rounded)));
    assert_ne!(image(clip_folder(low)), image(clip_folder(as_drawn)));
}

#[test]
fn names_of_either_transformers_are_read() {
    let device = Device::cpu();
    let old = |name: &str, value| (format!("vision_model.{name}"), value);
    let pixels = Key::new(1).normal(&device, [1, 3, 12, 12]).unwrap();
    let [new, old] = [clip_folder(as_drawn), clip_folder(old)]
        .map(|folder| bits(&Clip::open(folder.path()).unwrap().forward(&pixels, &device, &mut on).unwrap()));
    assert_eq!(new, old);
}

fn text_encoder(folder: &TempDir) -> TextEncoder {
    let tokenizer = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("tokenizer/newer.json"), folder.path().join("tokenizer.json")).unwrap();
    let missing = TextEncoder::open(folder.path(), tokenizer.path()).unwrap_err().to_string();
    assert!(missing.contains("tokenizer.json"), "{missing}");
    TextEncoder::open(folder.path(), folder.path()).unwrap()
}

#[test]
fn prompts_are_encoded_together_as_alone() {
    let (folder, device) = (umt5_folder(as_drawn), Device::cpu());
    let mut encoder = text_encoder(&folder);
    let long = "the cat ".repeat(400);
    let prompts = ["the cat &amp; a dog", "", long.as_str()];
    let lengths: Vec<usize> = encoder.tokens(&prompts).unwrap().iter().map(Vec::len).collect();
    assert_eq!((lengths[1], lengths[2]), (1, ROWS));
    let all = encoder.encode(&prompts, &device, &mut on).unwrap();
    assert_eq!(all.dims(), [3, ROWS, 20]);
    for (i, (prompt, len)) in prompts.iter().zip(lengths).enumerate() {
        let alone = encoder.encode(&[prompt], &device, &mut on).unwrap().to_vec();
        let together = all.narrow(0, i, 1).unwrap().to_vec();
        let largest = alone.iter().zip(&together).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Sums may be cut otherwise in products of another height.
        assert!(largest <= 2e-5, "{prompt}: {largest}");
        let (rows, padding) = together.split_at(len * 20);
        assert!(rows.chunks(20).all(|row| row.iter().any(|&x| x != 0.0)));
        assert!(padding.iter().all(|&x| x.to_bits() == 0));
    }
    assert_eq!(encoder.encode(&[], &device, &mut on).unwrap().dims(), [0, ROWS, 20]);
}

#[test]
fn a_pass_is_told_of_and_stops_when_asked() {
    let (folder, device) = (umt5_folder(as_drawn), Device::cpu());
    let mut encoder = text_encoder(&folder);
    let mut told = Vec::new();
    let mut stop = |BlockDone { done, blocks, hidden }: BlockDone<'_>| {
        told.push((done, blocks, hidden.dims().to_vec()));
        if done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let stopped = encoder.encode(&["a"], &device, &mut stop).unwrap_err();
    assert!(matches!(stopped, Error::EncodingStopped { done: 2, blocks: 3 }), "{stopped}");
    assert_eq!(told, [0, 1, 2].map(|done| (done, 3, vec![2, 20])));
}

#[test]
fn an_image_becomes_its_embedding() {
    let (folder, device) = (clip_folder(as_drawn), Device::cpu());
    let pixels: Vec<u8> = (0..15 * 20 * 3).map(|i| (i * 7 % 256) as u8).collect();
    let image = Image { width: 20, height: 15, pixels: &pixels };
    let embedding = ImageEncoder::open(folder.path()).unwrap().encode(&image, &device, &mut on).unwrap();
    assert_eq!(embedding.dims(), [1, 10, 12]);
    // What the file says is what is done, and it must suit the encoder.
    let file = folder.path().join("preprocessor_config.json");
    write_json(&file, &serde_json::json!({ "size": 12, "crop_size": 12, "image_mean": [0.1, 0.2, 0.3] })).unwrap();
    let other = ImageEncoder::open(folder.path()).unwrap().encode(&image, &device, &mut on).unwrap();
    assert_ne!(bits(&embedding), bits(&other));
    write_json(&file, &serde_json::json!({})).unwrap();
    let refused = ImageEncoder::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("preprocessor_config.json") && refused.contains("crop_size"), "{refused}");
}

#[test]
fn memory_is_what_was_foretold() {
    let folder = umt5_folder(as_drawn);
    let mut umt5 = Umt5::open(folder.path()).unwrap();
    let lengths = [300, 17];
    let device = Device::cpu();
    umt5.forward(&lengths.map(|len| vec![3; len]), &device, &mut on).unwrap();
    // The largest tensor but the table, that of the queries, while it is copied.
    let copied = (5 * 6) * 20 * 4;
    assert_eq!(umt5.peak_bytes(&lengths).unwrap(), device.memory().held + copied + UNCOUNTED_BYTES);

    let folder = clip_folder(as_drawn);
    let mut clip = Clip::open(folder.path()).unwrap();
    let device = Device::cpu();
    let pixels = Tensor::zeros(&device, [2, 3, 12, 12]).unwrap();
    clip.forward(&pixels, &device, &mut on).unwrap();
    // That of the patches.
    let copied = 12 * 3 * 4 * 4 * 4;
    assert_eq!(clip.peak_bytes(2).unwrap(), device.memory().held + copied + UNCOUNTED_BYTES);
}

#[test]
fn what_a_file_lacks_is_named() {
    let folder = umt5_folder(|name, value| (name.replace("block.1.layer.1", "elsewhere"), value));
    let refused = Umt5::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("encoder.block.1.layer.1.DenseReluDense.wo.weight"), "{refused}");
    let folder = umt5_folder(as_drawn);
    let refused = Umt5::open(folder.path()).unwrap().forward(&[vec![320]], &Device::cpu(), &mut on).unwrap_err();
    assert!(refused.to_string().contains("320"), "{refused}");
}

#[test]
fn fresh_values_are_those_that_networks_begin_with() {
    let (device, key) = (Device::cpu(), Key::new(3));
    let sizes = WanConfig { num_attention_heads: 2, attention_head_dim: 8, ffn_dim: 12, ..WanConfig::default() };
    let config = WanConfig { num_layers: 1, text_dim: 6, freq_dim: 4, ..sizes };
    let mut weights = ParamStore::new(&device);
    Wan::init(config.clone(), &mut weights, key).unwrap();
    for parameter in config.parameters() {
        let begun = weights.get(weights.id(&parameter.name).unwrap());
        assert_eq!(bits(&parameter.draw(&device, key).unwrap()), bits(begun), "{}", parameter.name);
    }
}
