//! A small convolutional network that recognises what clips show: the measure of captions, and the space of distances.
//!
//! Built from the engine's own operations: a convolution is a gather of neighbourhoods and a linear layer, on rows of
//! positions with the channels last. Distances hold for one set of weights only, so weights have a hash.

use std::collections::BTreeMap;
use std::path::Path;

use flg_engine::safetensors::{self, SafeTensors};
use flg_engine::{Cx, Device, Key, ParamId, ParamStore, Tensor, Var};
use flg_kernels::gemm::Activation;
use sha2::{Digest, Sha256};

use super::architecture::{Architecture, FEATURES, Layer, Unit};
use super::{Error, bundled};
use crate::Result;
use crate::data::World;

/// Units computed at once.
const BATCH: usize = 128;

/// The network and its weights.
#[derive(Clone, Debug)]
pub struct EvalNetwork {
    world: String,
    architecture: Architecture,
    weights: ParamStore,
    convolutions: Vec<Convolution>,
    features: Linear,
    heads: Vec<Linear>,
}

#[derive(Clone, Debug)]
struct Convolution {
    layer: Layer,
    /// Rows to gather.
    neighbours: Tensor,
    linear: Linear,
}

#[derive(Clone, Copy, Debug)]
struct Linear {
    weight: ParamId,
    bias: ParamId,
}

/// What the network makes of units.
#[derive(Debug)]
pub(super) struct Output {
    /// `[units, FEATURES]`
    pub(super) features: Var,
    /// `[units, classes]`, one a head.
    pub(super) logits: Vec<Var>,
}

/// What the network saw in units.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Features of each unit.
    pub features: Vec<Vec<f64>>,
    /// Log-probabilities by head, unit and class.
    pub log_probabilities: Vec<Vec<Vec<f64>>>,
}

