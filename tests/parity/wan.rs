//! A `WanTransformer3DModel` with its inputs, outputs, activations and gradients.

use std::collections::BTreeMap;
use std::path::Path;

use flg_engine::{Cx, Device, Grads, ParamStore, Precision, Tensor, Var};
use flg_model::checkpoint::load_network;
use flg_model::wan::reads_low_precision;
use flg_model::{BlockMask, Inputs, Time, Wan};

use super::report::Report;
use super::tensors::{Array, Tensors};

const FORWARD: f64 = 5e-5;
const INJECTED: f64 = 5e-6;
const ROPE: f64 = 2e-6;
const GRADIENT: f64 = 1e-4;
/// bf16 against bf16 of another implementation: largest and root mean square.
const LOW_PRECISION: (f64, f64) = (0.08, 0.015);

struct Fixture {
    wan: Wan,
    weights: ParamStore,
    device: Device,
    mask: BlockMask,
    inputs: Tensors,
    time: Time,
    tokens: usize,
}

/// The inputs that gradients flow to.
const NAMES: [&str; 3] = ["hidden_states", "encoder_hidden_states", "encoder_hidden_states_image"];

/// Activations by name.
type Seen = BTreeMap<String, Tensor>;

pub fn check(folder: &Path, device: &Device, report: &mut Report) {
    report.device(device);
    let mut fixture = Fixture::load(folder, device);
    let outputs = Tensors::read(&folder.join("outputs.safetensors"));
    let activations = Tensors::read(&folder.join("activations.safetensors"));
    let sample = &outputs["sample"].values;

    let mut seen = Seen::new();
    let full = fixture.forward(Precision::F32, &mut seen);
    report.close("forward", &full, sample, FORWARD);
    fixture.activations(&seen, &activations, report);
    fixture.injected(&activations, sample, report);
    if folder.join("grads.safetensors").exists() {
        fixture.gradients(&Tensors::read(&folder.join("grads.safetensors")), report);
    }
    if let Some(expected) = outputs.get("sample_bf16") {
        fixture.weights.refresh_shadows(reads_low_precision).unwrap();
        let low = fixture.forward(Precision::Bf16, &mut Seen::new());
        report.close("bf16", &low, &expected.values, LOW_PRECISION.0);
        let squares = low.iter().zip(&expected.values).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        let rms = (squares / low.len() as f64).sqrt();
        report.check("bf16 rms", &format!("{rms:.2e}, limit {:.0e}", LOW_PRECISION.1), rms <= LOW_PRECISION.1);
        report.check("bf16 rounds", "differs from f32", low != full);
    }
}

impl Fixture {
    fn load(folder: &Path, device: &Device) -> Self {
        let (wan, weights) = load_network(folder, device).unwrap();
        let inputs = Tensors::read(&folder.join("inputs.safetensors"));
        let (latents, times) = (&inputs["hidden_states"], &inputs["timestep"]);
        let shape = flg_engine::Shape::new(&latents.shape).unwrap();
        let tokens = wan.config().token_grid(shape).unwrap().iter().product();
        let time = match times.shape[..] {
            [_] => Time::per_sample(&times.values),
            [batch, tokens] => Time::per_token(&times.values, batch, tokens).unwrap(),
            _ => panic!("times of shape {:?}", times.shape),
        };
        let mask = BlockMask::all(wan.config().num_layers);
        Fixture { wan, weights, device: device.clone(), mask, inputs, time, tokens }
    }

    fn input(&self, name: &str) -> Tensor {
        self.inputs[name].tensor(&self.device)
    }

    /// Latents, text and, of some networks, an image embedding.
    fn inputs(&self, var: impl Fn(Tensor) -> Var) -> Vec<Var> {
        NAMES.iter().filter(|name| self.inputs.get(name).is_some()).map(|name| var(self.input(name))).collect()
    }

