//! What the three stages promise, on networks small enough for seconds: the method's specification as tests.

use std::sync::Arc;

use flg_engine::{Cx, Device, Key, ParamStore, Precision, Tensor};
use flg_model::{BlockMask, Wan, WanConfig};
use flg_train::audit::measure::{Draws, each_block, each_mask};
use flg_train::config::{AuditConfig, Critic, DistillConfig, GradientScale, MaskSampler, PruneConfig, Target};
use flg_train::data::{TextShape, World, preset};
use flg_train::levels::Levels;
use flg_train::method::Method;
use flg_train::methods::distill::gradient::{Scores, gradient};
use flg_train::methods::prune::Choice;
use flg_train::methods::{Distill, Prune, Setup};
use flg_train::perturb::{FirstFrame, perturb};
use flg_train::task::Task;

const LAYERS: usize = 4;

fn setup() -> Setup {
    let world: Arc<dyn World> = preset("digits").unwrap().into();
    let task = Task::new(&Device::cpu(), world, 0, TextShape { words: 4, dim: 8 }).unwrap();
    Setup { task, seed: 3, precision: Precision::F32, levels: Levels::ALL }
}

/// A network with weights that say something: fresh ones have a zero head.
fn network(setup: &Setup) -> (Wan, ParamStore) {
    let config = serde_json::json!({
        "patch_size": [1, 8, 8], "num_attention_heads": 2, "attention_head_dim": 6, "in_channels": 1,
        "out_channels": 1, "text_dim": 8, "freq_dim": 16, "ffn_dim": 16, "num_layers": LAYERS,
        "cross_attn_norm": true, "eps": 1e-6, "rope_max_seq_len": 64
    });
    let config: WanConfig = serde_json::from_value(config).unwrap();
    let mut weights = ParamStore::new(setup.task.device());
    let wan = Wan::init(config, &mut weights, Key::new(1)).unwrap();
    let head = weights.id("proj_out.weight").unwrap();
    let shape = weights.get(head).shape();
    *weights.get_mut(head) = Key::new(2).normal(setup.task.device(), shape).unwrap().scale(0.1).unwrap();
    (wan, weights)
}

fn prune_config(target: Target) -> PruneConfig {
    let config = PruneConfig { batch: 4, micro_batches: 2, validate_every: 0, target, ..PruneConfig::default() };
    PruneConfig { random_steps: 0, fixed_steps: 2, ..config }
}

fn bits(store: &ParamStore, of: impl Fn(&str) -> bool) -> Vec<u32> {
    let values = store.iter().filter(|(_, name, _)| of(name)).flat_map(|(_, _, value)| value.to_vec());
    values.map(f32::to_bits).collect()
}

#[test]
fn skipped_blocks_get_no_gradient_and_the_others_do() {
    let setup = setup();
    for target in [Target::Frozen, Target::SelfSg, Target::EmaSelf] {
        let (wan, weights) = network(&setup);
        let before = weights.deep_copy().unwrap();
        let choice = Choice { ranked: vec![1, 2, 0, 3], removed: vec![1, 2] };
        let mut prune = Prune::new(setup.clone(), (wan, weights), &choice, prune_config(target)).unwrap();
        prune.step(0).unwrap();
        let state = prune.state();
        let after = state.networks[0].weights;
        let removed = |name: &str| name.starts_with("blocks.1.") || name.starts_with("blocks.2.");
        let kept = |name: &str| name.starts_with("blocks.0.") || name.starts_with("blocks.3.");
        assert_eq!(bits(&before, removed), bits(after, removed), "{target:?}");
        assert_ne!(bits(&before, kept), bits(after, kept), "{target:?}");
    }
}

