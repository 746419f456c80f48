//! A method of a few parameters, with everything that a real one has: random numbers, moments, an average, a counter.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use flg_engine::{Device, Key, ParamStore, Tensor};
use flg_model::WanConfig;

use super::*;
use crate::Error;
use crate::method::{NetworkRef, State, StateMut};
use crate::run;

struct Toy {
    config: WanConfig,
    weights: ParamStore,
    ema: ParamStore,
    velocity: ParamStore,
    record: serde_json::Value,
    /// What the method measures as its loss at a step, if not the truth.
    lie: Option<(u64, f64)>,
    /// Raised when this step is done.
    interrupt: Option<(u64, Interrupt)>,
}

impl Toy {
    fn new() -> Self {
        let device = Device::cpu();
        let mut weights = ParamStore::new(&device);
        for (name, len) in [("a.weight", 5), ("b.bias", 3)] {
            weights.insert(name, Tensor::full(&device, 1.0, [len]).unwrap()).unwrap();
        }
        let mut velocity = ParamStore::new(&device);
        for (_, name, value) in weights.iter() {
            velocity.insert(name, Tensor::zeros(&device, value.shape()).unwrap()).unwrap();
        }
        let (config, record) = (WanConfig::default(), serde_json::json!({ "sum": 0.1 }));
        Toy { config, ema: weights.deep_copy().unwrap(), weights, velocity, record, lie: None, interrupt: None }
    }
}

impl Method for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn step(&mut self, step: u64) -> Result<Metrics> {
        let ids: Vec<_> = self.weights.iter().map(|(id, _, _)| id).collect();
        let mut loss = 0.0;
        for id in ids {
            let w = self.weights.get(id);
            let noise = Key::new(5).name(self.weights.name(id)).at(step).normal(w.device(), w.shape())?;
            let gradient = w.combine(0.9, &noise, 0.1)?;
            loss += f64::from(gradient.to_vec().iter().map(|g| g * g).sum::<f32>());
            let velocity = self.velocity.get(id).combine(0.7, &gradient, 1.0)?;
            *self.weights.get_mut(id) = w.combine(1.0, &velocity, -0.05)?;
            *self.velocity.get_mut(id) = velocity;
            let (w, average) = (self.weights.get(id).clone(), self.ema.get_mut(id));
            average.average_with(&w, 0.8)?;
        }
        // A sum of roundings: one lost bit of the record would show in every later loss.
        let sum = self.record["sum"].as_f64().unwrap() * 1.1 + loss;
        self.record["sum"] = sum.into();
        match &self.interrupt {
            Some((at, interrupt)) if *at == step => assert_eq!(interrupt.raise(), run::Request::First),
            _ => {}
        }
        let loss = self.lie.filter(|(at, _)| *at == step).map_or(loss, |(_, lie)| lie);
        Ok(vec![("loss", loss), ("sum", sum)])
    }

    fn state(&self) -> State<'_> {
        let network = |name, weights| NetworkRef { name, config: &self.config, weights, few_step: None };
        State {
            networks: vec![network("transformer", &self.weights), network("ema", &self.ema)],
            moments: vec![("velocity", &self.velocity)],
            record: self.record.clone(),
        }
    }

    fn state_mut(&mut self) -> StateMut<'_> {
        StateMut {
            networks: vec![("transformer", &mut self.weights), ("ema", &mut self.ema)],
            moments: vec![("velocity", &mut self.velocity)],
            record: &mut self.record,
        }
    }
}

const PLAN: Plan = Plan { steps: 10, save_every: 3, keep: 2, guard: Rule { window: 4, factor: 50.0 } };

/// Runs in `root` from its latest checkpoint, as a fresh process would.
fn go(root: &Path, method: &mut Toy, interrupt: &Interrupt) -> Result<Outcome> {
    let folder = RunFolder::open(root)?;
    let latest = folder.checkpoints().latest()?;
    let start = latest.as_deref().map_or(Start::Fresh, Start::Checkpoint);
    Trainer { folder: &folder, plan: PLAN, interrupt }.run(method, start, &mut |_| {})
}

/// Every file of a run but the log, by path.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name != "log.jsonl" {
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

fn finished() -> (tempfile::TempDir, BTreeMap<String, Vec<u8>>) {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(go(place.path(), &mut Toy::new(), &Interrupt::new()).unwrap(), Outcome::Finished);
    let files = files(place.path());
    (place, files)
}

#[test]
fn a_run_keeps_the_newest_checkpoints_and_all_metrics() {
    let (_place, files) = finished();
    let names: Vec<_> = files.keys().filter(|name| name.ends_with("MANIFEST.json")).collect();
    assert_eq!(names, ["checkpoints/step-00000009/MANIFEST.json", "checkpoints/step-00000010/MANIFEST.json"]);
    assert_eq!(files["checkpoints/latest"], b"step-00000010\n");
    assert_eq!(files["metrics.jsonl"].iter().filter(|&&b| b == b'\n').count(), 10);
}

