//! Backward simulation: the student's own path from noise, so that it is trained on the inputs it will meet.

use flg_engine::{Cx, Key, ParamStore, Tensor};
use flg_model::{BlockMask, FewStep, Rule, Wan};

use crate::condition::Condition;
use crate::error::Result;
use crate::perturb::{Extents, FirstFrame, perturb};

/// What a path starts from.
#[derive(Clone, Debug)]
pub struct Start {
    /// Clean clips: of those only given first frames are used, unless the path begins below the level of noise.
    pub latents: Tensor,
    /// Which first frames are given.
    pub first: Vec<FirstFrame>,
    /// Text and, for image to video, the given frames.
    pub condition: Condition,
}

/// One position on a path: the student's input and its prediction there.
#[derive(Clone, Debug)]
pub struct Position {
    /// Noise level.
    pub sigma: f32,
    /// The noisy input, given frames clean.
    pub x: Tensor,
    /// The student's clean prediction, given frames put back.
    pub clean: Tensor,
}

/// Runs the student from noise through all its steps without recording; one position a step. The steps of an expert for
/// low noise begin with real clips, noised to its first level.
///
/// # Errors
/// A network of another geometry.
pub fn rollout(wan: &Wan, weights: &ParamStore, schedule: &FewStep, start: &Start, key: Key) -> Result<Vec<Position>> {
    let device = start.latents.device();
    let noise = |step: usize| key.at(step as u64).normal(device, start.latents.shape());
    let mut x = match schedule.sigmas.first() {
        Some(&sigma) if sigma < 1.0 => {
            perturb(&start.latents, &noise(0)?, vec![sigma; start.first.len()], &start.first)?.x
        }
        _ => keep_given(&noise(0)?, start)?,
    };
    let mut positions = Vec::with_capacity(schedule.sigmas.len());
    for (step, &sigma) in schedule.sigmas.iter().enumerate() {
        let clean = predict(wan, &Cx::inference(weights), &x, &vec![sigma; start.first.len()], start)?;
        let next = schedule.sigmas.get(step + 1).copied();
        positions.push(Position { sigma, x: x.clone(), clean: clean.clone() });
        let Some(next) = next else { break };
        let moved = match schedule.rule {
            Rule::Renoise => clean.combine(1.0 - next, &noise(step + 1)?, next)?,
            // x = clean + sigma v, hence the Euler step to `next` is a mixture of x and the clean prediction.
            Rule::Ode => x.combine(next / sigma, &clean, 1.0 - next / sigma)?,
        };
        x = keep_given(&moved, start)?;
    }
    Ok(positions)
}

/// The clean prediction `x - sigma v` with given first frames put back.
///
/// # Errors
/// A network of another geometry.
pub fn predict(wan: &Wan, cx: &Cx<'_>, x: &Tensor, sigmas: &[f32], start: &Start) -> Result<Tensor> {
    let extents = Extents::of(x)?;
    let (time, all) = (extents.time(&start.first, sigmas)?, BlockMask::all(wan.config().num_layers));
    let v = start.condition.forward(wan, cx, x, &time, &all)?;
    // On given planes sigma is 0 and x is clean: the prediction is x itself.
    let levels = extents.planes(&start.first, |b| -sigmas[b], 0.0);
    Ok(v.value().scale_rows(&levels, Some(x))?)
}

/// `x` with given first frames replaced by the clean ones.
///
/// # Errors
/// Tensors of different shapes.
pub fn keep_given(x: &Tensor, start: &Start) -> Result<Tensor> {
    if start.first.iter().all(|f| *f == FirstFrame::Generated) {
        return Ok(x.clone());
    }
    let extents = Extents::of(x)?;
    let generated = extents.planes(&start.first, |_| 1.0, 0.0);
    let given: Vec<f32> = generated.iter().map(|g| 1.0 - g).collect();
    Ok(x.scale_rows(&generated, Some(&start.latents.scale_rows(&given, None)?))?)
}
