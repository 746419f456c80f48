//! Low-rank adapters (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, arXiv:2106.09685): every
//! matrix of the blocks is a frozen one plus a trained product, `W = W0 + B A` with `A [r, in]` and `B [out, r]`.
//!
//! Passes read `W`, so they cost what they did; only the optimiser works on the factors, whose gradients follow from
//! that of `W` by the chain rule: `dA = B^T dW`, `dB = dW A^T`. A backward pass takes this step for each matrix as soon as
//! it knows `dW`, and holds no other. `B` begins at zero, so the network begins as it was.
//!
//! The frozen matrices are shared with whoever has them, and `W` is kept as passes read it: in mixed precision the whole
//! takes two bytes a weight more than the network that it adapts.

use std::sync::Arc;

use flg_engine::{DType, Grads, Key, ParamId, ParamStore, Precision, Reparametrization, Result, Tensor};
use flg_kernels::gemm::Layout;
use flg_model::wan::reads_low_precision;

/// The factors of a network's matrices.
#[derive(Debug)]
pub struct Adapters {
    /// Shared with gradients on their way.
    factored: Arc<Factored>,
}

#[derive(Clone, Debug)]
struct Factored {
    factors: ParamStore,
    pairs: Vec<Pair>,
}

/// One matrix: the one that passes read, what it began as, and its factors.
#[derive(Clone, Debug)]
struct Pair {
    weight: ParamId,
    frozen: Tensor,
    a: ParamId,
    b: ParamId,
}

impl Adapters {
    /// Adapters of rank `rank`, or of a matrix's smaller extent where that is less, for the matrices of the blocks.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn new(weights: &ParamStore, rank: usize, key: Key) -> Result<Self> {
        let (device, mut factors, mut pairs) = (weights.device(), ParamStore::new(weights.device()), Vec::new());
        for (weight, name, value) in weights.iter() {
            let &[out, width] = value.dims() else { continue };
            if !name.starts_with("blocks.") {
                continue;
            }
            let (module, rank) = (name.trim_end_matches(".weight"), rank.min(out).min(width));
            let drawn = key.name(name).normal(device, [rank, width])?.scale(1.0 / (width as f32).sqrt())?;
            let a = factors.insert(format!("{module}.lora_A.weight"), drawn)?;
            let b = factors.insert(format!("{module}.lora_B.weight"), Tensor::zeros(device, [out, rank])?)?;
            pairs.push(Pair { weight, frozen: value.clone(), a, b });
        }
        Ok(Adapters { factored: Arc::new(Factored { factors, pairs }) })
    }

    /// What is trained.
    pub fn factors(&self) -> &ParamStore {
        &self.factored.factors
    }

    /// What is trained, to change; [`Adapters::merge`] after. Gradients that are still on their way keep the factors that
    /// they began with.
    pub fn factors_mut(&mut self) -> &mut ParamStore {
        &mut Arc::make_mut(&mut self.factored).factors
    }

    /// A table of the factors' gradients, for backward passes through the network.
    pub fn no_gradients(&self) -> Grads {
        Grads::through(self.factored.clone())
    }

    /// Writes `W0 + B A` to the network's weights, as passes of this precision read them.
    ///
    /// # Errors
    /// Weights of another network.
    pub fn merge(&self, weights: &mut ParamStore, precision: Precision) -> Result<()> {
        for pair in &self.factored.pairs {
            let low = precision == Precision::Bf16 && reads_low_precision(weights.name(pair.weight));
            let merged = self.merged(pair)?;
            *weights.get_mut(pair.weight) = if low { merged.cast(DType::Bf16)? } else { merged };
        }
        Ok(())
    }

    /// `average = decay * average + (1 - decay) (W0 + B A)` for the adapted matrices, f32: what is not adapted stays as it
    /// is. Of merged bf16 weights an average would miss what their rounding swallows.
    ///
    /// # Errors
    /// The average of another network.
    pub fn average(&self, average: &mut ParamStore, decay: f64) -> Result<()> {
        for pair in &self.factored.pairs {
            average.get_mut(pair.weight).average_with(&self.merged(pair)?, decay as f32)?;
        }
        Ok(())
    }

    /// `W0 + B A`, f32.
    fn merged(&self, Pair { frozen, a, b, .. }: &Pair) -> Result<Tensor> {
        let factors = &self.factored.factors;
        frozen.add(&factors.get(*b).matmul(factors.get(*a), Layout::NN)?)
    }
}

