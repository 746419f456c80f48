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

use flg_engine::{DType, Error, Grads, ParamId, ParamStore, Result, Tensor};
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

/// Which of how many updates.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Number of the update, from 1.
    pub number: u64,
    /// How many there will be.
    pub total: u64,
}

/// What one update did.
#[derive(Clone, Copy, Debug)]
pub struct Updated {
    /// Norm of the gradient before clipping. Not finite: nothing was updated.
    pub norm: f64,
    /// Learning rate over its peak.
    pub lr_factor: f64,
}

/// What an optimiser changes: weights, and what follows them.
#[derive(Debug)]
pub struct Trained<'a> {
    /// What gradients change.
    pub weights: &'a mut ParamStore,
    /// Their moving average, and its decay in this update.
    pub average: Option<(&'a mut ParamStore, f64)>,
}

impl<'a> Trained<'a> {
    /// Weights that nothing follows.
    pub fn alone(weights: &'a mut ParamStore) -> Self {
        Trained { weights, average: None }
    }
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

    /// Clips the gradients by their norm and steps at the learning rate that the schedule has at `progress`. Where the
    /// norm is not finite the weights stay; the average follows them in any case.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    pub fn update(&mut self, trained: Trained<'_>, grads: &Grads, progress: Progress) -> Result<Updated> {
        let Clipped { norm, scale: grad_scale } = clip(grads, self.config.clip)?;
        let lr_factor = lr_factor(&self.config, progress.number, progress.total);
        if norm.is_finite() {
            self.step(trained, grads, Update { number: progress.number, lr_factor, grad_scale })?;
        } else if let Some((average, decay)) = trained.average {
            update_ema(average, trained.weights, decay)?;
        }
        Ok(Updated { norm, lr_factor })
    }

    /// Changes every parameter that has a gradient, in order of id, and moves the average of every parameter; that of
    /// AdamW's while they are at hand.
    ///
    /// # Errors
    /// Gradients or an average of another store.
    pub fn step(&mut self, trained: Trained<'_>, grads: &Grads, update: Update) -> Result<()> {
        let Trained { weights, mut average } = trained;
        if let Some((average, _)) = &average {
            ema::expect_same(average, weights)?;
        }
        let mut behind = vec![average.is_some(); weights.len()];
        let mut ahead = Vec::new();
        for (id, gradient) in grads.iter() {
            match self.rules[id.index()] {
                Rule::AdamW { m, v, decays } => {
                    let average = average.as_mut().map(|(average, decay)| (average.get_mut(id), *decay));
                    behind[id.index()] = false;
                    self.adamw_step((weights.get_mut(id), average), gradient, ([m, v], decays), update)?;
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
        if let Some((average, decay)) = average {
            for id in (0..behind.len()).filter(|&i| behind[i]).map(ParamId::from_index) {
                average.get_mut(id).average_with(weights.get(id), decay as f32)?;
            }
        }
        Ok(())
    }

    fn adamw_step(
        &mut self,
        (weight, average): (&mut Tensor, Option<(&mut Tensor, f64)>),
        gradient: &Tensor,
        ([m, v], decays): ([ParamId; 2], bool),
        update: Update,
    ) -> Result<()> {
        let rt = *weight.device().runtime();
        // Two moments of one store are borrowed at once: take the first out for the call.
        let mut mean = std::mem::replace(self.moments.get_mut(m), Tensor::empty(gradient.device(), [0], DType::F32)?);
        let average = average
            .map(|(average, decay)| Ok::<_, Error>(adamw::Average { average: average.output()?, decay: decay as f32 }));
        let args = adamw::Args {
            param: weight.output()?,
            grad: gradient.input()?,
            m: mean.output()?,
            v: self.moments.get_mut(v).output()?,
            shadow: None,
            average: average.transpose()?,
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
            let update = Update { number, lr_factor, grad_scale: 1.0 };
            optimizer.step(Trained::alone(&mut weights), &grads, update).unwrap();
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

    /// A matrix, two vectors, and a parameter that gets no gradient.
    fn weights_and_gradients(device: &Device) -> (ParamStore, Grads) {
        let mut weights = ParamStore::new(device);
        for (i, (name, shape)) in
            [("blocks.0.weight", &[7, 5][..]), ("blocks.0.bias", &[7]), ("scale", &[1027]), ("frozen", &[3])]
                .into_iter()
                .enumerate()
        {
            let shape = flg_engine::Shape::new(shape).unwrap();
            weights.insert(name, Key::new(7).at(i as u64).normal(device, shape).unwrap()).unwrap();
        }
        let mut grads = Grads::new(&weights);
        for (id, name, value) in weights.iter().filter(|(_, name, _)| *name != "frozen") {
            grads.add(id, Key::new(8).name(name).normal(device, value.shape()).unwrap()).unwrap();
        }
        (weights, grads)
    }

    fn bits(store: &ParamStore) -> Vec<Vec<u32>> {
        store.iter().map(|(_, _, value)| value.to_vec().into_iter().map(f32::to_bits).collect()).collect()
    }

    #[test]
    fn an_average_within_the_step_has_the_bits_of_one_behind_it() {
        let device = Device::cpu();
        for kind in [OptimizerKind::Adamw, OptimizerKind::Muon] {
            let config = OptimizerConfig { kind, clip: 0.5, ..OptimizerConfig::default() };
            let run = |within: bool| {
                let (mut weights, grads) = weights_and_gradients(&device);
                let mut average = weights.deep_copy().unwrap();
                let mut optimizer = Optimizer::new(&config, &weights).unwrap();
                for number in 1..=3 {
                    let followed = within.then_some((&mut average, 0.9));
                    let trained = Trained { weights: &mut weights, average: followed };
                    let updated = optimizer.update(trained, &grads, Progress { number, total: 3 }).unwrap();
                    assert!(updated.norm > 0.5);
                    if !within {
                        update_ema(&mut average, &weights, 0.9).unwrap();
                    }
                }
                (bits(&weights), bits(&average))
            };
            let (within, behind) = (run(true), run(false));
            assert_eq!(within, behind, "{kind:?}");
            assert!(within.0.iter().zip(&within.1).take(3).all(|(weight, average)| weight != average));
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_moves_the_average_only() {
        let device = Device::cpu();
        let (mut weights, mut grads) = weights_and_gradients(&device);
        let id = ParamId::from_index(1);
        grads.add(id, Tensor::full(&device, f32::INFINITY, [7]).unwrap()).unwrap();
        let (before, mut average) = (bits(&weights), weights.deep_copy().unwrap());
        average.get_mut(id).accumulate(1.0, weights.get(id)).unwrap();
        let mut optimizer = Optimizer::new(&OptimizerConfig::default(), &weights).unwrap();
        let trained = Trained { weights: &mut weights, average: Some((&mut average, 0.0)) };
        let updated = optimizer.update(trained, &grads, Progress { number: 1, total: 2 }).unwrap();
        assert!(!updated.norm.is_finite());
        assert_eq!((bits(&weights), bits(&average)), (before.clone(), before));
    }

    #[test]
    fn an_average_of_another_network_is_refused() {
        let device = Device::cpu();
        let (mut weights, grads) = weights_and_gradients(&device);
        let mut optimizer = Optimizer::new(&OptimizerConfig::default(), &weights).unwrap();
        let mut average = ParamStore::new(&device);
        let trained = Trained { weights: &mut weights, average: Some((&mut average, 0.5)) };
        assert!(optimizer.update(trained, &grads, Progress { number: 1, total: 2 }).is_err());
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
        let update = Update { number: 1, lr_factor: 1.0, grad_scale: 1.0 };
        optimizer.step(Trained::alone(&mut weights), &grads, update).unwrap();
        let first: Vec<f32> = weights.iter().map(|(_, _, value)| value.to_vec()[0]).collect();
        assert_eq!(first, [0.9, 1.0, 1.0]);
    }
}
