use std::fs;
use std::path::Path;

use flg_engine::{Device, Key, Shape, Tensor};
use flg_model::WanConfig;

use super::*;
use crate::data::{SampleKey, Split};

fn form(stored: StoredAs) -> Form {
    let encoders = Encoders { temporal_scale: 4, spatial_scale: 8, ..Encoders::default() };
    let image = Some(ImageForm { rows: 3, dim: 2 });
    Form { latents: [2, 3, 4, 2], text_rows: 5, text_dim: 4, image, channels: 3, stored, encoders }
}

fn draw(name: &str, shape: &[usize]) -> Tensor {
    Key::new(5).name(name).normal(&Device::cpu(), Shape::new(shape).unwrap()).unwrap()
}

/// Latents, image, channels of a clip.
fn tensors(name: &str) -> [Tensor; 3] {
    let part = |what: &str, shape: &[usize]| draw(&format!("{name} {what}"), shape);
    [part("latents", &[2, 3, 4, 2]), part("image", &[3, 2]), part("channels", &[3, 3, 4, 2])]
}

fn push(writer: &mut EncodedWriter, name: &str, caption: &str, split: Split) -> Result<(), crate::data::Error> {
    let [latents, image, channels] = tensors(name);
    let tensors = ClipTensors { latents: &latents, image: Some(&image), channels: Some(&channels) };
    writer.push(NewClip { name, caption, split, tensors })
}

/// A caption of two rows; the rest is zeros.
fn embedding(caption: &str) -> Tensor {
    let mut values = draw(caption, &[2, 4]).to_vec();
    values.resize(20, 0.0);
    Tensor::from_vec(&Device::cpu(), values, [5, 4]).unwrap()
}

/// Three training clips and a held-out one, under two captions.
fn written(folder: &Path, stored: StoredAs) -> Encoded {
    let mut writer = EncodedWriter::new(folder, form(stored)).unwrap();
    for caption in ["", "a dog", "a cat"] {
        writer.text(caption, &embedding(caption)).unwrap();
    }
    for (name, caption, split) in [
        ("x", "a dog", Split::Training),
        ("y", "a cat", Split::Training),
        ("z", "a dog", Split::HeldOut),
        ("w", "a dog", Split::Training),
    ] {
        push(&mut writer, name, caption, split).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), 4);
    Encoded::open(folder).unwrap()
}

#[test]
fn what_was_written_is_read() {
    for (stored, digits) in [(StoredAs::F32, 0.0), (StoredAs::Bf16, 1.0 / 256.0)] {
        let dir = tempfile::tempdir().unwrap();
        let set = written(dir.path(), stored);
        set.verify().unwrap();
        let near = |got: &[f32], expected: &[f32]| {
            assert_eq!(got.len(), expected.len());
            assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() <= digits * b.abs()));
        };
        let clip = set.clip(1).unwrap();
        let [latents, image, channels] = tensors("y");
        near(&clip.latents, &latents.to_vec());
        near(clip.image.as_deref().unwrap(), &image.to_vec());
        near(clip.channels.as_deref().unwrap(), &channels.to_vec());
        let captions: Vec<&str> = set.captions().collect();
        assert_eq!(captions, ["a cat", "a dog"]);
        assert_eq!((0..4).map(|clip| captions[set.caption_of(clip)]).collect::<Vec<_>>()[1], "a cat");
        near(&set.text(Some(1)).unwrap(), &embedding("a dog").to_vec());
        near(&set.text(None).unwrap(), &embedding("").to_vec());
        assert_eq!((set.len(Split::Training), set.len(Split::HeldOut)), (3, 1));
    }
}

#[test]
fn rows_of_zeros_at_the_end_take_no_room() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), StoredAs::F32);
    let file = flg_engine::safetensors::SafeTensors::open(dir.path().join("texts/000000.safetensors")).unwrap();
    assert_eq!(file.info(EMBEDDING).unwrap().shape, Shape::from([2, 4]));
}

