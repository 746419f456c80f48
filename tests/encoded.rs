//! The stages on encoded data sets, for every kind of Wan network: audit, prune, distill, what they leave behind, and
//! what they refuse.

mod clips;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use std::sync::Arc;

use clips::{FLF2V, I2V, Kind, T2V, TI2V, encoded, pipeline};
use flg_engine::memory::Usage;
use flg_engine::{DType, Device, ParamStore, Tensor};
use flg_model::checkpoint::{Keep, PipelineIndex};
use flg_model::wan::reads_low_precision;
use flg_model::{BlockMask, Checkpoint, Wan, WanConfig};
use flg_train::audit;
use flg_train::config::{Config, Layers};
use flg_train::data::Encoded;
use flg_train::data::encoded::{Form, ImageForm};
use flg_train::levels::Levels;
use flg_train::method::Method;
use flg_train::methods::prune::Choice;
use flg_train::methods::{Distill, Prune, Setup};
use flg_train::rehearsal::{Expected, PROGRAM, THREAD};
use flg_train::task::Task;

const USAGE: i32 = 2;
const INPUT: i32 = 3;

/// The preset for real networks, in seconds.
const TINY: &[&str] = &[
    "--preset=wan",
    "--set=audit.clips=2",
    "--set=audit.selection_clips=2",
    "--set=audit.strata=2",
    "--set=audit.bootstrap=20",
    "--set=prune.random_steps=2",
    "--set=prune.fixed_steps=1",
    "--set=prune.batch=2",
    "--set=prune.micro_batches=2",
    "--set=prune.validate_every=2",
    "--set=prune.validation_clips=2",
    "--set=prune.optimizer.lr=1e-3",
    "--set=distill.steps=3",
    "--set=distill.batch=2",
    "--set=distill.micro_batches=2",
    "--set=distill.student_steps=2",
    "--set=distill.critic_rank=2",
    "--set=distill.critic_warmup=1",
    "--set=distill.critic_updates=2",
    "--set=distill.guard_every=2",
    "--set=distill.guard_clips=2",
    "--set=distill.generator.lr=1e-3",
    "--save-every=1",
    "--keep=9",
];

fn flg(at: &Path, stage: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flg")).current_dir(at).arg(stage).args(TINY).args(more).output().unwrap()
}

fn succeed(at: &Path, stage: &str, more: &[&str]) -> String {
    let output = flg(at, stage, more);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stage} {more:?}: {told}");
    told
}

fn refuse(at: &Path, stage: &str, more: &[&str], code: i32, parts: &[&str]) {
    let output = flg(at, stage, &[more, &["--quiet"]].concat());
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stage} {more:?}: {message}");
    assert!(message.starts_with("error: ") && message.lines().count() == 1, "{message}");
    for part in parts {
        assert!(message.contains(part), "{stage} {more:?}: `{part}` is not in: {message}");
    }
}