    fn named<'a>(&'a self, given: &'a [Var]) -> Inputs<'a> {
        Inputs { latents: &given[0], time: &self.time, text: &given[1], image: given.get(2) }
    }

    fn forward(&self, precision: Precision, seen: &mut Seen) -> Vec<f32> {
        let cx = Cx::inference(&self.weights).with_precision(precision);
        let given = self.inputs(|x| cx.input(x));
        let inputs = self.named(&given);
        let mut see = |name: &str, x: &Tensor| {
            seen.insert(name.to_owned(), x.clone());
        };
        self.wan.forward_probed(&cx, &inputs, &self.mask, &mut see).unwrap().value().to_vec()
    }

    /// The forward pass with the captured sinusoid, where it was captured for every sample.
    fn injected(&self, activations: &Tensors, sample: &[f32], report: &mut Report) {
        let sinusoid = &activations["condition_embedder.timesteps_proj"];
        let samples = self.inputs["hidden_states"].shape[0];
        if self.time.groups_per_sample() != 1 || sinusoid.shape[0] != samples {
            return;
        }
        let cx = Cx::inference(&self.weights);
        let given = self.inputs(|x| cx.input(x));
        let inputs = self.named(&given);
        let mut embedded = self.wan.embed(&cx, &inputs).unwrap();
        embedded.condition = self.wan.condition(&cx, sinusoid.tensor(&self.device)).unwrap();
        let layers = self.wan.config().num_layers;
        let x = self.wan.blocks(&cx, &embedded, embedded.tokens.clone(), 0..layers, &self.mask).unwrap();
        let y = self.wan.head(&cx, &embedded, &x).unwrap();
        report.close("forward, sinusoid injected", &y.value().to_vec(), sample, INJECTED);
    }

    fn activations(&self, seen: &Seen, captured: &Tensors, report: &mut Report) {
        let batch = self.inputs["hidden_states"].shape[0];
        for (name, want) in captured.iter() {
            let (got, want, limit) = match name {
                "rope.0" | "rope.1" => (self.rope(name), want.values.clone(), ROPE),
                "condition_embedder.timesteps_proj" => (self.sinusoid(want), want.values.clone(), FORWARD),
                "condition_embedder.0" | "condition_embedder.1" => {
                    let rows = if want.shape.len() == 2 { 1 } else { self.tokens };
                    let got = first_rows(&self.spread(&seen[name], rows), batch, want);
                    (got, want.values.clone(), FORWARD)
                }
                "condition_embedder.2" | "condition_embedder.3" => {
                    (first_rows(&seen[name].to_vec(), batch, want), want.values.clone(), FORWARD)
                }
                "patch_embedding" => {
                    let convolved = seen[name].transpose(1, 2).unwrap().to_vec();
                    (convolved, want.values.clone(), FORWARD)
                }
                _ => match seen.get(name) {
                    Some(got) => (got.to_vec(), want.values.clone(), FORWARD),
                    None => (seen[&format!("{name}.modulated")].to_vec(), self.modulated(name, want, seen), FORWARD),
                },
            };
            let size = want.iter().fold(1.0, |max: f64, x| max.max(f64::from(x.abs())));
            report.close(name, &got, &want, limit * size);
        }
    }