#[test]
fn a_stream_visits_every_clip_before_one_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let set = written(dir.path(), StoredAs::F32);
    let mut orders = Vec::new();
    for epoch in 0..8 {
        let clip = |i: u64| set.draw(Split::Training, SampleKey { seed: 1, stream: 2, index: 3 * epoch + i }).unwrap();
        let order: Vec<usize> = (0..3).map(clip).collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 3]);
        orders.push(order);
    }
    assert!(orders.iter().any(|order| *order != orders[0]), "each time in another order");
}

#[test]
fn an_interrupted_writer_goes_on() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    written(whole.path(), StoredAs::Bf16);
    let form = form(StoredAs::Bf16);
    let mut writer = EncodedWriter::new(parts.path(), form.clone()).unwrap();
    writer.text("", &embedding("")).unwrap();
    writer.text("a dog", &embedding("a dog")).unwrap();
    push(&mut writer, "x", "a dog", Split::Training).unwrap();
    drop(writer);
    // What a crash leaves behind.
    fs::write(parts.path().join("clips/.tmp-1"), "half").unwrap();
    let unfinished = Encoded::open(parts.path()).unwrap_err().to_string();
    assert!(unfinished.contains("encoding.json") && unfinished.contains("not been finished"), "{unfinished}");
    let other = Form { channels: 0, ..form.clone() };
    assert!(EncodedWriter::new(parts.path(), other).unwrap_err().to_string().contains("other settings"));

    let mut writer = EncodedWriter::new(parts.path(), form).unwrap();
    assert!(writer.has_clip("x") && !writer.has_clip("y") && writer.has_text("a dog") && !writer.has_text("a cat"));
    fs::remove_file(parts.path().join("clips/.tmp-1")).unwrap();
    written_again(&mut writer);
    writer.finish().unwrap();
    for file in ["encoded.json", "null.safetensors", "texts/000001.safetensors", "clips/000003.safetensors"] {
        let bytes = |dir: &tempfile::TempDir| fs::read(dir.path().join(file)).unwrap();
        assert!(bytes(&whole) == bytes(&parts), "{file}");
    }
    let finished = EncodedWriter::new(parts.path(), super::tests::form(StoredAs::Bf16)).unwrap_err().to_string();
    assert!(finished.contains("the set is finished"), "{finished}");
}

fn written_again(writer: &mut EncodedWriter) {
    for caption in ["", "a dog", "a cat"] {
        writer.text(caption, &embedding(caption)).unwrap();
    }
    push(writer, "x", "a dog", Split::Training).unwrap();
    push(writer, "y", "a cat", Split::Training).unwrap();
    push(writer, "z", "a dog", Split::HeldOut).unwrap();
    push(writer, "w", "a dog", Split::Training).unwrap();
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = EncodedWriter::new(dir.path(), form(StoredAs::F32)).unwrap();
    let [latents, image, channels] = tensors("x");
    let mut refuse = |tensors: ClipTensors<'_>, part: &str| {
        let error = writer.push(NewClip { name: "x", caption: "c", split: Split::Training, tensors }).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("000000.safetensors") && text.contains(part), "{text}");
    };
    let good = ClipTensors { latents: &latents, image: Some(&image), channels: Some(&channels) };
    refuse(ClipTensors { latents: &image, ..good }, "`latents` is [3, 2], expected [2, 3, 4, 2]");
    refuse(ClipTensors { image: None, ..good }, "there is no tensor `image`");
    refuse(ClipTensors { channels: Some(&latents), ..good }, "`channels` is");
    let nan = Tensor::full(&Device::cpu(), f32::NAN, latents.shape()).unwrap();
    refuse(ClipTensors { latents: &nan, ..good }, "not finite");
    assert!(writer.text("c", &draw("wide", &[2, 5])).unwrap_err().to_string().contains("expected [5, 4]"));
    assert!(writer.text("c", &draw("long", &[6, 4])).unwrap_err().to_string().contains("expected [5, 4]"));
    push(&mut writer, "x", "c", Split::Training).unwrap();
    writer.text("", &embedding("")).unwrap();
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.contains("caption `c` has no embedding yet"), "{error}");
}

