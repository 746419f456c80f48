//! Measures ways of sampling on the same captions, the same noise and the same real clips.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use flg_engine::concat;
use flg_model::{Guidance, extract};

use super::features::Shown;
use super::figures::Resamples;
use super::network::EvalNetwork;
use super::prompts::Prompts;
use super::row::{Condition, Cost, Row, SamplerSpec};
use super::timing::Timing;
use crate::Result;
use crate::config::EvalConfig;
use crate::data::Clip;
use crate::generate::{Generator, Request, Sampler};
use crate::task::Task;

/// Is told how many sampling steps are done, of how many, and may stop the run.
pub type OnProgress<'a> = dyn FnMut(usize, usize) -> ControlFlow<()> + 'a;

/// Captions, real clips and the evaluation network: what all rows share.
#[derive(Debug)]
pub struct Evaluator {
    task: Task,
    network: EvalNetwork,
    config: EvalConfig,
    prompts: Prompts,
    /// The caption of each clip.
    captions: Vec<String>,
    resamples: Resamples,
    /// The real clips, for rows of each condition.
    references: [Shown; 2],
}

impl Evaluator {
    /// Draws captions and real clips.
    ///
    /// # Errors
    /// A world without held-out clips.
    pub fn new(task: &Task, network: EvalNetwork, config: &EvalConfig, seed: u64) -> Result<Self> {
        let world = task.world("evaluation")?;
        let prompts = Prompts::new(world, config.prompts, config.diversity_seeds, seed)?;
        let shown = |condition| Shown::new(task, &network, &prompts, &prompts.reference, given_frames(condition), None);
        let references = [shown(Condition::Text)?, shown(Condition::TextImage)?];
        let resamples = Resamples::new(prompts.groups.len(), config, seed);
        let captions = prompts.captions.iter().map(|&caption| world.captions()[caption].text.clone()).collect();
        Ok(Evaluator { task: task.clone(), network, config: config.clone(), prompts, captions, resamples, references })
    }

    /// The network that measures.
    pub fn network(&self) -> &EvalNetwork {
        &self.network
    }

    /// The caption of each clip.
    pub fn captions(&self) -> impl ExactSizeIterator<Item = &str> {
        self.captions.iter().map(String::as_str)
    }

    /// The real clips that rows are compared with, one a caption.
    pub fn real_clips(&self) -> &[Clip] {
        &self.prompts.reference
    }

    /// What other real clips of the same captions are worth: held-out ones, made of the same images as the clips that rows
    /// are compared with, and training clips where there are some. A network that learnt the latter perfectly would do as
    /// well as they do.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn real_rows(&self, condition: Condition) -> Result<Vec<Row>> {
        let Prompts { floor, training, .. } = &self.prompts;
        let parts = [("real clips, held out", Some(&floor[..])), ("real clips, training", training.as_deref())];
        let judge = |(name, clips): (&str, Option<&[Clip]>)| Some(self.judge(name.to_owned(), condition, None, clips?));
        parts.into_iter().filter_map(judge).collect()
    }

    /// Samples a clip for each caption and measures. The clips come in the order of [`Evaluator::captions`].
    ///
    /// # Errors
    /// A network that does not take the world's captions or geometry; [`flg_model::Error::Stopped`].
    pub fn row(
        &self,
        spec: &SamplerSpec<'_>,
        condition: Condition,
        progress: &mut OnProgress<'_>,
    ) -> Result<(Row, Vec<Clip>)> {
        let pool = self.task.device().pool().clone();
        pool.reset_peak();
        let before = pool.usage().live;
        let (clips, seconds_per_clip) = self.sample(spec, condition, progress)?;
        let working = pool.usage().peak.saturating_sub(before);
        let (_, used) = extract(spec.network.wan.config(), spec.network.weights, spec.network.mask)?;
        let guidance = match &spec.sampler {
            Sampler::Ode(_, guidance) => *guidance,
            Sampler::FewStep(_) => Guidance::none(),
        };
        let cost = Cost {
            steps: spec.sampler.steps(),
            network_calls: spec.sampler.network_calls(),
            guidance: guidance.as_ho_salimans().into(),
            blocks: spec.network.mask.kept().len(),
            parameters: used.elements(),
            weight_bytes: used.bytes(),
            memory_bytes: used.bytes() + working,
            seconds_per_clip,
        };
        Ok((self.judge(spec.name.clone(), condition, Some(cost), &clips)?, clips))
    }

    fn judge(&self, name: String, condition: Condition, cost: Option<Cost>, clips: &[Clip]) -> Result<Row> {
        let reference = &self.references[usize::from(condition == Condition::TextImage)];
        let (task, network, given) = (&self.task, &self.network, given_frames(condition));
        let shown = Shown::new(task, network, &self.prompts, clips, given, Some(reference))?;
        let across = shown.across(reference);
        let figures = shown.figures(reference, &across, &shown.all());
        let resampled = self.resamples.of(|picks| shown.figures(reference, &across, picks));
        let intervals = resampled.intervals(&figures);
        Ok(Row { name, condition, cost, figures, intervals, differences: BTreeMap::new(), resampled })
    }

    /// Clips of all captions, and the median time of one.
    fn sample(
        &self,
        spec: &SamplerSpec<'_>,
        condition: Condition,
        progress: &mut OnProgress<'_>,
    ) -> Result<(Vec<Clip>, f64)> {
        let [_, c, f, h, w] = self.task.latent_shape(1);
        let (network, sampler) = (spec.network, &spec.sampler);
        let generator = Generator { network, conditions: spec.conditions, sampler, latents: [c, f, h, w] };
        let requests: Vec<Request<'_>> =
            (self.captions().enumerate()).map(|(i, caption)| Request { caption, key: self.prompts.key(i) }).collect();
        let batch = self.config.batch.min(requests.len());
        let (whole, steps) = (requests.len() / batch, sampler.steps());
        // Whole batches are timed as they are made; where there are too few, the first is made again.
        let again = (self.config.timing_runs + 1).saturating_sub(whole);
        let total = (requests.len().div_ceil(batch) + again) * steps;
        let (mut timing, mut parts) = (Timing::default(), Vec::new());
        let mut batches = 0;
        let mut make = |start: usize, timing: &mut Timing| {
            let part = &requests[start..(start + batch).min(requests.len())];
            let range = start..start + part.len();
            let first = match condition {
                Condition::Text => None,
                Condition::TextImage => Some(self.prompts.first_frames(&self.task, range)?),
            };
            let done = batches * steps;
            batches += 1;
            let mut on_step = |step: flg_model::sampler::Progress<'_>| progress(done + step.done, total);
            let mut run = || generator.latents(part, first.as_ref(), &mut on_step);
            if part.len() == batch { timing.run(run) } else { run() }
        };
        for start in (0..requests.len()).step_by(batch) {
            parts.push(make(start, &mut timing)?);
        }
        while timing.counted() < self.config.timing_runs {
            make(0, &mut timing)?;
        }
        let latents = concat(&parts.iter().collect::<Vec<_>>())?;
        Ok((spec.conditions.clips(&latents)?, timing.seconds_per_clip(batch)))
    }
}

/// Frames at the start of a clip that the network did not make.
fn given_frames(condition: Condition) -> usize {
    usize::from(condition == Condition::TextImage)
}