    /// diffusers shows norms in front of their modulation, we behind it: modulates the captured one.
    fn modulated(&self, name: &str, captured: &Array, seen: &Seen) -> Vec<f32> {
        let (table, projection, slot) = match name.strip_suffix(".norm1").or(name.strip_suffix(".norm3")) {
            Some(block) => {
                let slot = if name.ends_with("norm1") { 0 } else { 3 };
                (format!("{block}.scale_shift_table"), "condition_embedder.1", slot)
            }
            None => ("scale_shift_table".to_owned(), "condition_embedder.0", 0),
        };
        let table = self.weights.get(self.weights.id(&table).unwrap()).to_vec();
        let d = *captured.shape.last().unwrap();
        let projection = self.spread(&seen[projection], self.tokens);
        // The head adds the same embedding to shift and scale, a block has a projection for each slot.
        let width = projection.len() / (captured.values.len() / d);
        let modulation = |row: usize, slot: usize, j: usize| {
            let added = projection[row * width + if width == d { j } else { slot * d + j }];
            f64::from(table[slot * d + j]) + f64::from(added)
        };
        let at = |(i, x): (usize, &f32)| {
            let (row, j) = (i / d, i % d);
            (f64::from(*x) * (1.0 + modulation(row, slot + 1, j)) + modulation(row, slot, j)) as f32
        };
        captured.values.iter().enumerate().map(at).collect()
    }

    /// Rows of groups, each repeated so that there are `rows` a sample.
    fn spread(&self, groups: &Tensor, rows: usize) -> Vec<f32> {
        let width = groups.shape().width();
        let repeats = (rows / self.time.groups_per_sample()).max(1);
        let values = groups.to_vec();
        values.chunks(width).flat_map(|row| std::iter::repeat_n(row, repeats)).flatten().copied().collect()
    }

    fn sinusoid(&self, captured: &Array) -> Vec<f32> {
        let [rows, width] = captured.shape[..] else { panic!("a sinusoid of shape {:?}", captured.shape) };
        let times = Time::per_sample(&self.inputs["timestep"].values[..rows]);
        times.sinusoid(&self.device, width).unwrap().to_vec()
    }

    /// Our tables hold a number a pair, diffusers' one a channel.
    fn rope(&self, name: &str) -> Vec<f32> {
        let cx = Cx::inference(&self.weights);
        let given = self.inputs(|x| cx.input(x));
        let inputs = self.named(&given);
        let embedded = self.wan.embed(&cx, &inputs).unwrap();
        let table = if name == "rope.0" { &embedded.rope().cos } else { &embedded.rope().sin };
        table.to_vec().into_iter().flat_map(|x| [x, x]).collect()
    }

    fn gradients(&self, expected: &Tensors, report: &mut Report) {
        let cx = Cx::training(&self.weights);
        let inputs = self.inputs(|x| cx.watched_input(x));
        let y = self.wan.forward(&cx, &self.named(&inputs), &self.mask).unwrap();
        let mut grads = Grads::new(&self.weights);
        let input_grads = cx.vjp(&y, self.input("grad_output"), &mut grads).unwrap();
        let size = |values: &[f32]| values.iter().fold(0.0, |max: f64, x| max.max(f64::from(x.abs())));
        let overall = expected.iter().fold(0.0, |max: f64, (_, want)| max.max(size(&want.values)));
        let mut found = 0;
        for (name, want) in expected.iter() {
            let got = if let Some(name) = name.strip_prefix("param.") {
                grads.get(self.weights.id(name).unwrap())
            } else {
                let at = NAMES.iter().position(|input| Some(*input) == name.strip_prefix("input."));
                at.and_then(|at| input_grads.get(&inputs[at]))
            };
            let got = got.map_or_else(Vec::new, Tensor::to_vec);
            found += usize::from(!got.is_empty());
            report.close(&format!("d {name}"), &got, &want.values, GRADIENT * size(&want.values).max(1e-3 * overall));
        }
        let all = self.weights.len() + inputs.len();
        // Of a network for two images, the fixture has what only such a one has.
        let complete =
            found == all || (self.wan.config().pos_embed_seq_len.is_some() && found == expected.names().count());
        report.check("gradients", &format!("{found} of {all} tensors"), complete);
    }
}

/// The first rows of every sample: as many as were captured.
fn first_rows(values: &[f32], batch: usize, captured: &Array) -> Vec<f32> {
    let kept = captured.values.len() / batch;
    values.chunks(values.len() / batch).flat_map(|sample| &sample[..kept]).copied().collect()
}