#[test]
fn damage_is_named_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    written(dir.path(), StoredAs::F32);
    let manifest = fs::read_to_string(at(MANIFEST)).unwrap();
    let refuse = |part: &str| {
        let error = Encoded::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    };
    for (from, to, part) in [
        ("\"version\": 1", "\"version\": 2", "version 2"),
        ("\"caption\": 1", "\"caption\": 7", "caption 7"),
        ("\"text_dim\": 4", "\"text_dim\": 0", "must be at least 1"),
        ("\"text_dim\": 4", "\"text_dim\": 400000000", "more than"),
        ("clips/000001", "clips/../../000001", "not a file of this set"),
        ("clips/000001", "clips/000000", "twice"),
        ("\"channels\": 3", "\"chanels\": 3", "chanels"),
    ] {
        assert!(manifest.contains(from), "{from}");
        fs::write(at(MANIFEST), manifest.replacen(from, to, 1)).unwrap();
        refuse(part);
    }
    fs::write(at(MANIFEST), &manifest).unwrap();
    let clip = at("clips/000001.safetensors");
    let bytes = fs::read(&clip).unwrap();
    fs::write(&clip, &bytes[..bytes.len() - 1]).unwrap();
    refuse("000001.safetensors");
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&clip, &flipped).unwrap();
    let set = Encoded::open(dir.path()).unwrap();
    let error = set.verify().unwrap_err().to_string();
    assert!(error.contains("000001.safetensors") && error.contains("SHA-256"), "{error}");
    // A file of the right size that holds other tensors.
    fs::write(&clip, fs::read(at("clips/000000.safetensors")).unwrap()).unwrap();
    let other = manifest.replace("\"latents\": [\n      2,", "\"latents\": [\n      1,");
    fs::write(at(MANIFEST), other).unwrap();
    let set = Encoded::open(dir.path()).unwrap();
    let error = set.clip(0).unwrap_err().to_string();
    assert!(error.contains("000000.safetensors") && error.contains("expected [1, 3, 4, 2]"), "{error}");
    fs::remove_file(&clip).unwrap();
    refuse("000001.safetensors");
}

#[test]
fn networks_that_do_not_fit_are_told_why() {
    let network = WanConfig {
        in_channels: 5,
        out_channels: 2,
        text_dim: 4,
        image_dim: Some(2),
        pos_embed_seq_len: Some(3),
        ..WanConfig::default()
    };
    let set = form(StoredAs::F32);
    fits(&network, &set).unwrap();
    let refuse = |network: WanConfig, set: &Form, part: &str| {
        let error = fits(&network, set).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    };
    let of = || network.clone();
    refuse(WanConfig { text_dim: 8, ..of() }, &set, "reads text 8 wide, the set's is 4");
    refuse(WanConfig { out_channels: 4, ..of() }, &set, "another VAE");
    refuse(of(), &Form { channels: 0, ..set.clone() }, "encode it for image to video");
    refuse(WanConfig { in_channels: 2, ..of() }, &set, "encode it for this network");
    refuse(of(), &Form { image: None, ..set.clone() }, "attends to an image");
    refuse(WanConfig { image_dim: Some(3), ..of() }, &set, "3 wide, the set's are 2");
    refuse(WanConfig { pos_embed_seq_len: Some(6), ..of() }, &set, "6 rows");
    refuse(WanConfig { patch_size: [1, 4, 4], ..of() }, &set, "multiples of the patch");
    fits(&WanConfig { image_dim: None, pos_embed_seq_len: None, ..of() }, &set).unwrap();
}
