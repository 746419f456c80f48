//! From videos and captions to a student and a video of its own: every part of a pipeline at work, on real frames in real
//! files.

mod clips;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Output};

use clips::{T2V, pipeline};
use flg_engine::{Device, Tensor, safetensors::SafeTensors};
use flg_model::WanConfig;
use flg_model::checkpoint::PipelineIndex;
use flg_train::pipeline::{Extents, Latents, Parts, Prompts, View};
use flg_train::video::{self, Clip, FrameRate, Geometry};

const USAGE: i32 = 2;

const EXTENTS: Extents = Extents { frames: 5, height: 32, width: 48 };
const ENCODE: &[&str] =
    &["data", "encode", "videos", "--model=wan", "--frames=5", "--height=32", "--width=48", "--f32", "--held-out=0.4"];

fn flg(at: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flg")).current_dir(at).args(args).output().unwrap()
}

fn succeed(at: &Path, args: &[&str]) -> [String; 2] {
    let output = flg(at, args);
    let [out, told] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{args:?}: {told}");
    [out, told]
}

/// A square that moves over a gradient.
fn square(seed: usize) -> Clip {
    let Extents { frames, height, width } = EXTENTS;
    let pixel = |frame: usize, channel: usize, y: usize, x: usize| {
        let inside = (4 + seed..14 + seed).contains(&y) && (5 * frame + seed..5 * frame + seed + 10).contains(&x);
        if inside { 1.0 } else { (channel * 16 + y + x) as f32 / 128.0 }
    };
    let planes = (0..3).flat_map(|channel| (0..frames).map(move |frame| (frame, channel)));
    let rows = planes.flat_map(|(f, c)| (0..height).map(move |y| (f, c, y)));
    let pixels = rows.flat_map(|(f, c, y)| (0..width).map(move |x| (f, c, y, x)));
    let geometry = Geometry { channels: 3, frames, height, width };
    Clip::from_pixels(geometry, pixels.map(|(f, c, y, x)| pixel(f, c, y, x)).collect()).unwrap()
}

