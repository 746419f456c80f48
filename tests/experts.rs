//! A pair of experts goes through the stages one at a time: each at its own noise levels, with notes of its own, beside an
//! other that stays as it is.

mod clips;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use clips::{T2V, encoded};
use flg_engine::{Device, Key, Tensor, safetensors};
use flg_model::Checkpoint;
use flg_model::checkpoint::{PipelineIndex, TRANSFORMER, TRANSFORMER_2, load_network, save_network};
use flg_train::data::encoded::Form;
use flg_train::export::Pipeline;
use flg_train::levels::Levels;

/// The preset for real networks, in seconds.
const TINY: &[&str] = &[
    "--preset=wan",
    "--set=prune.random_steps=2",
    "--set=prune.fixed_steps=1",
    "--set=prune.batch=2",
    "--set=prune.micro_batches=2",
    "--set=prune.validation_clips=2",
    "--set=prune.optimizer.lr=1e-3",
    "--set=distill.steps=2",
    "--set=distill.batch=2",
    "--set=distill.micro_batches=2",
    "--set=distill.critic_rank=2",
    "--set=distill.critic_warmup=1",
    "--set=distill.critic_updates=1",
    "--set=distill.guard_every=0",
    "--set=distill.generator.lr=1e-3",
    "--world=clips",
];

fn flg(at: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flg")).current_dir(at).args(args).output().unwrap()
}

fn succeed(at: &Path, args: &[&str]) {
    let output = flg(at, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn refuse(at: &Path, args: &[&str], parts: &[&str]) {
    let output = flg(at, &[args, &["--quiet"]].concat());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.starts_with("error: "), "{args:?}: {message}");
    for part in parts {
        assert!(message.contains(part), "{args:?}: `{part}` is not in: {message}");
    }
}

/// Two experts of two blocks each, with other weights, an autoencoder, texts, and clips for them.
fn pair(at: &Path) {
    succeed(at, &["init", "--arch=tiny", "--seed=3", "wan"]);
    let (wan, mut weights) = load_network(at.join("wan/transformer"), &Device::cpu()).unwrap();
    let head = weights.id("proj_out.weight").unwrap();
    for (seed, expert) in [(5, TRANSFORMER), (6, TRANSFORMER_2)] {
        let noise = Key::new(seed).normal(weights.device(), weights.get(head).shape()).unwrap();
        weights.get_mut(head).accumulate(0.2, &noise).unwrap();
        save_network(at.join("wan").join(expert), wan.config(), &weights).unwrap();
    }
    let mut index = PipelineIndex::read(at.join("wan")).unwrap();
    index = index.with_part(TRANSFORMER_2, "diffusers", "WanTransformer3DModel");
    index.boundary_ratio = Some(0.875);
    index.write(at.join("wan")).unwrap();

    let (config, form) = (wan.config(), T2V.form());
    encoded(&Form { latents: [config.out_channels, 2, 4, 6], text_dim: config.text_dim, ..form }, at, "clips");
    let text = |name: &str| Key::new(4).name(name).normal(&Device::cpu(), [1, 7, config.text_dim]).unwrap();
    let names = ["prompt_embeds", "negative_prompt_embeds"];
    let texts: Vec<Tensor> = names.iter().map(|name| text(name)).collect();
    safetensors::write(at.join("text.safetensors"), names.into_iter().zip(&texts), &Default::default()).unwrap();
}

const SAMPLE: &[&str] =
    &["sample", "--embeddings=text.safetensors", "--frames=5", "--height=32", "--width=48", "--output=clip.npy"];

fn stage<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[name][..], TINY, more].concat()
}

fn weights(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("diffusion_pytorch_model.safetensors")).unwrap()
}

