//! The frozen Stage II network in both of its depths, mixed as [`super::well_guided`] says.

use flg_engine::{Cx, ParamStore, Tensor, concat};
use flg_model::{BlockMask, Wan};

use super::well_guided::Coefficients;
use crate::condition::Condition;
use crate::error::Result;
use crate::perturb::{Extents, Perturbed};

/// Unpruned and pruned network in one set of weights.
#[derive(Debug)]
pub struct Teacher {
    /// The architecture, unpruned.
    pub wan: Wan,
    /// Frozen.
    pub weights: ParamStore,
}

impl Teacher {
    /// The mixed velocity under two conditions, with captions and with the null caption, each sample with factors of its own; `weak` are the
    /// blocks of the pruned network. Predictions that no sample uses are not computed.
    ///
    /// # Errors
    /// Tensors of different shapes.
    pub fn velocity(
        &self,
        noised: &Perturbed,
        conditions: [&Condition; 2],
        weak: &BlockMask,
        factors: &[Coefficients],
    ) -> Result<Tensor> {
        let column = |of: fn(&Coefficients) -> f64| factors.iter().map(|c| of(c) as f32).collect::<Vec<f32>>();
        let unpruned = [column(|c| c.unpruned), column(|c| c.unpruned_null)];
        let pruned = [column(|c| c.pruned), column(|c| c.pruned_null)];
        let all = BlockMask::all(self.wan.config().num_layers);
        let sum = self.add(None, noised, conditions, &all, unpruned)?;
        let sum = self.add(sum, noised, conditions, weak, pruned)?;
        // Coefficients of a sample sum to 1, so at least one prediction was added.
        Ok(sum.map_or_else(|| Tensor::zeros(noised.x.device(), noised.x.shape()), Ok)?)
    }

    /// Adds the two predictions of one depth, in one call where both are needed.
    fn add(
        &self,
        sum: Option<Tensor>,
        noised: &Perturbed,
        conditions: [&Condition; 2],
        mask: &BlockMask,
        factors: [Vec<f32>; 2],
    ) -> Result<Option<Tensor>> {
        let used: Vec<usize> = (0..2).filter(|&i| factors[i].iter().any(|&f| f != 0.0)).collect();
        if used.is_empty() {
            return Ok(sum);
        }
        let samples = noised.t.len();
        let cx = Cx::inference(&self.weights);
        let latents = concat(&vec![&noised.x; used.len()])?;
        let condition = Condition::stacked(&used.iter().map(|&i| conditions[i]).collect::<Vec<_>>())?;
        let extents = Extents::of(&latents)?;
        let time = extents.time(&noised.first.repeat(used.len()), &noised.t.repeat(used.len()))?;
        let v = condition.forward(&self.wan, &cx, &latents, &time, mask)?.value().clone();
        let mut sum = sum;
        for (position, &i) in used.iter().enumerate() {
            let part = v.narrow(0, position * samples, samples)?;
            sum = Some(part.scale_rows(&factors[i], sum.as_ref())?);
        }
        Ok(sum)
    }
}