/// Audit, prune and distill of a network with four blocks on clips of its kind.
fn all_stages(at: &Path, kind: Kind, more: &[&str]) {
    pipeline(&kind.config(4), at, "wan");
    encoded(&kind.form(), at, "clips");
    let with = |fixed: &[&'static str]| [fixed, more].concat();
    succeed(at, "audit", &with(&["--model=wan", "--world=clips", "--out=audit"]));
    let told = succeed(at, "prune", &with(&["--model=wan", "--world=clips", "--audit=audit", "--out=prune"]));
    let at_of = |part: &str| told.find(part).unwrap_or_else(|| panic!("`{part}` is not in: {told}"));
    for part in ["weights", "moments", "gradients", "in all"] {
        assert!(at_of(part) < at_of("prune 1/3"), "{told}");
    }
    // Neither the clips nor the removed blocks need be named again.
    succeed(at, "distill", &with(&["--model=prune", "--out=distill"]));
}

#[test]
fn every_kind_of_network_goes_through_all_stages() {
    for (kind, more) in [
        (T2V, &[][..]),
        (T2V, &["--set=run.precision=f32", "--set=distill.critic=full", "--set=prune.target=ema-self"]),
        (T2V, &["--set=distill.student=lora", "--set=distill.student_rank=2"]),
        (TI2V, &["--set=audit.first_frame=0.5", "--set=prune.first_frame=0.5", "--set=distill.first_frame=0.5"]),
        (I2V, &["--set=distill.gan=0.01"]),
        (I2V, &["--set=distill.critic=pruned", "--set=prune.feature=0.1", "--set=prune.recompute_blocks=false"]),
        (FLF2V, &["--set=run.precision=f32"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        all_stages(at, kind, more);
        let student = Checkpoint::load(at.join("distill/model"), &Device::cpu()).unwrap();
        let config = student.wan.config();
        assert_eq!((config.num_layers, config.in_channels), (3, kind.config(1).in_channels), "{kind:?}");
        let provenance = student.provenance.unwrap();
        assert_eq!((provenance.parent_layers, provenance.kept_indices.len()), (4, 3));
        assert_eq!(student.few_step.unwrap().sigmas.len(), 2);
        // The network that was pruned is sampled as the one that it was made from.
        let pruned = Checkpoint::load_as(at.join("prune/pruned"), Keep::Stored, &Device::cpu()).unwrap();
        assert_eq!(
            (pruned.shift, pruned.weights.get(pruned.weights.id("proj_out.weight").unwrap()).dtype()),
            (Some(3.0), DType::F32)
        );
    }
}

#[test]
fn what_is_left_is_a_whole_pipeline_with_a_card() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    all_stages(at, TI2V, &[]);
    for folder in ["prune/model", "prune/pruned", "distill/model"] {
        let folder = at.join(folder);
        let index = PipelineIndex::read(&folder).unwrap();
        assert!(index.expand_timesteps && index.parts.len() == 4 && index.parts.values().all(Option::is_some));
        assert_eq!(fs::canonicalize(folder.join("vae")).unwrap(), fs::canonicalize(at.join("wan/vae")).unwrap());
        let card = fs::read_to_string(folder.join("README.md")).unwrap();
        for part in ["| 3 |", "| yes |", "6 clips", "each of which took"] {
            assert!(card.contains(part), "`{part}` is not in: {card}");
        }
    }
    let card = fs::read_to_string(at.join("distill/model/README.md")).unwrap();
    assert!(card.contains("3 blocks") && card.contains("at these times and no others: 1000.0000, 833.3333"), "{card}");

    succeed(at, "distill", &["--model=prune", "--out=copied", "--with-parts=copy", "--steps=1"]);
    assert!(fs::symlink_metadata(at.join("copied/model/vae")).unwrap().is_dir());
    succeed(at, "distill", &["--model=prune", "--out=alone", "--with-parts=none", "--steps=1"]);
    let index = PipelineIndex::read(at.join("alone/model")).unwrap();
    assert!(index.parts["vae"].is_none() && index.parts["transformer"].is_some());
    assert!(!at.join("alone/model/vae").exists());
}

/// Every file of a run but those that have times in them, by path; links are not followed.
fn files(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![run.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let name = path.strip_prefix(run).unwrap().to_string_lossy().into_owned();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && name != "log.jsonl" && !name.ends_with("README.md") {
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn resumed_runs_end_with_the_same_bytes() {
    for (kind, more) in [(T2V, &[][..]), (I2V, &["--set=distill.student=lora", "--set=distill.student_rank=2"])] {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        all_stages(at, kind, more);
        for run in ["prune", "distill"] {
            let whole = files(&at.join(run));
            fs::remove_dir_all(at.join(run).join("model")).unwrap();
            for step in [2, 1] {
                // It forgets what came after, and does it again; model and clips are those that it began with.
                let from = format!("{run}/checkpoints/step-{step:08}");
                succeed(at, run, &["--out", run, "--resume", &from]);
                let again = files(&at.join(run));
                assert_eq!(whole.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>());
                for (name, bytes) in &whole {
                    assert!(again[name] == *bytes, "{kind:?}: {run} from step {step}: {name} differs");
                }
            }
        }
        // Other clips are not what the run began with.
        encoded(&Form { text_rows: kind.text[0] + 1, ..kind.form() }, at, "others");
        refuse(at, "prune", &["--out=prune", "--resume=latest", "--world=others"], INPUT, &["not the one"]);
    }
}

#[test]
fn sets_that_are_not_for_the_network_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for kind in [T2V, I2V, FLF2V] {
        pipeline(&kind.config(2), at, kind.name);
        encoded(&kind.form(), at, &format!("{}-clips", kind.name));
    }
    let form = T2V.form();
    encoded(&Form { text_dim: 8, ..form.clone() }, at, "narrow");
    encoded(&Form { latents: [4, 3, 5, 6], ..form.clone() }, at, "odd");
    encoded(&Form { latents: [3, 3, 4, 6], ..form.clone() }, at, "thin");
    encoded(&Form { image: None, ..I2V.form() }, at, "blind");
    encoded(&Form { image: Some(ImageForm { rows: 17, dim: 24 }), ..FLF2V.form() }, at, "one-image");
    let (t2v, i2v, flf2v) = ("--model=wan_t2v", "--model=wan_i2v", "--model=wan_flf2v");
    for (model, world, part) in [
        (t2v, "--world=narrow", "reads text 20 wide, the set's is 8 wide"),
        (t2v, "--world=odd", "multiples of the patch"),
        (t2v, "--world=thin", "latents of 4 channels, the set's have 3"),
        (t2v, "--world=wan_i2v-clips", "0 channels beside the latents"),
        (i2v, "--world=wan_t2v-clips", "encode it for image to video"),
        (i2v, "--world=blind", "attends to an image embedding"),
        (flf2v, "--world=one-image", "34 rows of image embeddings, the set's clips have 17"),
    ] {
        for stage in ["audit", "prune", "distill"] {
            refuse(at, stage, &[model, world, "--out=x"], INPUT, &["is not for this network", part]);
        }
    }
    for (stage, key) in [("audit", "audit"), ("prune", "prune"), ("distill", "distill")] {
        let set = format!("--set={key}.first_frame=0.5");
        let key = format!("{key}.first_frame = 0.5");
        refuse(at, stage, &[i2v, "--world=wan_i2v-clips", "--out=x", &set], USAGE, &[&key, "channels beside"]);
        refuse(at, stage, &[t2v, "--world=wan_t2v-clips", "--out=x", &set], USAGE, &[&key, "one time for all frames"]);
    }
    refuse(at, "audit", &[t2v, "--out=x"], INPUT, &["flg_data.json"]);
    refuse(at, "audit", &[t2v, "--world=gone", "--out=x"], INPUT, &["flg_data.json"]);
    fs::rename(at.join("narrow/encoded.json"), at.join("narrow/encoding.json")).unwrap();
    refuse(at, "audit", &[t2v, "--world=narrow", "--out=x"], INPUT, &["has not been finished"]);
    // Of two blocks, both protected, none can go: said before anything is made, by the stage that audits on its way too.
    for stage in ["audit", "prune"] {
        refuse(at, stage, &[t2v, "--world=wan_t2v-clips", "--out=x"], USAGE, &["audit.fraction", "audit.protect"]);
    }
    assert!(!at.join("x").exists(), "nothing was made");
}

#[test]
fn a_set_is_inspected_and_is_no_world() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    encoded(&I2V.form(), at, "clips");
    let run = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_flg")).current_dir(at).args(args).output().unwrap();
    let said = String::from_utf8(run(&["data", "inspect", "clips"]).stdout).unwrap();
    for part in [
        "6 training and 4 held-out clips",
        "4 channels x 3 frames x 4 rows x 4 columns",
        "17 x 24",
        "8 channels beside",
    ] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    let value: serde_json::Value =
        serde_json::from_slice(&run(&["data", "inspect", "clips", "--json"]).stdout).unwrap();
    assert_eq!((&value["clips"]["held_out"], &value["captions"][0]), (&4.into(), &"one".into()));
    for args in [&["data", "make", "--world", "clips", "-o", "x.gif"][..], &["train", "--set=data.world=clips"]] {
        let output = run(args);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(INPUT) && message.contains("holds latents"), "{args:?}: {message}");
    }
    let path = at.join("clips/clips/000004.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let output = run(&["data", "inspect", "clips"]);
    assert_eq!(output.status.code(), Some(INPUT));
    assert!(String::from_utf8(output.stderr).unwrap().contains("000004.safetensors"));
}

/// A stage of the method.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Audit,
    Prune,
    Distill,
}

/// What a stage holds on a device, and what it is expected to hold, with one thread.
fn held(
    device: &Device,
    (wan, weights): (Wan, ParamStore),
    set: &Arc<Encoded>,
    config: &Config,
    stage: Stage,
) -> (Usage, usize) {
    let task = Task::encoded(device, set.clone());
    let setup = Setup { task, seed: 0, precision: config.run.precision.into(), levels: Levels::ALL };
    let choice = Choice { ranked: Vec::new(), removed: vec![1] };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let mut method: Box<dyn Method> = match stage {
            Stage::Audit => {
                audit::rehearse(&setup, (&wan, &weights), &config.audit).unwrap();
                return (device.memory(), 0);
            }
            Stage::Prune => Box::new(Prune::new(setup, (wan, weights), &choice, config.prune.clone()).unwrap()),
            Stage::Distill => {
                let mask = BlockMask::without(wan.config().num_layers, &[1]).unwrap();
                Box::new(Distill::new(setup, (wan, weights), mask, config.distill.clone()).unwrap())
            }
        };
        let expected = Expected::of_method(&mut *method, device, 1).unwrap();
        (device.memory(), expected.peak())
    })
}