#[test]
fn both_experts_become_few_step_students_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    pair(at);
    refuse(at, &stage("prune", &["--model=wan", "--remove=1", "--out=x"]), &["two experts", "wan/transformer_2`"]);

    // Each loses another block, in the order low, high.
    succeed(at, &stage("prune", &["--model=wan/transformer_2", "--remove=1", "--out=low"]));
    let low = at.join("low/pruned");
    assert_eq!(weights(&low.join(TRANSFORMER)), weights(&at.join("wan/transformer")));
    assert_ne!(weights(&low.join(TRANSFORMER_2)), weights(&at.join("wan/transformer_2")));
    let index = PipelineIndex::read(&low).unwrap();
    assert_eq!((index.boundary_ratio, index.parts.len()), (Some(0.875), 4));
    // Experts of two depths are sampled.
    succeed(at, &[SAMPLE, &["--model=low/pruned", "--steps=3"]].concat());

    succeed(at, &stage("distill", &["--model=low/model/transformer_2", "--out=low-student"]));
    refuse(at, &[SAMPLE, &["--model=low-student"]].concat(), &["transformer_2", "high noise was not: distill that"]);
    succeed(at, &stage("prune", &["--model=low-student/model/transformer", "--remove=0", "--out=high"]));
    succeed(at, &stage("distill", &["--model=high/model/transformer", "--out=both"]));

    let both = at.join("both/model");
    let [high, low] =
        [TRANSFORMER, TRANSFORMER_2].map(|name| Checkpoint::load(both.join(name), &Device::cpu()).unwrap());
    assert_eq!([&high, &low].map(|expert| expert.provenance.as_ref().unwrap().removed()), [[0], [1]]);
    assert_eq!(high.few_step, low.few_step);
    assert_eq!(high.few_step.unwrap().steps(), 4);
    assert_eq!(weights(&both.join(TRANSFORMER_2)), weights(&at.join("low-student/model/transformer_2")));
    succeed(at, &[SAMPLE, &["--model=both"]].concat());
    let told = flg(at, &["inspect", "both"]);
    let told = String::from_utf8(told.stdout).unwrap();
    for part in ["transformer: blocks removed of 2: 0", "transformer_2: blocks removed of 2: 1"] {
        assert!(told.contains(part), "`{part}` is not in: {told}");
    }

    // Conversion keeps what each expert says of itself.
    succeed(at, &["convert", "both/model", "converted", "--layout=diffusers", "--dtype=bf16"]);
    let converted = Checkpoint::load(at.join("converted/transformer_2"), &Device::cpu()).unwrap();
    assert_eq!((converted.provenance, converted.few_step), (low.provenance, low.few_step));
}

#[test]
fn a_run_on_an_expert_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    pair(at);
    let begun = ["--model=wan/transformer_2", "--remove=1", "--save-every=1", "--keep=9", "--out=run"];
    succeed(at, &stage("distill", &begun));
    let student = at.join("run/model/transformer_2");
    let whole = weights(&student);
    fs::remove_dir_all(at.join("run/model")).unwrap();
    // The folder that the run began with says which expert it is.
    succeed(at, &["distill", "--out=run", "--resume=run/checkpoints/step-00000001"]);
    assert!(weights(&student) == whole, "the student differs");
}

#[test]
fn an_expert_is_known_by_its_folder_and_has_its_levels() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    pair(at);
    let of = |folder: &str| Pipeline::of(&at.join(folder)).unwrap().unwrap();
    assert_eq!(of("wan/transformer").levels(), Levels { low: 0.875, high: 1.0 });
    assert_eq!(of("wan/transformer_2").levels(), Levels { low: 0.0, high: 0.875 });
    assert_eq!((of("wan").levels(), of("wan").expert()), (Levels::ALL, None));
    let guarded = &["--model=wan/transformer", "--keep-all", "--set=distill.guard_every=1", "--out=x"];
    refuse(at, &stage("distill", guarded), &["distill.guard_every", "levels 0.875 to 1"]);
    let short = &["--model=wan/transformer_2", "--keep-all", "--set=distill.student_steps=1", "--out=x"];
    refuse(at, &stage("distill", short), &["distill.student_steps", "levels 0 to 0.875"]);
    // Nothing is made of what is refused.
    assert!(!at.join("x").exists());
}
