//! Stage III: distribution matching to a few steps without guidance, against a well-guided teacher.
//!
//! One iteration: the student walks its own path from noise ([`mod@rollout`]); it is moved along the
//! distribution-matching gradient ([`mod@gradient`]) between the well-guided teacher ([`well_guided`]) and a critic;
//! then the critic learns the student's new clips by flow matching, several times (two time scales). The teacher is the
//! Stage II network, frozen, in both of its depths. No loss is minimised by the student; what is logged as `loss` is
//! the critic's.

pub mod adversary;
pub mod critic;
mod drawing;
mod expert;
mod features;
pub mod gradient;
pub mod guard;
pub mod rollout;
pub mod teacher;
pub mod well_guided;

use flg_engine::{Cx, Grads, Key, ParamStore, Tensor, concat};
use flg_model::{BlockMask, Checkpointing, FewStep, Rule, Wan, extract};
use serde_json::Value;

use self::adversary::Adversary;
use self::critic::{Critic, Example};
use self::gradient::{Gradient, Scores, gradient};
use self::guard::Guard;
use self::rollout::{Position, Start, keep_given, rollout};
use self::teacher::Teacher;
use super::Setup;
use super::learner::{Learner, trainable};
use super::micro_batch;
use crate::config::{DistillConfig, Rollout, RolloutInput, Student};
use crate::data::Split;
use crate::error::Result;
use crate::method::{Method, Metrics, NetworkRef, State, StateMut};
use crate::optim::Progress;
use crate::perturb::{Extents, FirstFrame, perturb};

/// What the samples of this stage are drawn under.
const STREAM: u32 = 3;

/// Student, critic and teacher.
#[derive(Debug)]
pub struct Distill {
    setup: Setup,
    config: DistillConfig,
    key: Key,
    schedule: FewStep,
    /// The part of the schedule that this network is asked at: all of it, unless it is one of a pair of experts.
    anchors: FewStep,
    /// The blocks of the teacher that the student has.
    mask: BlockMask,
    student: Learner,
    critic: Critic,
    teacher: Teacher,
    guard: Guard,
    record: Value,
}

impl Distill {
    /// Starts from a Stage II network, whose weights stay as they are stored; the student is its part that `mask` keeps.
    ///
    /// # Errors
    /// A mask of another network; a world without held-out clips; an expert's levels that the configuration does not
    /// serve.
    pub fn new(
        setup: Setup,
        (wan, weights): (Wan, ParamStore),
        mask: BlockMask,
        config: DistillConfig,
    ) -> Result<Self> {
        config.check_levels(setup.levels)?;
        let (student_config, student_weights) = extract(wan.config(), &weights, &mask)?;
        let student_wan = Wan::bind(student_config, &student_weights)?;
        let critic = Critic::new(&setup, (&wan, &weights), (&student_wan, &student_weights), &config)?;
        let checkpointing = if config.recompute_blocks { Checkpointing::PerBlock } else { Checkpointing::Off };
        let student = match config.student {
            Student::Full => {
                Learner::new(student_wan, trainable(&student_weights)?, &config.generator, setup.precision)?
            }
            Student::Lora => {
                let adapters = (config.student_rank, Key::new(setup.seed).name("student adapters"));
                Learner::adapted(student_wan, student_weights, adapters, &config.generator, setup.precision)?
            }
        };
        let student = student.with_average()?.with_checkpointing(checkpointing);
        let guard = Guard::new(&setup, &student.average, &config)?;
        let rule = match config.rollout {
            Rollout::Renoise => Rule::Renoise,
            Rollout::Ode => Rule::Ode,
        };
        let schedule = FewStep::new(config.student_steps, config.shift as f32, rule)?;
        let anchors = config.anchors(&schedule, setup.levels)?;
        let teacher = Teacher { wan, weights };
        let key = Key::new(setup.seed).name("distill");
        Ok(Distill {
            setup,
            config,
            key,
            schedule,
            anchors,
            mask,
            student,
            critic,
            teacher,
            guard,
            record: Value::Null,
        })
    }