#[test]
fn a_method_restored_from_its_state_goes_on_with_the_same_bits() {
    let setup = setup();
    let choice = Choice { ranked: vec![1, 2, 0, 3], removed: vec![1] };
    let config = PruneConfig { random_steps: 10, sampler: MaskSampler::Sandwich, ..prune_config(Target::EmaSelf) };
    let fresh = || Prune::new(setup.clone(), network(&setup), &choice, config.clone()).unwrap();
    let mut whole = fresh();
    (0..4).for_each(|step| drop(whole.step(step).unwrap()));
    let mut first = fresh();
    (0..2).for_each(|step| drop(first.step(step).unwrap()));
    let mut second = fresh();
    copy_state(&first, &mut second);
    (2..4).for_each(|step| drop(second.step(step).unwrap()));
    assert_same_state(&whole, &second);
}

fn distill_config() -> DistillConfig {
    DistillConfig {
        steps: 4,
        batch: 4,
        critic_updates: 2,
        critic_warmup: 1,
        guard_every: 1,
        guard_clips: 4,
        ..DistillConfig::default()
    }
}

#[test]
fn distillation_restored_from_its_state_goes_on_with_the_same_bits() {
    let setup = setup();
    let mask = BlockMask::without(LAYERS, &[2]).unwrap();
    let adapted = DistillConfig { critic: Critic::Lora, critic_rank: 3, gan: 0.01, ..distill_config() };
    for config in [distill_config(), adapted] {
        let fresh = || Distill::new(setup.clone(), network(&setup), mask.clone(), config.clone()).unwrap();
        let mut whole = fresh();
        (0..3).for_each(|step| drop(whole.step(step).unwrap()));
        let mut first = fresh();
        drop(first.step(0).unwrap());
        let mut second = fresh();
        copy_state(&first, &mut second);
        (1..3).for_each(|step| drop(second.step(step).unwrap()));
        assert_same_state(&whole, &second);
        assert_eq!(whole.best().0.config().num_layers, LAYERS - 1);
    }
}

/// The student's weights after some steps.
fn distilled(config: DistillConfig, steps: u64) -> (Distill, Vec<u32>) {
    let setup = setup();
    let mask = BlockMask::without(LAYERS, &[2]).unwrap();
    let mut distill = Distill::new(setup.clone(), network(&setup), mask, config).unwrap();
    (0..steps).for_each(|step| drop(distill.step(step).unwrap()));
    let student = bits(distill.state().networks[0].weights, |_| true);
    (distill, student)
}

#[test]
fn an_adapted_critic_changes_the_matrices_of_its_blocks_only() {
    let (_, before) = network(&setup());
    let (distill, _) = distilled(DistillConfig { critic: Critic::Lora, critic_rank: 2, ..distill_config() }, 1);
    let state = distill.state();
    let critic = state.networks.iter().find(|network| network.name == "critic").unwrap().weights;
    let matrix = |name: &str| name.starts_with("blocks.") && before.get(before.id(name).unwrap()).shape().rank() == 2;
    for (_, name, _) in before.iter() {
        let same = bits(&before, |n| n == name) == bits(critic, |n| n == name);
        assert_eq!(same, !matrix(name), "{name}");
    }
}

#[test]
fn a_discriminator_moves_the_student_once_it_has_learnt() {
    // It begins at zero and judges nothing, so the first update of the student is the same with and without it.
    let config = DistillConfig { critic_warmup: 0, ..distill_config() };
    let with = DistillConfig { gan: 1.0, gan_critic: 1.0, ..config.clone() };
    assert_eq!(distilled(config.clone(), 1).1, distilled(with.clone(), 1).1);
    assert_ne!(distilled(config, 2).1, distilled(with, 2).1);
}

#[test]
fn features_are_compared_only_where_blocks_are_missing() {
    let setup = setup();
    let choice = |removed: Vec<usize>| Choice { ranked: vec![1, 2, 0, 3], removed };
    let losses = |removed: &[usize], feature: f64| {
        let config = PruneConfig { feature, ..prune_config(Target::Frozen) };
        let mut prune = Prune::new(setup.clone(), network(&setup), &choice(removed.to_vec()), config).unwrap();
        prune.step(0).unwrap()[0].1
    };
    // With all blocks both passes are one pass: every distance is zero.
    assert_eq!(losses(&[], 0.0), 0.0);
    assert_eq!(losses(&[], 10.0), 0.0);
    assert!(losses(&[1, 2], 10.0) > losses(&[1, 2], 0.0));
}