fn configured(more: &[&str]) -> Config {
    let sets = TINY.iter().filter_map(|flag| flag.strip_prefix("--set=")).chain(more.iter().copied());
    sets.fold(Layers::new().preset("wan").unwrap(), |layers, set| layers.set(set).unwrap()).finish().unwrap()
}

#[test]
fn a_rehearsal_counts_what_the_stages_hold() {
    for (kind, more) in [
        (T2V, &[][..]),
        (T2V, &["distill.student=\"lora\""]),
        (I2V, &["run.precision=\"f32\"", "distill.critic=\"full\"", "prune.recompute_blocks=false"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let model = pipeline(&kind.config(4), at, kind.name);
        let set = Arc::new(Encoded::open(&encoded(&kind.form(), at, &format!("{}-clips", kind.name))).unwrap());
        // Both steps do everything that a step can do.
        let always = ["distill.guard_every=1", "prune.validate_every=1", "prune.keep=1.0"];
        let config = configured(&[more, &always].concat());
        for stage in [Stage::Audit, Stage::Prune, Stage::Distill] {
            let count = |device: Device| {
                let Checkpoint { wan, weights, .. } = Checkpoint::load_as(&model, Keep::Stored, &device).unwrap();
                held(&device, (wan, weights), &set, &config, stage)
            };
            let ((real, _), (dry, expected)) = (count(Device::cpu()), count(Device::dry()));
            assert_eq!((real.peak, real.held), (dry.peak, dry.held), "{kind:?} {stage:?}");
            if !matches!(stage, Stage::Audit) {
                assert_eq!(expected, dry.held + PROGRAM + THREAD);
            }
        }
    }
}

/// The published networks of 1.3 billion parameters at 480 by 832 pixels and 81 frames, which no test could run.
#[test]
fn published_sizes_are_rehearsed_and_hold_what_they_must() {
    let dir = tempfile::tempdir().unwrap();
    let form = Form { latents: [16, 21, 60, 104], text_rows: 512, text_dim: 4096, ..T2V.form() };
    let set = Arc::new(Encoded::open(&encoded(&form, dir.path(), "clips")).unwrap());
    let network = WanConfig { num_attention_heads: 12, ffn_dim: 8960, num_layers: 30, ..WanConfig::default() };
    let parameters: usize = network.parameters().iter().map(|parameter| parameter.shape.elements()).sum();
    assert_eq!(parameters, 1_418_996_800);
    let config = Layers::new().preset("wan").unwrap().finish().unwrap();
    let lora = Layers::new().preset("wan").unwrap().set("distill.student=\"lora\"").unwrap().finish().unwrap();
    for (stage, config, bytes_per_parameter, activations) in [
        (Stage::Audit, &config, 2.0, 4.0),
        (Stage::Prune, &config, 26.0, 9.0),
        (Stage::Distill, &config, 28.0, 12.0),
        (Stage::Distill, &lora, 14.0, 12.0),
    ] {
        let device = Device::dry();
        let mut weights = ParamStore::new(&device);
        for parameter in network.parameters() {
            let dtype = if reads_low_precision(&parameter.name) { DType::Bf16 } else { DType::F32 };
            weights.insert(&parameter.name, Tensor::empty(&device, parameter.shape, dtype).unwrap()).unwrap();
        }
        let wan = Wan::bind(network.clone(), &weights).unwrap();
        let (usage, _) = held(&device, (wan, weights), &set, config, stage);
        let gib = |bytes: f64| bytes / (1u64 << 30) as f64;
        let limit = gib(bytes_per_parameter * parameters as f64) + activations;
        let got = gib(usage.held as f64);
        println!("{stage:?}: {got:.1} GiB, at most {limit:.1}");
        assert!(got <= limit && got > gib(2.0 * parameters as f64), "{stage:?}: {got:.1} GiB, at most {limit:.1}");
    }
}
