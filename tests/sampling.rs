//! Schedules and samplers, against fields whose solution is known.

use std::ops::ControlFlow;

use flg_engine::{Device, Key, ParamStore, Precision, Tensor};
use flg_model::sampler::{
    Denoiser, FirstFrame, Guided, Level, Network, Ode, Progress, Solver, WanDenoiser, Watch, noise, sample_few_step,
    sample_ode,
};
use flg_model::schedule::few_step::Asked;
use flg_model::schedule::flow;
use flg_model::{BlockMask, Error, FewStep, Guidance, Result, Rule, Wan, WanConfig};
use proptest::prelude::*;

/// Data normal with this mean and deviation in every element.
struct Gaussian {
    mean: f64,
    deviation: f64,
}

impl Gaussian {
    /// Factor between `x_t - (1 - t) mean` and the mean of the data given `x_t`, minus the mean.
    fn gain(&self, t: f64) -> f64 {
        let variance = self.deviation.powi(2);
        (1.0 - t) * variance / ((1.0 - t).powi(2) * variance + t * t)
    }
}

impl Denoiser for Gaussian {
    fn velocity(&mut self, x: &Tensor, level: Level) -> Result<Tensor> {
        let t = f64::from(level.sigma);
        let at = |&x: &f32| {
            let data = self.mean + self.gain(t) * (f64::from(x) - (1.0 - t) * self.mean);
            ((f64::from(x) - data) / t) as f32
        };
        Ok(Tensor::from_vec(x.device(), x.to_vec().iter().map(at).collect(), x.shape())?)
    }
}