fn copy_state(from: &dyn Method, to: &mut dyn Method) {
    let from = from.state();
    let into = to.state_mut();
    let copy = |from: &ParamStore, into: &mut ParamStore| {
        for (id, _, value) in from.iter() {
            *into.get_mut(id) = value.copy().unwrap();
        }
    };
    assert_eq!(from.networks.len(), into.networks.len());
    from.networks.iter().zip(into.networks).for_each(|(from, (_, into))| copy(from.weights, into));
    from.moments.iter().zip(into.moments).for_each(|(from, (_, into))| copy(from.1, into));
    *into.record = from.record;
    to.restored().unwrap();
}

fn assert_same_state(a: &dyn Method, b: &dyn Method) {
    let (a, b) = (a.state(), b.state());
    for (a, b) in a.networks.iter().zip(&b.networks) {
        assert_eq!(bits(a.weights, |_| true), bits(b.weights, |_| true), "network {}", a.name);
    }
    for (a, b) in a.moments.iter().zip(&b.moments) {
        assert_eq!(bits(a.1, |_| true), bits(b.1, |_| true), "moments {}", a.0);
    }
    assert_eq!(a.record, b.record);
}

#[test]
fn starting_behind_a_skipped_block_is_running_without_it() {
    let setup = setup();
    let (wan, weights) = network(&setup);
    let config = AuditConfig { clips: 6, strata: 2, batch: 4, ..AuditConfig::default() };
    let draws = Draws::new(&setup, &config);
    let single = each_block(&draws, &wan, &weights, &mut |_, _| {}).unwrap();
    let masks: Vec<_> = (0..LAYERS).map(|l| BlockMask::without(LAYERS, &[l]).unwrap()).collect();
    let joint = each_mask(&draws, &wan, &weights, &masks).unwrap();
    for block in 0..LAYERS {
        for clip in 0..6 {
            for stratum in 0..2 {
                assert_eq!(single.cell(block, clip, stratum), joint.cell(block, clip, stratum));
            }
        }
    }
    assert!((0..LAYERS).all(|block| single.cell(block, 0, 0).difference > 0.0));
}

/// The velocity of a one-dimensional Gaussian world `N(mean, std^2)` at `x_t`, exactly.
fn gaussian_velocity(x: &Tensor, t: &[f32], mean: f64, std: f64) -> Tensor {
    let v = x.to_vec().into_iter().zip(t).map(|(x, &t)| {
        let (x, t) = (f64::from(x), f64::from(t));
        let variance = (1.0 - t).powi(2) * std * std + t * t;
        // x0 and noise given x_t, by regression on x_t - (1 - t) mean.
        let surprise = x - (1.0 - t) * mean;
        let clean = mean + (1.0 - t) * std * std / variance * surprise;
        (t / variance * surprise - clean) as f32
    });
    Tensor::from_vec(x.device(), v.collect(), x.shape()).unwrap()
}

