//! Optimisers: what turns gradients into changed weights.
//!
//! An [`Optimizer`] keeps its moments in a [`ParamStore`] (so that they are saved like weights) and nothing else: the
//! number of the update comes from the caller, who derives it from the step. Resuming needs no further state.

mod clip;
mod ema;
mod learning_rate;
mod muon;

pub use clip::{Clipped, clip};
pub use ema::{decay_at, update as update_ema};
pub use learning_rate::lr_factor;
pub use muon::orthogonalize;

use flg_engine::{DType, Grads, ParamId, ParamStore, Result, Tensor};
use flg_kernels::adamw;

use crate::config::{OptimizerConfig, OptimizerKind};

/// How one parameter is updated, and where its moments are.
#[derive(Clone, Copy, Debug)]
enum Rule {
    AdamW { m: ParamId, v: ParamId, decays: bool },
    Muon { momentum: ParamId },
}

/// Updates a store from its gradients. AdamW everywhere, or Muon on the blocks' matrices and AdamW on the rest.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    rules: Vec<Rule>,
    moments: ParamStore,
}

/// One update.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// Number of the update, from 1.
    pub number: u64,
    /// What the peak step sizes are multiplied with.
    pub lr_factor: f64,
    /// What gradients are multiplied with first (clipping).
    pub grad_scale: f64,
}

