//! `flg` with a checkpoint as published ones are laid out: made, sampled from, latents decoded again, and what is refused
//! before anything is read.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Output};

use flg_engine::{Device, Key, Tensor, safetensors};
use flg_model::{FewStep, Rule};
use flg_train::pipeline::{Extents, Latents, Parts, View};
use flg_train::video::{Clip, Geometry};

const USAGE: i32 = 2;
const INPUT: i32 = 3;

fn flg(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flg"));
    command.current_dir(dir).args(args).output().expect("the binary was built with the tests")
}

fn made(dir: &Path, args: &[&str]) -> String {
    let output = flg(dir, args);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {message}", args.join(" "));
    message
}

fn refuse(dir: &Path, args: &[&str], code: i32, says: &str) {
    let output = flg(dir, args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{}: {message}", args.join(" "));
    assert!(message.contains(says) && !message.contains("panicked"), "{}: {message}", args.join(" "));
}

/// A checkpoint of the architecture for tests whose output layer is not zero, and text embeddings for it.
fn checkpoint(dir: &Path) {
    made(dir, &["init", "--arch", "tiny", "--seed", "3", "wan"]);
    let (wan, mut weights) = flg_model::checkpoint::load_network(dir.join("wan/transformer"), &Device::cpu()).unwrap();
    let id = weights.id("proj_out.weight").unwrap();
    let noise = Key::new(5).normal(weights.device(), weights.get(id).shape()).unwrap();
    weights.get_mut(id).accumulate(0.2, &noise).unwrap();
    flg_model::checkpoint::save_network(dir.join("wan/transformer"), wan.config(), &weights).unwrap();
    let text = |name: &str| Key::new(4).name(name).normal(&Device::cpu(), [1, 7, wan.config().text_dim]).unwrap();
    let names = ["prompt_embeds", "negative_prompt_embeds"];
    let texts: Vec<Tensor> = names.iter().map(|name| text(name)).collect();
    safetensors::write(dir.join("text.safetensors"), names.into_iter().zip(&texts), &BTreeMap::new()).unwrap();
}

const SAMPLE: &[&str] = &[
    "sample",
    "--model",
    "wan",
    "--embeddings",
    "text.safetensors",
    "--frames",
    "5",
    "--height",
    "32",
    "--width",
    "48",
    "--steps",
    "3",
];

#[test]
fn a_clip_depends_on_no_thread_and_can_be_decoded_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    checkpoint(at);
    let with = |more: &[&str]| made(at, &[SAMPLE, more].concat());
    let plan = with(&["-o", "a.npy", "--save-latents", "a.safetensors", "--preview-every", "2"]);
    assert!(plan.contains("expected memory by phase") && plan.contains("stay in memory"), "{plan}");
    let first = fs::read(at.join("a.npy")).unwrap();
    assert!(at.join("a.step-002.png").is_file());
    with(&["-o", "skipped.npy", "--skip", "0,0,0"]);
    assert_ne!(fs::read(at.join("skipped.npy")).unwrap(), first);
    with(&["-o", "c.npy", "--threads", "1"]);
    assert_eq!(fs::read(at.join("c.npy")).unwrap(), first);
    assert!(!at.join("c.latents.safetensors").exists());
    // The latents say how large the video is.
    let again = made(at, &["sample", "--model", "wan", "--from-latents", "a.safetensors", "-o", "d.npy"]);
    let needed = |plan: &str| plan.lines().find(|line| line.contains("decode ")).map(str::to_owned);
    assert_eq!(needed(&again), needed(&plan));
    assert_eq!(fs::read(at.join("d.npy")).unwrap(), first);
}