#[test]
fn a_run_that_stopped_anywhere_ends_with_the_same_bytes() {
    let (_place, whole) = finished();
    for stop in [0, 2, 3, 8] {
        let place = tempfile::tempdir().unwrap();
        // A loss that is no number ends the run at once, without a word to the checkpoints: as a killed process does.
        let mut method = Toy { lie: Some((stop, f64::NAN)), ..Toy::new() };
        let error = go(place.path(), &mut method, &Interrupt::new()).unwrap_err();
        assert!(matches!(error, Error::Run(run::Error::NotFinite { .. })), "{error}");
        // What a process killed while saving leaves behind.
        fs::create_dir_all(place.path().join("checkpoints/.tmp-step-00000099/ema")).unwrap();
        assert_eq!(go(place.path(), &mut Toy::new(), &Interrupt::new()).unwrap(), Outcome::Finished);
        assert!(files(place.path()) == whole, "stopped at {stop}");
        // Done is done: nothing changes.
        assert_eq!(go(place.path(), &mut Toy::new(), &Interrupt::new()).unwrap(), Outcome::Finished);
        assert!(files(place.path()) == whole, "continued after the end");
    }
}

#[test]
fn an_interrupted_run_saves_where_it_is() {
    let (_place, whole) = finished();
    let place = tempfile::tempdir().unwrap();
    let interrupt = Interrupt::new();
    let mut method = Toy { interrupt: Some((4, interrupt.clone())), ..Toy::new() };
    let outcome = go(place.path(), &mut method, &interrupt).unwrap();
    assert_eq!(outcome, Outcome::Interrupted { step: 5 });
    assert_eq!(fs::read_to_string(place.path().join("checkpoints/latest")).unwrap(), "step-00000005\n");
    go(place.path(), &mut Toy::new(), &Interrupt::new()).unwrap();
    let files = files(place.path());
    assert!(files == whole);
}

#[test]
fn going_back_to_an_older_checkpoint_repeats_the_rest() {
    let (place, whole) = finished();
    let folder = RunFolder::open(place.path()).unwrap();
    let (interrupt, older) = (Interrupt::new(), folder.checkpoints().path(9));
    let trainer = Trainer { folder: &folder, plan: PLAN, interrupt: &interrupt };
    trainer.run(&mut Toy::new(), Start::Checkpoint(&older), &mut |_| {}).unwrap();
    assert!(files(place.path()) == whole);

    // In another folder only the steps after it are logged.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = RunFolder::open(elsewhere.path()).unwrap();
    let trainer = Trainer { folder: &other, plan: PLAN, interrupt: &interrupt };
    trainer.run(&mut Toy::new(), Start::Checkpoint(&older), &mut |_| {}).unwrap();
    let (all, last) = (&whole["metrics.jsonl"], fs::read(other.metrics()).unwrap());
    assert!(all.ends_with(&last) && last.iter().filter(|&&b| b == b'\n').count() == 1);
}

#[test]
fn explosions_and_bad_weights_never_reach_a_checkpoint() {
    let place = tempfile::tempdir().unwrap();
    let mut method = Toy { lie: Some((7, 1e9)), ..Toy::new() };
    let error = go(place.path(), &mut method, &Interrupt::new()).unwrap_err();
    assert!(matches!(error, Error::Run(run::Error::Exploded { step: 7, .. })), "{error}");

    let id = method.weights.id("b.bias").unwrap();
    method.weights.get_mut(id).as_f32_mut().unwrap()[1] = f32::INFINITY;
    let checkpoints = RunFolder::open(place.path()).unwrap().checkpoints();
    let before = files(place.path());
    let error = checkpoints.save(&method, Position { step: 8, metrics_bytes: 0 }).unwrap_err();
    assert_eq!(error.to_string(), "stopped at step 8: transformer has values in b.bias that are not finite");
    assert!(files(place.path()) == before);
    assert_eq!(checkpoints.latest().unwrap(), Some(checkpoints.path(6)));
}

#[test]
fn a_damaged_checkpoint_is_refused_by_name() {
    let (place, _) = finished();
    let step = place.path().join("checkpoints/step-00000010");
    let expect = |what: &str| {
        let error = go(place.path(), &mut Toy::new(), &Interrupt::new()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    let weights = step.join("ema/diffusion_pytorch_model.safetensors");
    let good = fs::read(&weights).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&weights, bad).unwrap();
    expect("ema/diffusion_pytorch_model.safetensors: its contents changed");
    fs::write(&weights, &good[..good.len() - 1]).unwrap();
    expect("the manifest says");
    fs::remove_file(&weights).unwrap();
    expect("listed in the manifest, but not there");
    fs::remove_file(step.join("MANIFEST.json")).unwrap();
    expect("`step-00000010\\n`, which is no checkpoint");
    fs::write(place.path().join("checkpoints/latest"), "../../etc\n").unwrap();
    expect("which is no checkpoint");
}

#[test]
fn a_checkpoint_of_other_networks_is_refused() {
    let (place, _) = finished();
    let mut other = Toy::new();
    let tensor = Tensor::zeros(&Device::cpu(), [1]).unwrap();
    other.weights.insert("c.weight", tensor.clone()).unwrap();
    let error = go(place.path(), &mut other, &Interrupt::new()).unwrap_err().to_string();
    assert!(error.contains("no tensor c.weight"), "{error}");

    let mut other = Toy::new();
    let id = other.velocity.id("b.bias").unwrap();
    *other.velocity.get_mut(id) = tensor;
    let error = go(place.path(), &mut other, &Interrupt::new()).unwrap_err().to_string();
    assert!(error.contains("velocity:b.bias is f32 [3], expected f32 [1]"), "{error}");
}