impl Optimizer {
    /// An optimiser for the parameters of `weights`, moments at zero.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn new(config: &OptimizerConfig, weights: &ParamStore) -> Result<Self> {
        let mut moments = ParamStore::new(weights.device());
        let mut rules = Vec::with_capacity(weights.len());
        for (_, name, value) in weights.iter() {
            let mut moment = |suffix: &str| {
                let zeros = Tensor::zeros(weights.device(), value.shape())?;
                moments.insert(format!("{name}.{suffix}"), zeros)
            };
            let matrix = value.shape().rank() == 2;
            rules.push(if config.kind == OptimizerKind::Muon && matrix && name.starts_with("blocks.") {
                Rule::Muon { momentum: moment("momentum")? }
            } else {
                Rule::AdamW {
                    m: moment("m")?,
                    v: moment("v")?,
                    decays: name.ends_with(".weight") && value.shape().rank() > 1,
                }
            });
        }
        Ok(Optimizer { config: config.clone(), rules, moments })
    }

    /// The moments, to save.
    pub fn moments(&self) -> &ParamStore {
        &self.moments
    }

    /// The moments, to restore.
    pub fn moments_mut(&mut self) -> &mut ParamStore {
        &mut self.moments
    }

    /// Changes every parameter that has a gradient, in order of id.
    ///
    /// # Errors
    /// Gradients of another store.
    pub fn step(&mut self, weights: &mut ParamStore, grads: &Grads, update: Update) -> Result<()> {
        let mut ahead = Vec::new();
        for (id, gradient) in grads.iter() {
            match self.rules[id.index()] {
                Rule::AdamW { m, v, decays } => {
                    self.adamw_step(weights.get_mut(id), gradient, [m, v], decays, update)?;
                }
                Rule::Muon { momentum } => ahead.push((id, self.look_ahead(gradient, momentum, update)?)),
            }
        }
        // One matrix does not fill two cores; side by side they do.
        let pool = weights.device().pool();
        let directions = pool.side_by_side(ahead.len(), |i| orthogonalize(&ahead[i].1));
        for ((id, _), direction) in ahead.iter().zip(directions) {
            self.muon_step(weights.get_mut(*id), &direction?, update)?;
        }
        Ok(())
    }

    fn adamw_step(
        &mut self,
        weight: &mut Tensor,
        gradient: &Tensor,
        [m, v]: [ParamId; 2],
        decays: bool,
        update: Update,
    ) -> Result<()> {
        let rt = *weight.device().runtime();
        // Two moments of one store are borrowed at once: take the first out for the call.
        let mut mean = std::mem::replace(self.moments.get_mut(m), Tensor::empty(gradient.device(), [0], DType::F32)?);
        let args = adamw::Args {
            param: weight.output()?,
            grad: gradient.input()?,
            m: mean.output()?,
            v: self.moments.get_mut(v).output()?,
            shadow: None,
            lr: (self.config.lr * update.lr_factor) as f32,
            beta1: self.config.betas[0] as f32,
            beta2: self.config.betas[1] as f32,
            eps: self.config.eps as f32,
            weight_decay: if decays { self.config.weight_decay as f32 } else { 0.0 },
            grad_scale: update.grad_scale as f32,
            step: update.number,
        };
        adamw::step(&rt, args)?;
        *self.moments.get_mut(m) = mean;
        Ok(())
    }

    /// Adds the gradient to Muon's momentum; returns Nesterov's look ahead, which is what gets orthogonalised.
    fn look_ahead(&mut self, gradient: &Tensor, momentum: ParamId, update: Update) -> Result<Tensor> {
        let (mu, scale) = (self.config.muon_momentum as f32, update.grad_scale as f32);
        let sum = self.moments.get_mut(momentum);
        *sum = sum.combine(mu, gradient, scale)?;
        sum.combine(mu, gradient, scale)
    }

    fn muon_step(&self, weight: &mut Tensor, direction: &Tensor, update: Update) -> Result<()> {
        let [rows, columns] = weight.shape().expect_rank("muon")?;
        let lr = self.config.muon_lr * update.lr_factor;
        // An orthogonal matrix has root mean square 1 / sqrt(max(rows, columns)): this makes it 0.2, about what AdamW's
        // updates have (Liu et al., 2025), so that one learning rate serves matrices of all shapes.
        let size = 0.2 * (rows.max(columns) as f64).sqrt();
        let kept = (1.0 - lr * self.config.weight_decay) as f32;
        *weight = weight.combine(kept, direction, (-lr * size) as f32)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flg_engine::{Cx, Device, Key};

    fn regression(kind: OptimizerKind) -> (f32, f32) {
        let device = Device::cpu();
        let mut weights = ParamStore::new(&device);
        let w = weights.insert("blocks.0.weight", Key::new(1).normal(&device, [5, 7]).unwrap()).unwrap();
        let b = weights.insert("blocks.0.bias", Tensor::zeros(&device, [5]).unwrap()).unwrap();
        let x = Key::new(2).normal(&device, [32, 7]).unwrap();
        let target = Key::new(3).normal(&device, [32, 5]).unwrap();
        let mut optimizer =
            Optimizer::new(&OptimizerConfig { kind, lr: 0.05, muon_lr: 0.3, ..OptimizerConfig::default() }, &weights)
                .unwrap();
        let mut losses = Vec::new();
        for number in 1..=150 {
            let mut grads = Grads::new(&weights);
            let cx = Cx::training(&weights);
            let y = cx.linear(&cx.input(x.clone()), &cx.param(w), &cx.param(b)).unwrap();
            let loss = cx.mse(&y, &target).unwrap();
            losses.push(loss.value().item().unwrap());
            cx.backward(&loss, 1.0, &mut grads).unwrap();
            let lr_factor = 1.0 - number as f64 / 151.0;
            optimizer.step(&mut weights, &grads, Update { number, lr_factor, grad_scale: 1.0 }).unwrap();
        }
        (losses[0], losses[149])
    }

    #[test]
    fn both_rules_solve_a_regression() {
        // Least squares leaves about (1 - 8 / 32) of the target's variance of 1.
        for kind in [OptimizerKind::Adamw, OptimizerKind::Muon] {
            let (first, last) = regression(kind);
            assert!(first > 4.0 && last < 0.9, "{kind:?}: {first} to {last}");
        }
    }

    #[test]
    fn decay_spares_biases_and_norms() {
        let device = Device::cpu();
        let mut weights = ParamStore::new(&device);
        for (name, shape) in [("proj.weight", &[2, 2][..]), ("norm.weight", &[2]), ("proj.bias", &[2])] {
            let shape = flg_engine::Shape::new(shape).unwrap();
            weights.insert(name, Tensor::full(&device, 1.0, shape).unwrap()).unwrap();
        }
        let mut grads = Grads::new(&weights);
        for (id, _, value) in weights.iter() {
            grads.add(id, Tensor::zeros(&device, value.shape()).unwrap()).unwrap();
        }
        let config = OptimizerConfig { lr: 0.5, weight_decay: 0.2, ..OptimizerConfig::default() };
        let mut optimizer = Optimizer::new(&config, &weights).unwrap();
        optimizer.step(&mut weights, &grads, Update { number: 1, lr_factor: 1.0, grad_scale: 1.0 }).unwrap();
        let first: Vec<f32> = weights.iter().map(|(_, _, value)| value.to_vec()[0]).collect();
        assert_eq!(first, [0.9, 1.0, 1.0]);
    }
}