fn unwatched(_: Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn solvers_converge_at_their_order_on_a_gaussian() {
    let device = Device::cpu();
    let start = noise(&device, &[Key::new(1)], [1, 1, 8, 8]).unwrap();
    let mut field = Gaussian { mean: 0.7, deviation: 0.4 };
    let mut error = |solver, steps| {
        let ode = Ode { solver, steps, shift: 3.0 };
        let mut watch = Watch { first_frame: None, on_step: &mut unwatched };
        let end = sample_ode(&mut field, &ode, &start, &mut watch).unwrap().to_vec();
        // The flow keeps every element at its quantile.
        let exact = start.to_vec().into_iter().map(|z| 0.7 + 0.4 * f64::from(z));
        end.iter().zip(exact).fold(0.0, |max: f64, (x, exact)| max.max((f64::from(*x) - exact).abs()))
    };
    for steps in [20, 40, 80] {
        let ratio = error(Solver::Euler, steps) / error(Solver::Euler, 2 * steps);
        assert!((1.8..2.2).contains(&ratio), "Euler, {steps} steps: error falls by {ratio}");
    }
    let (euler, unipc) = (error(Solver::Euler, 20), error(Solver::UniPc { order: 2 }, 20));
    // Its last jump, to level 0, is of first order.
    assert!(unipc < 0.5 * euler, "UniPC {unipc}, Euler {euler}");
}

/// Re-noising with the mean of the posterior shrinks: only a distilled network, which predicts samples, may be re-noised.
/// With `d = D - mean`, `var d' = gain(t)^2 ((1 - t)^2 var d + t^2)`.
#[test]
fn renoising_a_posterior_mean_has_its_closed_form_variance() {
    let device = Device::cpu();
    let keys = [Key::new(2)];
    let start = noise(&device, &keys, [1, 1, 256, 256]).unwrap();
    let mut field = Gaussian { mean: -0.3, deviation: 0.8 };
    let schedule = FewStep::new(4, 5.0, Rule::Renoise).unwrap();
    let expected = schedule.sigmas.iter().fold(0.0, |variance, &t| {
        let t = f64::from(t);
        field.gain(t).powi(2) * ((1.0 - t).powi(2) * variance + t * t)
    });
    let mut watch = Watch { first_frame: None, on_step: &mut unwatched };
    let end = sample_few_step(&mut field, &schedule, &start, &keys, &mut watch).unwrap().to_vec();
    let n = end.len() as f64;
    let mean = end.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = end.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    // Standard errors of the two estimates.
    let (of_mean, of_variance) = ((expected / n).sqrt(), expected * (2.0 / n).sqrt());
    assert!((mean + 0.3).abs() < 4.0 * of_mean, "mean {mean}");
    assert!((variance - expected).abs() < 4.0 * of_variance, "variance {variance}, expected {expected}");
    assert!(expected < 0.8 * 0.8 * 0.9, "the closed form must tell shrinking from not shrinking");
}

#[test]
fn the_anchors_are_those_of_the_four_step_networks() {
    let table: [(f32, [f32; 4]); 4] = [
        (3.0, [1.0, 0.9, 0.75, 0.5]),
        (5.0, [1.0, 0.9375, 0.8333, 0.625]),
        (8.0, [1.0, 0.96, 0.8889, 0.7273]),
        (16.0, [1.0, 0.9796, 0.9412, 0.8421]),
    ];
    for (shift, anchors) in table {
        let schedule = FewStep::new(4, shift, Rule::Renoise).unwrap();
        for (sigma, anchor) in schedule.sigmas.iter().zip(anchors) {
            assert!((sigma - anchor).abs() <= 5e-5, "shift {shift}: {sigma}, expected {anchor}");
        }
        assert_eq!((schedule.next_sigma(0), schedule.next_sigma(3)), (schedule.sigmas[1], 0.0));
    }
}

proptest! {
    #[test]
    fn the_shift_has_its_inverse_its_slope_and_its_logit_identity(u in 0.001f64..0.999, s in 0.1f64..20.0) {
        let t = flow::shift(u, s);
        let logit = |p: f64| (p / (1.0 - p)).ln();
        prop_assert!((flow::unshift(t, s) - u).abs() < 1e-12);
        prop_assert!((logit(t) - logit(u) - s.ln()).abs() < 1e-9);
        let h = 1e-6;
        let difference = (flow::shift(u + h, s) - flow::shift(u - h, s)) / (2.0 * h);
        prop_assert!((flow::shift_slope(u, s) - difference).abs() < 1e-6 * difference.max(1.0));
    }

    #[test]
    fn velocity_data_and_noise_follow_from_each_other(t in 0.05f32..1.0, seed in 0u64..1000) {
        let device = Device::cpu();
        let draw = |name| Key::new(seed).name(name).normal(&device, [2, 3]).unwrap();
        let (x0, eps) = (draw("x0"), draw("eps"));
        let t = [t, t * 0.5];
        let x = flow::noised(&x0, &eps, &t).unwrap();
        let v = eps.sub(&x0).unwrap();
        let same = |a: &Tensor, b: &Tensor| a.to_vec().iter().zip(b.to_vec()).all(|(a, b)| (a - b).abs() < 1e-5);
        prop_assert!(same(&flow::clean_estimate(&x, &v, &t).unwrap(), &x0));
        prop_assert!(same(&flow::noise_estimate(&x, &v, &t).unwrap(), &eps));
        let back = flow::velocity_towards(&x, &x0, &t).unwrap();
        // The division by t amplifies the rounding of x.
        prop_assert!(back.to_vec().iter().zip(v.to_vec()).all(|(a, b)| (a - b).abs() < 1e-4));
    }
}

#[test]
fn a_few_step_schedule_is_checked_against_what_is_asked_for() {
    let schedule = FewStep::new(4, 5.0, Rule::Renoise).unwrap();
    schedule.expect(&Asked::default()).unwrap();
    schedule.expect(&Asked { steps: Some(4), shift: Some(5.0), rule: Some(Rule::Renoise) }).unwrap();
    let refused = |asked: Asked| schedule.expect(&asked).unwrap_err().to_string();
    assert_eq!(
        refused(Asked { steps: Some(8), ..Asked::default() }),
        "the network was distilled for 4 steps, shift 5, re-noise, levels 1 0.9375 0.8333 0.625; asked for 8 steps"
    );
    assert!(refused(Asked { shift: Some(3.0), ..Asked::default() }).contains("shift 3"));
    assert!(refused(Asked { rule: Some(Rule::Ode), ..Asked::default() }).contains("ODE"));
    let bad = |sigmas: &[f32]| FewStep { sigmas: sigmas.to_vec(), ..schedule.clone() }.validate().is_err();
    assert!(bad(&[]) && bad(&[1.0, 0.0]) && bad(&[1.1]) && bad(&[0.5, 0.5]) && bad(&[f32::NAN]));
    assert!(FewStep::new(0, 5.0, Rule::Ode).is_err() && FewStep::new(4, -1.0, Rule::Ode).is_err());
}

fn network() -> (Wan, ParamStore, BlockMask) {
    let config = WanConfig {
        num_attention_heads: 2,
        attention_head_dim: 8,
        in_channels: 2,
        out_channels: 2,
        text_dim: 4,
        freq_dim: 8,
        ffn_dim: 16,
        num_layers: 2,
        ..WanConfig::default()
    };
    let mut weights = ParamStore::new(&Device::cpu());
    let wan = Wan::init(config, &mut weights, Key::new(1)).unwrap();
    // A fresh head predicts zero.
    let head = weights.id("proj_out.weight").unwrap();
    *weights.get_mut(head) = Key::new(2).normal(&Device::cpu(), [8, 16]).unwrap().scale(0.2).unwrap();
    (wan, weights, BlockMask::all(2))
}

struct Setup {
    wan: Wan,
    weights: ParamStore,
    mask: BlockMask,
    text: Tensor,
    null: Tensor,
    keys: Vec<Key>,
}

const VIDEO: [usize; 4] = [2, 3, 4, 4];

impl Setup {
    fn new() -> Self {
        let (wan, weights, mask) = network();
        let draw = |name: &str, b| Key::new(3).name(name).normal(&Device::cpu(), [b, 3, 4]).unwrap();
        let keys = (0..2).map(|i| Key::new(4).at(i)).collect();
        Setup { wan, weights, mask, text: draw("text", 2), null: draw("null", 1), keys }
    }

    fn denoiser(&self, text: &Tensor, guidance: Guidance, first: FirstFrame) -> WanDenoiser<'_> {
        let Setup { wan, weights, mask, .. } = self;
        let network = Network { wan, weights, mask, precision: Precision::F32 };
        let guided = Guided { strength: guidance, null_text: &self.null };
        WanDenoiser::new(network, text, Some(guided), first, VIDEO).unwrap()
    }
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5)
}