/// Moves a student `a + b z` along the gradient, with exact scores of both sides; returns its mean and deviation.
fn match_gaussians(teacher: impl Fn(&Tensor, &[f32]) -> Tensor) -> (f64, f64) {
    const N: usize = 512;
    let device = Device::cpu();
    let (mut a, mut b) = (-0.5, 0.4);
    let first = vec![FirstFrame::Generated; N];
    for step in 0..500 {
        let key = Key::new(5).at(step);
        let z = key.name("z").normal(&device, [N, 1, 1, 1, 1]).unwrap();
        let values = z.to_vec().iter().map(|&z| (a + b * f64::from(z)) as f32).collect();
        let x = Tensor::from_vec(&device, values, z.shape()).unwrap();
        let noise = key.name("noise").normal(&device, z.shape()).unwrap();
        let mut stream = key.name("t").stream();
        let t: Vec<f32> = (0..N).map(|_| 0.02 + 0.96 * stream.uniform() as f32).collect();
        let noised = perturb(&x, &noise, t.clone(), &first).unwrap();
        let (real, fake) = (teacher(&noised.x, &t), gaussian_velocity(&noised.x, &t, a, b));
        let scores = Scores { x: &x, noised: &noised.x, t: &t, real: &real, fake: &fake, first: &first };
        let g = gradient(&scores, GradientScale::PerBatch, 1e-5).unwrap().g.to_vec();
        let mean = |f: &dyn Fn(usize) -> f64| (0..N).map(f).sum::<f64>() / N as f64;
        let z = z.to_vec();
        a -= 0.05 * mean(&|i| f64::from(g[i]));
        b -= 0.05 * mean(&|i| f64::from(g[i]) * f64::from(z[i]));
    }
    (a, b.abs())
}

#[test]
fn exact_scores_make_the_student_the_teacher() {
    let (mean, std) = match_gaussians(|x, t| gaussian_velocity(x, t, 2.0, 1.0));
    // Each step moves by 0.05 times the mean of 512 unit-sized terms: the noise of the end state is about 0.05.
    assert!((mean - 2.0).abs() < 0.1 && (std - 1.0).abs() < 0.1, "mean {mean}, deviation {std}");
}

#[test]
fn guidance_by_depth_overshoots_the_unpruned_network_and_costs_diversity() {
    // Unpruned N(2, 1), pruned N(1.5, 1.2^2): the mixture pushes away from the pruned one.
    let guided = |b2: f32| {
        match_gaussians(move |x, t| {
            let (unpruned, pruned) = (gaussian_velocity(x, t, 2.0, 1.0), gaussian_velocity(x, t, 1.5, 1.2));
            unpruned.combine(1.0 + b2, &pruned, -b2).unwrap()
        })
    };
    let (weak, strong) = (guided(0.25), guided(0.75));
    assert!(weak.0 > 2.0 && strong.0 > weak.0, "means {} {}", weak.0, strong.0);
    assert!(weak.1 < 1.0 && strong.1 < weak.1, "deviations {} {}", weak.1, strong.1);
}

#[test]
fn a_given_first_frame_is_not_scored() {
    let setup = setup();
    let (wan, weights) = network(&setup);
    let shape = setup.task.latent_shape(2);
    let latents = Key::new(1).normal(setup.task.device(), shape).unwrap();
    let noise = Key::new(2).normal(setup.task.device(), shape).unwrap();
    let first = [FirstFrame::Given, FirstFrame::Generated];
    let noised = perturb(&latents, &noise, vec![0.7, 0.7], &first).unwrap();
    let cx = Cx::training(&weights);
    let (x, text) = (cx.watched_input(noised.x.clone()), cx.input(setup.task.null_text(2).unwrap()));
    let inputs = flg_model::Inputs { latents: &x, time: &noised.time, text: &text, image: None };
    let v = wan.forward(&cx, &inputs, &BlockMask::all(LAYERS)).unwrap();
    let wrong_there = noised.velocity.scale_rows(&[5.0, 1.0], None).unwrap();
    let loss = |target: &Tensor| cx.squared_error(&v, target, Some(&noised.weights), 1.0).unwrap().value().to_vec();
    let plane = shape[3] * shape[4];
    let mut changed = noised.velocity.copy().unwrap();
    changed.as_f32_mut().unwrap()[..plane].fill(100.0);
    assert_eq!(loss(&noised.velocity), loss(&changed), "a given frame is not scored");
    assert_ne!(loss(&noised.velocity), loss(&wrong_there));
}