/// A pipeline with an autoencoder, a text encoder and a tokenizer of fixtures, and a folder of videos.
fn prepare(at: &Path) {
    let config = WanConfig { text_dim: 24, ..T2V.config(4) };
    let folder = pipeline(&config, at, "wan");
    let fixtures = T2V.fixture().parent().unwrap().to_owned();
    let copy = |from: &str, to: &str| {
        fs::create_dir_all(folder.join(to).parent().unwrap()).unwrap();
        fs::copy(fixtures.join(from), folder.join(to)).unwrap();
    };
    for (from, to) in [("wan_vae21", "vae"), ("umt5", "text_encoder")] {
        copy(&format!("{from}/config.json"), &format!("{to}/config.json"));
    }
    copy("wan_vae21/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors");
    copy("umt5/model.safetensors", "text_encoder/model.safetensors");
    copy("tokenizer/newer.json", "tokenizer/tokenizer.json");
    let index = PipelineIndex::read(&folder).unwrap();
    index.with_part("text_encoder", "transformers", "UMT5EncoderModel").write(&folder).unwrap();
    fs::create_dir(at.join("videos")).unwrap();
    for (i, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let path = at.join("videos").join(name).with_extension("apng");
        video::write(&path, &square(i), FrameRate::new(16, 1).unwrap()).unwrap();
        fs::write(path.with_extension("txt"), if i % 2 == 0 { "a square" } else { "another one" }).unwrap();
    }
    fs::write(at.join("videos/silent.apng"), fs::read(at.join("videos/a.apng")).unwrap()).unwrap();
    fs::write(at.join("videos/broken.apng"), b"no picture").unwrap();
    fs::write(at.join("videos/broken.txt"), "a square").unwrap();
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for part in ["", "clips", "texts"] {
        for entry in fs::read_dir(folder.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                found.insert(format!("{part}/{}", path.file_name().unwrap().display()), fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_set_holds_what_the_encoders_make_of_each_clip_and_caption() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    prepare(at);
    let [out, _] = succeed(at, &[ENCODE, &["--out=set"]].concat());
    for part in ["passed over broken.apng", "passed over silent.apng: no caption", "5 clips encoded"] {
        assert!(out.contains(part), "`{part}` is not in: {out}");
    }

    let (parts, device) = (Parts::open(&at.join("wan")).unwrap(), Device::cpu());
    let autoencoder = Latents::open(&parts, View::Whole, &device).unwrap();
    let mut quiet = |_: usize, _: usize| ControlFlow::Continue(());
    let captions = ["a square", "another one"].map(str::to_owned);
    let (texts, _) = Prompts::open(&parts, &captions, "").unwrap().encode(&device, &mut quiet).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(at.join("set/encoded.json")).unwrap()).unwrap();
    for clip in manifest["clips"].as_array().unwrap() {
        let name = clip["name"].as_str().unwrap();
        let file = SafeTensors::open(at.join("set").join(clip["file"]["file"].as_str().unwrap())).unwrap();
        let video = video::read(&at.join("videos").join(name.split(':').next().unwrap()), &Default::default()).unwrap();
        let frames: Vec<_> = video.frames().map(Some).collect();
        let want = autoencoder.encode(&frames, EXTENTS, &mut quiet).unwrap();
        assert_eq!(file.tensor_f32("latents", &device).unwrap().to_vec(), want.to_vec(), "{name}");
    }
    for (i, caption) in manifest["captions"].as_array().unwrap().iter().enumerate() {
        let known = captions.iter().position(|known| caption["text"] == **known);
        let Some(known) = known else { continue };
        let file = SafeTensors::open(at.join("set").join(caption["file"]["file"].as_str().unwrap())).unwrap();
        let name = file.names().next().unwrap().to_owned();
        let got: Tensor = file.tensor_f32(&name, &device).unwrap();
        let want = texts[known].to_vec();
        assert_eq!(got.to_vec(), want[..got.elements()], "caption {i}");
        assert!(want[got.elements()..].iter().all(|&value| value == 0.0), "only rows of padding are left out");
    }
}

#[test]
fn an_interrupted_encoding_goes_on_and_too_little_memory_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    prepare(at);
    let refused = flg(at, &[ENCODE, &["--out=set", "--max-memory=1MiB"]].concat());
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(USAGE) && message.contains("1.0 MiB are allowed"), "{message}");
    assert!(!at.join("set").exists(), "nothing was made");

    succeed(at, &[ENCODE, &["--out=set"]].concat());
    let whole = files(&at.join("set"));
    // As it is behind the third clip.
    fs::remove_file(at.join("set/encoded.json")).unwrap();
    for clip in ["clips/000003.safetensors", "clips/000004.safetensors"] {
        fs::remove_file(at.join("set").join(clip)).unwrap();
    }
    succeed(at, &[ENCODE, &["--out=set"]].concat());
    assert!(files(&at.join("set")) == whole, "the same bytes");
}

#[test]
fn videos_become_a_student_and_the_student_makes_videos() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    prepare(at);
    succeed(at, &[ENCODE, &["--out=set"]].concat());
    let tiny = ["--preset=wan", "--world=set", "--set=audit.clips=2", "--set=audit.selection_clips=2"];
    succeed(at, &[&["audit", "--model=wan", "--out=audit"][..], &tiny].concat());
    let few = ["--set=prune.validation_clips=2", "--set=distill.guard_every=0", "--set=distill.critic_updates=1"];
    let prune = ["prune", "--model=wan", "--audit=audit", "--steps=4", "--out=prune"];
    succeed(at, &[&prune[..], &tiny, &few].concat());
    succeed(at, &[&["distill", "--model=prune", "--steps=3", "--out=distill"][..], &tiny, &few].concat());
    let sample = ["sample", "--model=distill", "--frames=5", "--height=32", "--width=48"];
    let made = |prompt: &str, out: &str| {
        let [_, told] = succeed(at, &[&sample[..], &["--prompt", prompt, "-o", out]].concat());
        assert!(told.contains("  text ") && told.contains("  decode "), "{told}");
        fs::read(at.join(out)).unwrap()
    };
    let first = made("a square", "first.y4m");
    assert!(first.starts_with(b"YUV4MPEG2 W48 H32 "));
    assert_eq!(made("a square", "again.y4m"), first);
    assert_ne!(made("another one", "other.y4m"), first, "the prompt is read");
}