    /// The student, the weights to export (the best that the guard found, or the average where it is off) and the
    /// schedule that they were trained for.
    pub fn best(&self) -> (&Wan, &ParamStore, &FewStep) {
        (&self.student.wan, self.guard.best().unwrap_or(&self.student.average), &self.schedule)
    }

    /// The conditions of iteration `number`, and the student's paths from them, in parts that run side by side.
    fn parts(&self, number: u64, key: Key) -> Result<Vec<Part>> {
        let (parts, task) = (self.config.micro_batches, &self.setup.task);
        let size = self.config.batch / parts;
        let part = |i: usize| {
            let (key, first) = (key.at(i as u64), number * self.config.batch as u64 + (i * size) as u64);
            let batch = task.batch(Split::Training, self.setup.seed, STREAM, first, size)?;
            let first = FirstFrame::draw(key.name("first frame"), self.config.first_frame, size);
            let text = task.text(batch.captions.iter().map(|&caption| Some(caption)))?;
            let start = Start { condition: batch.condition(text), latents: batch.latents, first };
            let path = self.positions(&start, key.name("path"))?;
            Ok(Part { start, path })
        };
        micro_batch::each(parts, &self.student.weights, part).into_iter().collect()
    }

    /// The student's path, or noised real clips where the configuration asks for teacher-forced inputs.
    fn positions(&self, start: &Start, key: Key) -> Result<Vec<Position>> {
        if self.config.input == RolloutInput::BackSim {
            return rollout(&self.student.wan, &self.student.weights, &self.anchors, start, key);
        }
        let samples = start.first.len();
        let forced = |(step, &sigma): (usize, &f32)| {
            let noise = key.at(step as u64).normal(self.setup.task.device(), start.latents.shape())?;
            let x = perturb(&start.latents, &noise, vec![sigma; samples], &start.first)?.x;
            let cx = Cx::inference(&self.student.weights);
            let clean = rollout::predict(&self.student.wan, &cx, &x, &vec![sigma; samples], start)?;
            Ok(Position { sigma, x, clean })
        };
        self.anchors.sigmas.iter().enumerate().map(forced).collect()
    }

    /// One part of a student update; every sample leaves its path at a step of its own, all steps equally often.
    fn accumulate(&self, step: u64, key: Key, Part { start, path }: &Part, grads: &mut Grads) -> Result<Gradient> {
        let exits = self.config.exits(step, key.name("exit"), start.first.len(), path.len());
        let sigmas: Vec<f32> = exits.iter().map(|&j| path[j].sigma).collect();
        let x = pick(path, &exits, |position| &position.x)?;
        let extents = Extents::of(&x)?;

        let cx = self.student.training();
        let time = extents.time(&start.first, &sigmas)?;
        let v = start.condition.forward(&self.student.wan, &cx, &x, &time, &self.student.all_blocks())?;
        // clean = x - sigma v, hence d clean / d v = -sigma; given planes have level 0 and are x itself.
        let levels = extents.planes(&start.first, |b| -sigmas[b], 0.0);
        let clean = keep_given(&v.value().scale_rows(&levels, Some(&x))?, start)?;
        let (gradient, adversarial) = self.gradient(&clean, start, key)?;
        let (weights, share) = (extents.mean_weights(&start.first), 1.0 / self.config.micro_batches as f32);
        let factors: Vec<f32> = levels.iter().zip(&weights).map(|(level, weight)| share * level * weight).collect();
        let mut dv = gradient.g.scale_rows(&factors, None)?;
        if let Some(adversarial) = adversarial {
            let factors: Vec<f32> = levels.iter().map(|level| share * level).collect();
            dv = adversarial.scale_rows(&factors, Some(&dv))?;
        }
        cx.vjp(&v, dv, grads)?;
        Ok(gradient)
    }

