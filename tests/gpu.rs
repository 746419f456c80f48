//! The program on a GPU, real or emulated, beside the same program on the host: training, the three stages, sampling, and
//! checkpoints that go from one to the other.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use flg_engine::{Device, safetensors::SafeTensors};
use serde_json::Value;

/// A network that an emulated GPU trains in seconds.
const TINY: &[&str] = &[
    "--quiet",
    "--preset=quick",
    "--set=data.world=counter",
    "--set=model.num_layers=3",
    "--set=model.num_attention_heads=1",
    "--set=model.ffn_dim=16",
    "--set=model.freq_dim=16",
    "--set=train.batch=2",
    "--set=train.steps=3",
    "--set=train.validate_every=3",
    "--set=train.validation_clips=2",
    "--set=audit.clips=2",
    "--set=prune.batch=2",
    "--set=prune.micro_batches=1",
    "--set=prune.random_steps=2",
    "--set=prune.fixed_steps=1",
    "--set=prune.validation_clips=2",
    "--set=distill.batch=2",
    "--set=distill.steps=2",
    "--set=distill.guard_every=0",
];

fn flg(at: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flg"))
        .current_dir(at)
        .args(args)
        .output()
        .expect("the binary was built with the tests")
}

fn succeed(at: &Path, args: &[&str]) {
    let output = flg(at, args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {message}", args.join(" "));
    // An emulated driver says what is wrong with a kernel on stderr, and goes on where it can.
    for line in message.lines().filter(|line| line.starts_with("flg-emulator:")) {
        assert!(line.contains("no GPU"), "{}: {line}", args.join(" "));
    }
}

/// Runs a stage on both devices, each from what the same device made before.
fn stage(at: &Path, name: &str, more: &[(&str, &str)]) {
    for device in ["cpu", "cuda:0"] {
        let home = device.trim_end_matches(":0");
        let mut args = vec![name.to_owned(), format!("--device={device}"), format!("--out={home}/{name}")];
        args.extend(more.iter().map(|(flag, made)| format!("--{flag}={home}/{made}")));
        let args: Vec<&str> = args.iter().map(String::as_str).chain(TINY.iter().copied()).collect();
        succeed(at, &args);
    }
}

/// The numbers of a run's metrics, line by line, by name.
fn metrics(at: &Path, run: &str) -> Vec<Vec<(String, f64)>> {
    let text = fs::read_to_string(at.join(run).join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let Value::Object(members) = serde_json::from_str(line).unwrap() else { panic!("{line}") };
        members.into_iter().filter_map(|(name, value)| Some((name, value.as_f64()?))).collect()
    };
    text.lines().map(line).collect()
}

/// Losses of a few steps agree to what f32 sums in another order leave, which steps of an optimiser amplify.
fn assert_same_course(at: &Path, name: &str) {
    let [host, gpu] = ["cpu", "cuda"].map(|home| metrics(at, &format!("{home}/{name}")));
    assert!(!host.is_empty(), "{name} wrote no metrics");
    assert_eq!(host.len(), gpu.len(), "{name}: steps");
    for (host, gpu) in host.iter().zip(&gpu) {
        for ((key, a), (other, b)) in host.iter().zip(gpu) {
            assert_eq!(key, other, "{name}");
            assert!((a - b).abs() <= 2e-3 * a.abs().max(1e-2), "{name}: {key} is {a} on the host and {b} on the GPU");
        }
    }
}

#[test]
fn the_stages_take_the_same_course_on_both_devices() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    stage(at, "train", &[]);
    stage(at, "audit", &[("model", "train")]);
    stage(at, "prune", &[("model", "train"), ("audit", "audit")]);
    stage(at, "distill", &[("model", "prune")]);
    ["train", "prune", "distill"].into_iter().for_each(|name| assert_same_course(at, name));

    // A student that the GPU made samples on the host, and the same noise becomes the same clip.
    for device in ["cpu", "cuda:0"] {
        let home = device.trim_end_matches(":0");
        let out = format!("{home}.gif");
        let latents = format!("--save-latents={home}.safetensors");
        let device = format!("--device={device}");
        let caption = "counting up from 3";
        let args = ["sample", "--model=cuda/distill", "--prompt", caption, &device, &latents, "-o", &out, "--quiet"];
        succeed(at, &args);
        assert!(fs::metadata(at.join(&out)).unwrap().len() > 0);
    }
    let [host, gpu] = ["cpu", "cuda"].map(|home| {
        let file = SafeTensors::open(at.join(format!("{home}.safetensors"))).unwrap();
        let name = file.names().next().unwrap().to_owned();
        file.tensor(&name, &Device::cpu()).unwrap().to_vec()
    });
    assert_eq!(host.len(), gpu.len());
    assert!(host.iter().any(|x| x.abs() > 0.1), "a clip of nothing shows nothing");
    for (i, (a, b)) in host.iter().zip(&gpu).enumerate() {
        assert!((a - b).abs() <= 1e-3, "latent {i} is {a} on the host and {b} on the GPU");
    }
}

#[test]
fn a_run_on_a_gpu_goes_on_with_the_bytes_of_one_that_was_not_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let run = |out: &str, more: &[&str]| {
        let out = format!("--out={out}");
        let args: Vec<&str> = ["train", "--device=cuda:0", &out].into_iter().chain(TINY.iter().copied()).collect();
        succeed(at, &[&args[..], more].concat());
    };
    run("whole", &["--set=train.steps=4", "--save-every=2"]);
    run("parts", &["--set=train.steps=4", "--save-every=2"]);
    let checkpoints = fs::read_dir(at.join("parts/checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    let mut checkpoints: Vec<_> = checkpoints.filter(|path| path.is_dir()).collect();
    checkpoints.sort();
    let middle = checkpoints.first().unwrap().to_str().unwrap().to_owned();
    run("parts", &["--set=train.steps=4", "--save-every=2", &format!("--resume={middle}")]);
    let model =
        |run: &str| fs::read(at.join(run).join("model/transformer/diffusion_pytorch_model.safetensors")).unwrap();
    assert!(model("whole") == model("parts"), "the resumed run ended with other weights");
}

#[test]
fn what_is_no_device_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (device, part) in [("cuda:99", "cuda:99"), ("gpu", "cuda:0"), ("cuda:x", "cuda:0")] {
        let output = flg(dir.path(), &["train", "--out=x", "--device", device]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.contains(part), "{device}: {message}");
        assert!(!message.contains("panicked"), "{device}: {message}");
    }
}