impl EvalNetwork {
    /// A fresh network for a world.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn init(world: &dyn World, device: &Device, key: Key) -> Result<Self> {
        Self::with_weights(world, device, |name, [out, width]| {
            // He et al. 2015: keeps the variance through rectifier-like activations.
            let deviation = (2.0 / width as f64).sqrt() as f32;
            Ok(key.name(name).normal(device, [out, width])?.scale(deviation)?)
        })
    }

    /// The network that comes with the program for a built-in world.
    ///
    /// # Errors
    /// [`Error::NoNetwork`], which says how to train one.
    pub fn bundled(world: &dyn World, device: &Device) -> Result<Self> {
        let Some(bytes) = bundled::of(world.name()) else {
            return Err(Error::NoNetwork { world: world.name().to_owned() }.into());
        };
        let path = Path::new("assets/eval").join(world.name()).with_extension("safetensors");
        Self::from_file(world, device, &SafeTensors::from_bytes(path, bytes)?)
    }

    /// Reads a network that [`EvalNetwork::save`] wrote.
    ///
    /// # Errors
    /// A file that is no safetensors file, or holds another network.
    pub fn load(world: &dyn World, device: &Device, path: &Path) -> Result<Self> {
        Self::from_file(world, device, &SafeTensors::open(path)?)
    }

    /// Writes weights, world and hash.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn save(&self, path: &Path) -> Result<()> {
        let entries = self.weights.iter().map(|(_, name, value)| (name, value));
        let metadata = BTreeMap::from([("world".to_owned(), self.world.clone()), ("sha256".to_owned(), self.hash())]);
        Ok(safetensors::write(path, entries, &metadata)?)
    }

    fn from_file(world: &dyn World, device: &Device, file: &SafeTensors) -> Result<Self> {
        let other = |reason: String| Error::OtherNetwork { world: world.name().to_owned(), reason };
        let said = file.metadata().get("world").map_or("no world", String::as_str);
        if said != world.name() {
            return Err(other(format!("the file was made for {said}")).into());
        }
        let network = Self::with_weights(world, device, |name, shape| {
            if file.info(name).is_none_or(|info| info.shape.dims() != shape) {
                return Err(other(format!("tensor {name} is missing or not {shape:?}")).into());
            }
            Ok(file.tensor_f32(name, device)?)
        });
        let mut network = network?;
        for linear in network.linears() {
            let name = network.weights.name(linear.bias).to_owned();
            let fits = |info: safetensors::Info| info.shape == network.weights.get(linear.bias).shape();
            if !file.info(&name).is_some_and(fits) {
                return Err(other(format!("tensor {name} is missing or misshapen")).into());
            }
            *network.weights.get_mut(linear.bias) = file.tensor_f32(&name, device)?;
        }
        match file.metadata().get("sha256") {
            Some(hash) if *hash == network.hash() => Ok(network),
            _ => Err(other("its weights are not those of its hash".to_owned()).into()),
        }
    }

    /// Builds the layers with `weight(name, [out, in])` and biases of zero.
    fn with_weights(
        world: &dyn World,
        device: &Device,
        mut weight: impl FnMut(&str, [usize; 2]) -> Result<Tensor>,
    ) -> Result<Self> {
        let architecture = Architecture::of(world);
        let mut weights = ParamStore::new(device);
        let mut linear = |name: String, [out, width]: [usize; 2]| -> Result<Linear> {
            let name_of_weight = format!("{name}.weight");
            let value = weight(&name_of_weight, [out, width])?;
            let weight = weights.insert(name_of_weight, value)?;
            let bias = weights.insert(format!("{name}.bias"), Tensor::zeros(device, [out])?)?;
            Ok(Linear { weight, bias })
        };
        let layers = architecture.layers();
        let mut convolutions = Vec::new();
        for (i, &layer) in layers.iter().enumerate() {
            let [width, out] = layer.widths;
            let kernel: usize = layer.kernel().iter().product();
            let linear = linear(format!("convolution.{i}"), [out, kernel * width])?;
            let index = layer.neighbours();
            let picks = index.len();
            let neighbours = Tensor::from_indices(device, index, [picks])?;
            convolutions.push(Convolution { layer, neighbours, linear });
        }
        let last = layers.last().map_or(0, |layer| layer.output().iter().product::<usize>() * layer.widths[1]);
        let features = linear("features".to_owned(), [FEATURES, last])?;
        let head = |head: &super::architecture::Head| linear(format!("head.{}", head.name), [head.classes, FEATURES]);
        let heads = architecture.heads.iter().map(head).collect::<Result<_>>()?;
        Ok(EvalNetwork { world: world.name().to_owned(), architecture, weights, convolutions, features, heads })
    }

    fn linears(&self) -> Vec<Linear> {
        let convolutions = self.convolutions.iter().map(|c| c.linear);
        convolutions.chain([self.features]).chain(self.heads.iter().copied()).collect()
    }

    /// The shapes, and what is read.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The weights.
    pub fn weights(&self) -> &ParamStore {
        &self.weights
    }

    /// The weights, to train.
    pub(super) fn weights_mut(&mut self) -> &mut ParamStore {
        &mut self.weights
    }

    /// What tells one set of weights from another: the sha256 of names and values, in hexadecimal.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for (_, name, value) in self.weights.iter() {
            hash.update(name.as_bytes());
            value.to_vec().iter().for_each(|x| hash.update(x.to_le_bytes()));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Units of one clip.
    pub fn units(&self, frames: usize) -> usize {
        if self.architecture.unit == Unit::Frame { frames } else { 1 }
    }

    /// Latents `[b, c, f, h, w]` as rows of positions, `[units, positions, c]`; a clip's units follow each other.
    ///
    /// # Errors
    /// A tensor of another rank.
    pub(super) fn rows(&self, latents: &Tensor) -> Result<Tensor> {
        let [b, c, f, h, w] = latents.shape().expect_rank("evaluation network")?;
        Ok(match self.architecture.unit {
            Unit::Clip => latents.reshape([b, c, f * h * w])?.transpose(1, 2)?.contiguous()?,
            Unit::Frame => {
                let frames = latents.reshape([b, c, f, h * w])?.transpose(1, 2)?.transpose(2, 3)?.contiguous()?;
                frames.reshape([b * f, h * w, c])?
            }
        })
    }

    /// Features and logits of `rows [units, positions, channels]`.
    ///
    /// # Errors
    /// Rows of another geometry.
    pub(super) fn forward(&self, cx: &Cx<'_>, rows: Tensor) -> Result<Output> {
        let [units, _, _] = rows.shape().expect_rank("evaluation network")?;
        let linear = |x: &Var, l: &Linear, activation| {
            cx.linear_activated(x, &cx.param(l.weight), &cx.param(l.bias), activation)
        };
        let mut x = cx.input(rows);
        for Convolution { layer, neighbours, linear: l } in &self.convolutions {
            let outputs: usize = layer.output().iter().product();
            let kernel: usize = layer.kernel().iter().product();
            let [width, out] = layer.widths;
            let gathered = cx.reshape(&cx.gather(&x, neighbours)?, [units * outputs, kernel * width])?;
            x = cx.reshape(&linear(&gathered, l, Activation::GeluTanh)?, [units, outputs, out])?;
        }
        let flat = x.value().elements() / units.max(1);
        let features = linear(&cx.reshape(&x, [units, flat])?, &self.features, Activation::GeluTanh)?;
        let logits = self.heads.iter().map(|head| linear(&features, head, Activation::None));
        let logits = logits.collect::<flg_engine::Result<_>>()?;
        Ok(Output { features, logits })
    }

    /// What is in latents `[b, c, f, h, w]`.
    ///
    /// # Errors
    /// Latents of another geometry.
    pub fn see(&self, latents: &Tensor) -> Result<Seen> {
        let rows = self.rows(latents)?;
        let units = rows.dims()[0];
        let mut seen = Seen { features: Vec::new(), log_probabilities: vec![Vec::new(); self.heads.len()] };
        for start in (0..units).step_by(BATCH) {
            let cx = Cx::inference(&self.weights);
            let part = rows.narrow(0, start, BATCH.min(units - start))?.contiguous()?;
            let output = self.forward(&cx, part)?;
            let features = output.features.value().values()?;
            seen.features.extend(features.chunks(FEATURES).map(|row| row.iter().map(|&x| f64::from(x)).collect()));
            for (list, logits) in seen.log_probabilities.iter_mut().zip(&output.logits) {
                let width = logits.value().shape().width().max(1);
                list.extend(logits.value().values()?.chunks(width).map(log_softmax));
            }
        }
        Ok(seen)
    }
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<f64> = logits.iter().map(|&x| f64::from(x - top)).collect();
    let log_sum = shifted.iter().map(|x| x.exp()).sum::<f64>().ln();
    shifted.iter().map(|x| x - log_sum).collect()
}

/// The largest entry's position; the first of equals.
pub(super) fn argmax(values: &[f64]) -> usize {
    (0..values.len()).rev().max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(0)
}