    /// One student update; returns the gradient's norm and what was seen in each part.
    fn update_student(&mut self, step: u64, key: Key, parts: &[Part]) -> Result<(f64, Vec<Gradient>)> {
        let (gradients, grads) = micro_batch::run(parts.len(), &self.student, |i, grads| {
            self.accumulate(step, key.at(i as u64), &parts[i], grads)
        })?;
        let number = step + 1;
        let decay = if number <= self.config.ema_start { 0.0 } else { self.config.ema };
        let updated = self.student.update(grads, Progress { number, total: self.config.steps }, Some(decay))?;
        Ok((updated.norm, gradients))
    }

    /// The distribution-matching gradient at the student's clips, and that of the adversarial loss where there is one.
    fn gradient(&self, clean: &Tensor, start: &Start, key: Key) -> Result<(Gradient, Option<Tensor>)> {
        let (config, samples, task) = (&self.config, start.first.len(), &self.setup.task);
        let noise = key.name("score noise").normal(task.device(), clean.shape())?;
        let levels = config.score_levels(self.setup.levels, key.name("score t"), samples);
        let noised = perturb(clean, &noise, levels, &start.first)?;
        let factors = config.coefficients(key.name("strengths"), samples);
        let weak = config.weak_mask(key.name("weak mask"), &self.mask)?;
        let null = start.condition.with_text(task.null_text(samples)?);
        let real = self.teacher.velocity(&noised, [&start.condition, &null], &weak, &factors)?;
        let fake = self.critic.velocity(&noised, &start.condition)?;
        let (t, first) = (&noised.t, &start.first);
        let scores = Scores { x: clean, noised: &noised.x, t, real: &real, fake: &fake, first };
        let matching = gradient(&scores, config.gradient_scale, config.gradient_floor)?;
        let Some(adversarial) = self.critic.adversarial_gradient(&noised, &start.condition)? else {
            return Ok((matching, None));
        };
        // d x_t / d clean = 1 - t.
        let slopes = Extents::of(clean)?.planes(first, |b| config.gan as f32 * (1.0 - t[b]), 0.0);
        Ok((matching, Some(adversarial.scale_rows(&slopes, None)?)))
    }

    /// Flow matching of the critic on the student's clips; updates `done + 1 ..= done + count` of the run.
    fn update_critic(&mut self, done: u64, count: usize, key: Key, parts: &[Part]) -> Result<f64> {
        let mut loss = 0.0;
        for i in 0..count {
            let examples: Result<Vec<Example<'_>>> =
                (0..parts.len()).map(|p| self.example(&parts[p], i, key.at(i as u64).at(p as u64))).collect();
            loss += self.critic.update(&examples?, done + i as u64 + 1)? / count as f64;
        }
        Ok(loss)
    }

    /// Clips from a part's paths, noised; every sample leaves its path at another step in the next update.
    fn example<'p>(&self, Part { start, path }: &'p Part, update: usize, key: Key) -> Result<Example<'p>> {
        let (samples, device) = (start.first.len(), self.setup.task.device());
        let exits: Vec<usize> = (0..samples).map(|b| (b + update) % path.len()).collect();
        let clean = pick(path, &exits, |position| &position.clean)?;
        let t = self.config.score_levels(self.setup.levels, key.name("t"), samples);
        let noise = |name: &str| key.name(name).normal(device, clean.shape());
        let real = match &self.critic.adversary {
            None => None,
            Some(_) => Some(perturb(&start.latents, &noise("real noise")?, t.clone(), &start.first)?),
        };
        Ok(Example { made: perturb(&clean, &noise("noise")?, t, &start.first)?, real, condition: &start.condition })
    }
}

/// A part of an iteration's batch.
#[derive(Debug)]
struct Part {
    start: Start,
    path: Vec<Position>,
}