#[test]
fn clips_of_a_large_batch_are_computed_in_parts_with_the_same_bits_on_any_number_of_threads() {
    const CLIPS: u64 = 60; // Of 12 tokens: two parts.
    let setup = Setup::new();
    let keys: Vec<Key> = (0..CLIPS).map(|i| Key::new(7).at(i)).collect();
    let x = noise(&Device::cpu(), &keys, VIDEO).unwrap();
    let texts = Key::new(8).normal(&Device::cpu(), [CLIPS as usize, 3, 4]).unwrap();
    let level = Level { sigma: 0.6, time: 600.0 };
    let guidance = Guidance::ho_salimans(3.0);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| setup.denoiser(&texts, guidance, FirstFrame::Made).velocity(&x, level).unwrap())
    };
    let whole = on(1);
    for threads in [2, 3] {
        assert_eq!(on(threads).to_vec(), whole.to_vec());
    }
    for clip in [0, 41, 42, 59] {
        let text = texts.narrow(0, clip, 1).unwrap().contiguous().unwrap();
        let x = x.narrow(0, clip, 1).unwrap().contiguous().unwrap();
        let alone = setup.denoiser(&text, guidance, FirstFrame::Made).velocity(&x, level).unwrap();
        assert!(close(&alone.to_vec(), &whole.narrow(0, clip, 1).unwrap().to_vec()), "clip {clip}");
    }
}

