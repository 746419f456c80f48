//! The whole evaluation on a small scale.

use std::ops::ControlFlow;
use std::sync::Arc;

use flg_engine::{Device, Key, ParamStore, Precision};
use flg_model::sampler::{Network, Ode, Solver};
use flg_model::{BlockMask, Guidance, Wan, WanConfig};

use super::*;
use crate::config::{DataConfig, EvalConfig};
use crate::data::{Card, Split, TextShape, preset};
use crate::generate::Sampler;
use crate::task::Task;

const TEXT: TextShape = TextShape { words: 4, dim: 8 };

fn task(world: &str) -> Task {
    Task::new(&Device::cpu(), Arc::from(preset(world).unwrap()), 0, TEXT).unwrap()
}

fn config() -> EvalConfig {
    EvalConfig {
        prompts: 12,
        batch: 5,
        diversity_seeds: 3,
        bootstrap: 20,
        timing_runs: 2,
        network_steps: 3,
        network_batch: 8,
        ..EvalConfig::default()
    }
}

fn trained(task: &Task, config: &EvalConfig) -> EvalNetwork {
    EvalNetwork::train(task, config, 1, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

#[test]
fn training_is_deterministic_and_files_keep_the_network() {
    let task = task("counter");
    let network = trained(&task, &config());
    assert_eq!(network.hash(), trained(&task, &config()).hash());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.safetensors");
    network.save(&path).unwrap();
    let loaded = EvalNetwork::load(task.world("a test").unwrap(), task.device(), &path).unwrap();
    assert_eq!(loaded.hash(), network.hash());
    let digits = preset("digits").unwrap();
    let refused = EvalNetwork::load(digits.as_ref(), task.device(), &path).unwrap_err();
    assert!(refused.to_string().contains("made for counter"), "{refused}");
    // One changed weight is noticed.
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let refused = EvalNetwork::load(task.world("a test").unwrap(), task.device(), &path).unwrap_err();
    assert!(refused.to_string().contains("hash"), "{refused}");
}

#[test]
fn a_few_updates_learn_something() {
    let task = task("digits");
    let mut losses = Vec::new();
    let config = EvalConfig { network_steps: 12, network_batch: 16, ..config() };
    let mut keep = |_, loss| {
        losses.push(loss);
        ControlFlow::Continue(())
    };
    EvalNetwork::train(&task, &config, 1, &mut keep).unwrap();
    assert!(losses[11] < losses[0], "{losses:?}");
}

#[test]
fn real_clips_are_near_real_clips_and_noise_is_not() {
    for world in ["digits", "counter"] {
        let task = task(world);
        let config = config();
        let evaluator = Evaluator::new(&task, trained(&task, &config), &config, 3).unwrap();
        let [real, training]: [Row; 2] = evaluator.real_rows(Condition::Text).unwrap().try_into().unwrap();
        assert_ne!(real.figures, training.figures);
        assert_eq!(real.cost, None);

        let device = task.device();
        let mut weights = ParamStore::new(device);
        let geometry = task.world("a test").unwrap().geometry();
        let model = WanConfig {
            patch_size: [1, 4, 4],
            num_attention_heads: 1,
            attention_head_dim: 6,
            in_channels: geometry.channels,
            out_channels: geometry.channels,
            text_dim: TEXT.dim,
            ffn_dim: 8,
            num_layers: 2,
            ..WanConfig::default()
        };
        let wan = Wan::init(model, &mut weights, Key::new(1)).unwrap();
        let card = Card::new(task.world("a test").unwrap(), &DataConfig::default(), TEXT.dim).unwrap();
        let conditions = card.conditions(device).unwrap();
        let mask = BlockMask::without(2, &[1]).unwrap();
        let spec = SamplerSpec {
            name: "untrained".to_owned(),
            network: Network { wan: &wan, weights: &weights, mask: &mask, precision: Precision::F32 },
            conditions: &conditions,
            sampler: Sampler::Ode(Ode { solver: Solver::Euler, steps: 2, shift: 1.0 }, Guidance::ho_salimans(3.0)),
        };
        let mut told = (0, 0);
        let mut progress = |done, total| {
            told = (done, total);
            ControlFlow::Continue(())
        };
        let (row, clips) = evaluator.row(&spec, Condition::Text, &mut progress).unwrap();
        // Two whole batches and a rest, and one more batch for the time.
        assert_eq!((clips.len(), told), (12, (8, 8)));
        // With 12 clips in 64 dimensions most of a Frechet distance is its bias; the kernel distance has none.
        assert!(row.figures.frechet > real.figures.frechet, "{world}: {row:?} {real:?}");
        assert!(row.figures.kernel_distance > 4.0 * real.figures.kernel_distance.abs(), "{world}: {row:?} {real:?}");
        let cost = row.cost.as_ref().unwrap();
        assert_eq!((cost.steps, cost.network_calls, cost.guidance, cost.blocks), (2, 4, 3.0, 1));
        assert!(cost.parameters < weights.elements() && cost.weight_bytes == 4 * cost.parameters);
        assert!(cost.memory_bytes > cost.weight_bytes && cost.seconds_per_clip > 0.0);

        let (image, clips) = evaluator.row(&spec, Condition::TextImage, &mut |_, _| ControlFlow::Continue(())).unwrap();
        let plane = geometry.height * geometry.width;
        for (clip, real) in clips.iter().zip(evaluator.real_clips()) {
            let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
            assert!(clip.pixels()[..plane].iter().zip(real.pixels()).all(near));
        }
        assert_eq!(image.figures.style.is_some(), world == "counter");

        let rows = [real, row, image];
        assert_eq!(table(&rows).lines().count(), 4);
        let json = serde_json::to_string(&rows).unwrap();
        assert!(json.contains("\"seconds_per_clip\"") && json.contains("\"intervals\""));
        // Everything is kept in a file but what intervals were made of.
        let kept = rows.map(|row| Row { resampled: Default::default(), ..row });
        assert_eq!(serde_json::from_str::<Vec<Row>>(&json).unwrap(), kept);
    }
}

#[test]
fn a_world_without_a_bundled_network_says_how_to_make_one() {
    let error = Error::NoNetwork { world: "mine".to_owned() }.to_string();
    assert!(error.contains("mine") && error.contains("--train-network"), "{error}");
}

/// The bars that the bundled networks were trained to: what a real clip shows is read rightly.
#[test]
fn the_bundled_networks_read_real_clips() {
    for (world, bars) in [("digits", &[("digit", 0.92), ("direction", 0.99)][..]), ("counter", &[("digit", 0.92)])] {
        let task = task(world);
        let network = EvalNetwork::bundled(task.world("a test").unwrap(), task.device()).unwrap();
        let accuracy = network.accuracy(&task, Split::HeldOut, 1024).unwrap();
        assert_eq!(accuracy.len(), bars.len());
        for ((label, bar), got) in bars.iter().zip(&accuracy) {
            assert!(got.label == *label && got.share >= *bar, "{world}: {got:?}");
        }
    }
}