impl Reparametrization for Factored {
    fn trained(&self) -> &ParamStore {
        &self.factors
    }

    fn chain(&self, id: ParamId, dw: &Tensor) -> Result<Vec<(ParamId, Tensor)>> {
        // Pairs are in the order of the weights.
        let Ok(found) = self.pairs.binary_search_by_key(&id, |pair| pair.weight) else { return Ok(Vec::new()) };
        let &Pair { a, b, .. } = &self.pairs[found];
        let da = self.factors.get(b).matmul(dw, Layout::TN)?;
        let db = dw.matmul(self.factors.get(a), Layout::NT)?;
        Ok(vec![(a, da), (b, db)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flg_engine::{Cx, Device};

    /// A linear layer `[5, 7]` in a block, and one outside.
    fn layers(device: &Device) -> (ParamStore, [ParamId; 2]) {
        let mut weights = ParamStore::new(device);
        let inside = weights.insert("blocks.0.weight", Key::new(1).normal(device, [5, 7]).unwrap()).unwrap();
        let outside = weights.insert("out.weight", Key::new(2).normal(device, [5, 7]).unwrap()).unwrap();
        (weights, [inside, outside])
    }

    /// The loss `|x W^T - target|^2`, whose gradients are added to `grads`.
    fn loss(weights: &ParamStore, w: ParamId, grads: &mut Grads) -> f64 {
        let device = weights.device();
        let (x, target) = (Key::new(3).normal(device, [4, 7]).unwrap(), Key::new(4).normal(device, [4, 5]).unwrap());
        let cx = Cx::training(weights);
        let bias = cx.input(Tensor::zeros(device, [5]).unwrap());
        let y = cx.linear(&cx.input(x), &cx.param(w), &bias).unwrap();
        let loss = cx.mse(&y, &target).unwrap();
        let value = f64::from(loss.value().item().unwrap());
        cx.backward(&loss, 1.0, grads).unwrap();
        value
    }

    #[test]
    fn a_network_begins_as_it_was_and_only_its_blocks_are_adapted() {
        let device = Device::cpu();
        let (weights, [inside, outside]) = layers(&device);
        let adapters = Adapters::new(&weights, 3, Key::new(9)).unwrap();
        assert_eq!(adapters.factors().len(), 2);
        let mut merged = weights.deep_copy().unwrap();
        adapters.merge(&mut merged, Precision::F32).unwrap();
        for id in [inside, outside] {
            assert_eq!(merged.get(id).to_vec(), weights.get(id).to_vec());
        }
    }

    #[test]
    fn gradients_of_the_factors_agree_with_finite_differences() {
        let device = Device::cpu();
        let (mut weights, [inside, _]) = layers(&device);
        let mut adapters = Adapters::new(&weights, 3, Key::new(9)).unwrap();
        let b = adapters.factors().id("blocks.0.lora_B.weight").unwrap();
        *adapters.factors_mut().get_mut(b) = Key::new(5).normal(&device, [5, 3]).unwrap();
        adapters.merge(&mut weights, Precision::F32).unwrap();
        let mut grads = adapters.no_gradients();
        loss(&weights, inside, &mut grads);
        let grads = grads.detached();
        for id in [adapters.factors().id("blocks.0.lora_A.weight").unwrap(), b] {
            let analytic = grads.get(id).unwrap().to_vec();
            for (element, analytic) in analytic.iter().enumerate() {
                let mut at = |step: f32| {
                    adapters.factors_mut().get_mut(id).as_f32_mut().unwrap()[element] += step;
                    adapters.merge(&mut weights, Precision::F32).unwrap();
                    loss(&weights, inside, &mut Grads::new(&weights))
                };
                // The loss is quadratic in one element: a central difference is exact but for rounding, about 1e-6 of a
                // loss of 10 over a step of 2 * 0.05.
                let difference = (at(0.05) - at(-0.1)) / 0.1;
                at(0.05);
                assert!((difference - f64::from(*analytic)).abs() < 2e-3, "{element}: {difference} {analytic}");
            }
        }
    }
}