#[test]
fn guidance_in_one_batch_is_guidance_in_two_calls() {
    let setup = Setup::new();
    let x = noise(&Device::cpu(), &setup.keys, VIDEO).unwrap();
    let level = Level { sigma: 0.6, time: 600.0 };
    let call = |text: &Tensor, guidance| setup.denoiser(text, guidance, FirstFrame::Made).velocity(&x, level).unwrap();
    let nulls = flg_engine::concat(&[&setup.null, &setup.null]).unwrap();
    let (c, u) = (call(&setup.text, Guidance::none()), call(&nulls, Guidance::none()));
    let expected = u.combine(1.0, &c.sub(&u).unwrap(), 5.0).unwrap();
    let guided = call(&setup.text, Guidance::ho_salimans(5.0));
    assert!(close(&guided.to_vec(), &expected.to_vec()));
    assert!(!close(&guided.to_vec(), &c.to_vec()), "guidance must change the velocity");
}

#[test]
fn a_given_first_frame_stays_clean_and_matters() {
    let setup = Setup::new();
    let device = Device::cpu();
    let first = Key::new(9).normal(&device, [2, 2, 1, 4, 4]).unwrap();
    let start = noise(&device, &setup.keys, VIDEO).unwrap();
    let schedule = FewStep::new(4, 5.0, Rule::Renoise).unwrap();
    let mut ends = Vec::new();
    for given in [Some(&first), None] {
        let kind = if given.is_some() { FirstFrame::Given } else { FirstFrame::Made };
        let mut denoiser = setup.denoiser(&setup.text, Guidance::ho_salimans(3.0), kind);
        let mut steps = Vec::new();
        let mut on_step = |progress: Progress<'_>| {
            if let Some(first) = given {
                let frame = progress.latents.narrow(2, 0, 1).unwrap();
                assert_eq!(frame.to_vec(), first.to_vec(), "after step {}", progress.done);
            }
            steps.push((progress.done, progress.steps));
            ControlFlow::Continue(())
        };
        let mut watch = Watch { first_frame: given, on_step: &mut on_step };
        for solver in [Solver::Euler, Solver::DiffusersEuler, Solver::UniPc { order: 2 }] {
            let ode = Ode { solver, steps: 3, shift: 5.0 };
            sample_ode(&mut denoiser, &ode, &start, &mut watch).unwrap();
        }
        let end = sample_few_step(&mut denoiser, &schedule, &start, &setup.keys, &mut watch).unwrap();
        ends.push(end.narrow(2, 1, 2).unwrap().to_vec());
        assert_eq!(steps.len(), 3 * 3 + 4);
        assert_eq!((steps[0], steps[12]), ((1, 3), (4, 4)));
    }
    assert_ne!(ends[0], ends[1], "the other frames must see the first");
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    let setup = Setup::new();
    let device = Device::cpu();
    let schedule = FewStep::new(3, 5.0, Rule::Renoise).unwrap();
    let run = |text: &Tensor, keys: &[Key]| {
        let start = noise(&device, keys, VIDEO).unwrap();
        let mut denoiser = setup.denoiser(text, Guidance::none(), FirstFrame::Made);
        let mut watch = Watch { first_frame: None, on_step: &mut unwatched };
        sample_few_step(&mut denoiser, &schedule, &start, keys, &mut watch).unwrap().to_vec()
    };
    let both = run(&setup.text, &setup.keys);
    let second = run(&setup.text.narrow(0, 1, 1).unwrap(), &setup.keys[1..]);
    assert!(close(&both[both.len() / 2..], &second));
    assert!(!close(&both[..both.len() / 2], &second), "samples must differ");
}

#[test]
fn a_watcher_may_stop_a_run() {
    let setup = Setup::new();
    let start = noise(&Device::cpu(), &setup.keys, VIDEO).unwrap();
    let mut denoiser = setup.denoiser(&setup.text, Guidance::none(), FirstFrame::Made);
    let mut on_step = |p: Progress<'_>| if p.done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let mut watch = Watch { first_frame: None, on_step: &mut on_step };
    let ode = Ode { solver: Solver::Euler, steps: 5, shift: 5.0 };
    let stopped = sample_ode(&mut denoiser, &ode, &start, &mut watch);
    assert!(matches!(stopped, Err(Error::Stopped { done: 2, steps: 5 })));
}