/// One sample from each of the chosen positions: sample `b` from position `exits[b]`.
fn pick(path: &[Position], exits: &[usize], of: impl Fn(&Position) -> &Tensor) -> Result<Tensor> {
    let samples = exits.iter().enumerate().map(|(b, &j)| of(&path[j]).narrow(0, b, 1));
    let samples = samples.collect::<flg_engine::Result<Vec<_>>>()?;
    Ok(concat(&samples.iter().collect::<Vec<_>>())?)
}

impl Method for Distill {
    fn name(&self) -> &'static str {
        "distill"
    }

    fn step(&mut self, step: u64) -> Result<Metrics> {
        let key = self.key.at(step);
        let (updates, warmup) = (self.config.critic_updates, self.config.critic_warmup);
        if step == 0 && warmup > 0 {
            let key = key.name("warm-up");
            let parts = self.parts(0, key)?;
            self.update_critic(0, warmup, key.name("critic"), &parts)?;
        }
        let parts = self.parts(step + 1, key)?;
        let (norm, gradients) = self.update_student(step, key.name("student"), &parts)?;
        let done = warmup as u64 + step * updates as u64;
        let loss = self.update_critic(done, updates, key.name("critic"), &parts)?;
        let distance = gradients.iter().map(|g| g.distance).sum::<f64>() / gradients.len() as f64;
        let dropped: usize = gradients.iter().map(|g| g.dropped).sum();
        let mut metrics = vec![("loss", loss), ("grad_norm", norm), ("distance", distance)];
        metrics.push(("dropped", dropped as f64));
        let student = (&self.student.wan, &self.student.average, &self.schedule);
        metrics.extend(self.guard.after(step, student, &mut self.record)?);
        Ok(metrics)
    }

    fn state(&self) -> State<'_> {
        let student = |name, weights| {
            let (config, few_step) = (self.student.config(), Some(&self.schedule));
            NetworkRef { name, config, weights, few_step }
        };
        let learner = &self.critic.learner;
        let critic = NetworkRef { name: "critic", config: learner.config(), weights: &learner.weights, few_step: None };
        let mut networks =
            vec![student("transformer", &self.student.weights), student("ema", &self.student.average), critic];
        networks.extend(self.guard.best().map(|weights| student("best", weights)));
        let mut moments =
            vec![("optimizer", self.student.optimizer.moments()), ("critic_optimizer", learner.optimizer.moments())];
        moments.extend(self.student.adapters.as_ref().map(|adapters| ("student_adapters", adapters.factors())));
        moments.extend(learner.adapters.as_ref().map(|adapters| ("critic_adapters", adapters.factors())));
        if let Some(adversary) = &self.critic.adversary {
            moments.extend([("adversary", &adversary.weights), ("adversary_optimizer", adversary.optimizer.moments())]);
        }
        State { networks, moments, record: self.record.clone() }
    }

    fn state_mut(&mut self) -> StateMut<'_> {
        let Critic { learner: critic, adversary, .. } = &mut self.critic;
        let mut networks = vec![
            ("transformer", &mut self.student.weights),
            ("ema", &mut self.student.average),
            ("critic", &mut critic.weights),
        ];
        networks.extend(self.guard.best_mut().map(|weights| ("best", weights)));
        let mut moments = vec![
            ("optimizer", self.student.optimizer.moments_mut()),
            ("critic_optimizer", critic.optimizer.moments_mut()),
        ];
        moments.extend(self.student.adapters.as_mut().map(|adapters| ("student_adapters", adapters.factors_mut())));
        moments.extend(critic.adapters.as_mut().map(|adapters| ("critic_adapters", adapters.factors_mut())));
        if let Some(Adversary { weights, optimizer, .. }) = adversary {
            moments.extend([("adversary", weights), ("adversary_optimizer", optimizer.moments_mut())]);
        }
        StateMut { networks, moments, record: &mut self.record }
    }

    fn restored(&mut self) -> Result<()> {
        self.student.refresh()?;
        self.critic.learner.refresh()
    }
}