/// UniPC needs what earlier steps predicted, a schedule that re-noises what it drew.
#[test]
fn a_run_goes_on_behind_its_last_step_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    checkpoint(at);
    let few_step = FewStep::new(3, 5.0, Rule::Renoise).unwrap();
    for distilled in [false, true] {
        if distilled {
            fs::write(at.join("wan/scheduler/flg_few_step.json"), serde_json::to_string(&few_step).unwrap()).unwrap();
        }
        let with = |out: &str, more: &[&str]| made(at, &[SAMPLE, &["--count", "2", "-o", out], more].concat());
        with("whole.npy", &[]);
        assert!(!at.join("whole.steps").exists(), "steps are kept until the clips are written, and no longer");

        // A clip that cannot be written leaves its steps; two of them are lost, as if the run had been killed before.
        fs::create_dir(at.join("part.npy")).unwrap();
        let part = [SAMPLE, &["--count", "2", "-o", "part.npy"]].concat();
        assert!(!flg(at, &part).status.success());
        for step in ["1", "2"] {
            fs::remove_file(at.join(format!("part.steps/clip-001-step-000{step}.safetensors"))).unwrap();
        }
        fs::remove_dir(at.join("part.npy")).unwrap();
        refuse(at, &[&part[..], &["--seed", "9"]].concat(), USAGE, "a step of another run");
        let told = with("part.npy", &[]);
        assert!(
            told.contains("clip 1: going on behind step 3") && told.contains("clip 2: going on behind step 1"),
            "{told}"
        );
        assert!(fs::read(at.join("part.npy")).unwrap() == fs::read(at.join("whole.npy")).unwrap());
        assert!(!at.join("part.steps").exists());
        // What was written leaves nothing to go on from.
        assert!(!with("part.npy", &[]).contains("going on"));
        fs::remove_file(at.join("part.npy")).unwrap();
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    checkpoint(at);
    // Nothing but headers may be looked at from here on.
    let weights = at.join("wan/transformer/diffusion_pytorch_model.safetensors");
    let header = fs::read(&weights).unwrap();
    let with = |more: &[&'static str]| [SAMPLE, more, &["-o", "x.gif"]].concat();
    let sized = |frames: &'static str, height: &'static str| {
        let other = |arg: &&'static str| match *arg {
            "5" => frames,
            "32" => height,
            other => other,
        };
        with(&[]).iter().map(other).collect::<Vec<_>>()
    };
    refuse(at, &sized("5", "40"), USAGE, "the nearest is 48");
    refuse(at, &sized("6", "32"), USAGE, "the nearest is 5");
    refuse(at, &with(&["--image", "none.png"]), USAGE, "text only");
    refuse(at, &with(&["--max-memory", "1MiB"]), USAGE, "expected to hold");
    refuse(at, &["sample", "--model", "wan", "--prompt", "x", "-o", "x.gif"], INPUT, "text_encoder");
    refuse(at, &["sample", "--model", "wan", "--from-latents", "text.safetensors", "-o", "x.gif"], INPUT, "latents");
    fs::write(&weights, &header[..header.len() / 2]).unwrap();
    refuse(at, &with(&[]), INPUT, "diffusion_pytorch_model.safetensors");
    fs::remove_dir_all(at.join("wan/vae")).unwrap();
    refuse(at, &with(&[]), USAGE, "no vae/ folder");
    assert!(!at.join("x.gif").exists());
}

/// Tiles of 256 pixels, 192 apart: where no other reaches, latents are those of a tile alone.
#[test]
fn a_frame_is_encoded_in_tiles_and_between_them_blended() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    checkpoint(at);
    let (parts, device) = (Parts::open(&at.join("wan")).unwrap(), Device::cpu());
    let (height, width) = (32, 320);
    let pixel = |i: usize| ((i % 97) as f32 / 96.0 + (i % 11) as f32 / 10.0) / 2.0;
    let clip = Clip::from_pixels(
        Geometry { channels: 3, frames: 1, height, width },
        (0..3 * height * width).map(pixel).collect(),
    )
    .unwrap();
    let frame = clip.frames().next().unwrap();
    let encode = |view: View, columns: std::ops::Range<usize>| {
        let lines = frame.pixels().chunks(width).flat_map(|line| line[columns.clone()].to_vec());
        let geometry = Geometry { channels: 3, frames: 1, height, width: columns.len() };
        let part = Clip::from_pixels(geometry, lines.collect()).unwrap();
        let extents = Extents { frames: 1, height, width: columns.len() };
        let autoencoder = Latents::open(&parts, view, &device).unwrap();
        autoencoder.encode(&[part.frames().next()], extents, &mut |_, _| ControlFlow::Continue(())).unwrap()
    };
    let tiled = encode(View::Tiles, 0..320);
    assert_eq!(tiled.dims(), [1, parts.variant.config.out_channels, 1, 4, 40]);
    let columns = |x: &Tensor, first: usize, count: usize| x.narrow(4, first, count).unwrap().to_vec();
    let [left, right] = [encode(View::Whole, 0..256), encode(View::Whole, 192..320)];
    assert_eq!(columns(&tiled, 0, 24), columns(&left, 0, 24));
    assert_eq!(columns(&tiled, 32, 8), columns(&right, 8, 8));
    // In the first shared column the left one counts alone, in the middle both do.
    assert_eq!(columns(&tiled, 24, 1), columns(&left, 24, 1));
    let half = |(a, b): (f32, f32)| 0.5 * a + 0.5 * b;
    let middle: Vec<f32> = columns(&left, 28, 1).into_iter().zip(columns(&right, 4, 1)).map(half).collect();
    for (got, want) in columns(&tiled, 28, 1).iter().zip(middle) {
        assert!((got - want).abs() < 1e-5, "{got} {want}");
    }
    // Too little memory for whole frames is enough for tiles.
    let whole = Latents::bytes(View::Whole, &parts.read_vae().unwrap(), [480, 832]).unwrap();
    let tiles = Latents::bytes(View::Tiles, &parts.read_vae().unwrap(), [480, 832]).unwrap();
    assert!(4 * tiles < whole, "{tiles} {whole}");
}
