//! Stage III: the pruned network learns to sample in few steps, by matching the distribution of a well-guided teacher.

use super::range::{count, number};
use super::train::divides;
use super::{OptimizerConfig, OptimizerKind, Result};

/// What the well-guided teacher predicts. `u` is the whole network, `p` the one without the removed blocks, `c` the
/// caption and `0` the null caption; `b1` and `b2` are the strengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WellGuided {
    /// `u(c) + b1 (u(c) - u(0)) + b2 (u(c) - p(c))`.
    #[default]
    A,
    /// `g_u + b2 (g_u - g_p)` with `g_x = x(c) + b1 (x(c) - x(0))`: the second term is guided too.
    ANested,
    /// `g_p + b2 (g_u - g_p)`: between the two, never beyond `u`.
    BInterpolation,
    /// `p(c) + b1 (p(c) - p(0)) + b2 (u(c) - p(c))`: the pruned network is the base.
    CPrunedBase,
    /// `u(c) + b1 (u(c) - p(0))`: one negative for both.
    ESingleNegative,
}

/// How `beta1` counts guidance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuidanceForm {
    /// 0 is conditional only: `c + b (c - 0)`.
    #[default]
    Extra,
    /// 1 is conditional only: `0 + w (c - 0)`.
    HoSalimans,
}

/// How strengths are drawn. All but [`Strengths::Half`] keep the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strengths {
    /// Uniform in `(1 - rho) b ..= (1 + rho) b`.
    #[default]
    Around,
    /// Uniform in `0 ..= 2 b`.
    Double,
    /// Uniform in `0 ..= b`: halves the mean.
    Half,
    /// Exactly `b`.
    Fixed,
}

/// Which blocks the weak branch `p` of the teacher skips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeakMask {
    /// Those that the student lacks.
    #[default]
    Fixed,
    /// Each of those with probability 1/2, drawn in every step.
    Bernoulli,
}

/// What of the student is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Student {
    /// All weights.
    #[default]
    Full,
    /// Low-rank adapters of its blocks' matrices: little memory for moments and gradients. Such want a rate about ten times
    /// as high.
    Lora,
}

/// The network that follows the student's distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Critic {
    /// All blocks: begins without a bias against the student.
    #[default]
    Full,
    /// The student's blocks.
    Pruned,
    /// All blocks, of which only low-rank adapters are trained: little memory for moments and gradients.
    Lora,
}

/// How the student goes from one anchor to the next, in training and in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rollout {
    /// Predict the clip, add fresh noise.
    #[default]
    Renoise,
    /// An Euler step.
    Ode,
}

/// What the student is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutInput {
    /// Its own earlier steps, as in use.
    #[default]
    BackSim,
    /// Noised training clips.
    TeacherForced,
}

/// At which step of the rollout the student's prediction is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// Drawn anew in every update.
    #[default]
    Uniform,
    /// One after the other.
    Cycle,
}

/// How score times are kept inside `t_range`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeRange {
    /// Drawn inside it.
    #[default]
    Truncate,
    /// Clamped to it, which piles probability up at its ends.
    Clamp,
}

/// Over what the distribution-matching gradient is divided by its mean absolute size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GradientScale {
    /// Each clip by its own.
    #[default]
    PerSample,
    /// All clips of a micro-batch by their common mean.
    PerBatch,
}

/// Every switch of `flg distill`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillConfig {
    /// Generator updates.
    pub steps: u64,
    /// Clips in a rollout.
    pub batch: usize,
    /// Parts that a batch is computed in, side by side where there are threads; divides the batch.
    pub micro_batches: usize,
    /// Whether blocks of student and critic recompute their activations in the backward pass instead of keeping them.
    pub recompute_blocks: bool,
    /// Steps of the student's sampler.
    pub student_steps: usize,
    /// Timestep shift of the student's anchors and of the score times.
    pub shift: f64,
    /// Share of each batch whose first frame is given.
    pub first_frame: f64,

    /// What the well-guided teacher predicts.
    pub well_guided: WellGuided,
    /// Mean strength of the guidance by caption, in the form of `form`.
    pub beta1: f64,
    /// How `beta1` counts.
    pub form: GuidanceForm,
    /// Mean strength of the guidance by depth.
    pub beta2: f64,
    /// How strengths are drawn.
    pub strengths: Strengths,
    /// Half width of [`Strengths::Around`], relative to the mean.
    pub rho: f64,
    /// Whether every clip has strengths of its own, instead of one pair for the batch.
    pub per_sample: bool,
    /// Which blocks the weak branch skips.
    pub weak_mask: WeakMask,

    /// What of the student is trained.
    pub student: Student,
    /// Rank of the adapters of [`Student::Lora`].
    pub student_rank: usize,

    /// The network that follows the student.
    pub critic: Critic,
    /// Rank of the adapters of [`Critic::Lora`].
    pub critic_rank: usize,
    /// Critic updates for each generator update.
    pub critic_updates: usize,
    /// Critic updates before the first generator update.
    pub critic_warmup: usize,

    /// Weight of the adversarial term in the student's update, as DMD2 has it (there 0.001 to 0.005); 0 turns it off.
    pub gan: f64,
    /// Weight of the discriminator's loss beside the critic's own.
    pub gan_critic: f64,

    /// From anchor to anchor.
    pub rollout: Rollout,
    /// What the student is trained on.
    pub input: RolloutInput,
    /// At which step the prediction is taken.
    pub exit: Exit,
    /// Smallest and largest score time.
    pub t_range: [f64; 2],
    /// How times are kept inside.
    pub t_rule: TimeRange,
    /// Over what the gradient is divided.
    pub gradient_scale: GradientScale,
    /// Smallest divisor.
    pub gradient_floor: f64,

    /// Optimiser of the student.
    pub generator: OptimizerConfig,
    /// Optimiser of the critic.
    pub critic_optimizer: OptimizerConfig,
    /// Decay rate of the moving average of the student's weights.
    pub ema: f64,
    /// Generator update at which the average begins.
    pub ema_start: u64,

    /// Generator updates between looks of the over-training guard, which keeps the best average; 0 turns it off.
    pub guard_every: u64,
    /// Generator updates, half of the run at most, before an average can be kept: an early one, still smeared, can be
    /// nearer to real clips than one that has half learnt to be sharp.
    pub guard_from: u64,
    /// Clips that the guard looks at.
    pub guard_clips: usize,
}

impl Default for DistillConfig {
    fn default() -> Self {
        let muon = |lr, muon_lr| OptimizerConfig {
            kind: OptimizerKind::Muon,
            lr,
            muon_lr,
            betas: [0.0, 0.99],
            ..OptimizerConfig::default()
        };
        Self {
            steps: 100,
            batch: 16,
            micro_batches: 2,
            recompute_blocks: false,
            student_steps: 4,
            shift: 5.0,
            first_frame: 0.25,
            well_guided: WellGuided::A,
            beta1: 0.5,
            form: GuidanceForm::Extra,
            beta2: 0.25,
            strengths: Strengths::Around,
            rho: 0.5,
            per_sample: true,
            weak_mask: WeakMask::Fixed,
            student: Student::Full,
            student_rank: 64,
            critic: Critic::Full,
            critic_rank: 8,
            critic_updates: 5,
            critic_warmup: 20,
            gan: 0.0,
            gan_critic: 0.01,
            rollout: Rollout::Renoise,
            input: RolloutInput::BackSim,
            exit: Exit::Uniform,
            t_range: [0.02, 0.98],
            t_rule: TimeRange::Truncate,
            gradient_scale: GradientScale::PerSample,
            gradient_floor: 1e-5,
            generator: muon(3e-4, 3e-3),
            critic_optimizer: muon(6e-4, 6e-3),
            ema: 0.97,
            ema_start: 0,
            guard_every: 20,
            guard_from: 50,
            guard_clips: 64,
        }
    }
}

impl DistillConfig {
    /// Mean strength of the guidance by caption, 0 being conditional only.
    pub fn beta1_extra(&self) -> f64 {
        self.form.extra(self.beta1)
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::Range`](super::Error::Range).
    pub fn check(&self) -> Result<()> {
        count("distill.batch", self.batch).within(1.0, 65536.0)?;
        divides("distill.micro_batches", self.micro_batches, self.batch)?;
        count("distill.student_steps", self.student_steps).within(1.0, 1000.0)?;
        number("distill.shift", self.shift).positive()?;
        number("distill.first_frame", self.first_frame).within(0.0, 1.0)?;
        number("distill.beta1", self.beta1).within(-100.0, 100.0)?;
        number("distill.beta2", self.beta2).within(-100.0, 100.0)?;
        number("distill.rho", self.rho).within(0.0, 1.0)?;
        count("distill.student_rank", self.student_rank).at_least(1.0)?;
        count("distill.critic_rank", self.critic_rank).at_least(1.0)?;
        number("distill.gan", self.gan).not_negative()?;
        number("distill.gan_critic", self.gan_critic).not_negative()?;
        number("distill.t_range", self.t_range[0]).within(1e-4, 1.0)?;
        number("distill.t_range", self.t_range[1]).within(self.t_range[0], 1.0 - 1e-4)?;
        number("distill.gradient_floor", self.gradient_floor).positive()?;
        self.generator.check("distill.generator")?;
        self.critic_optimizer.check("distill.critic_optimizer")?;
        number("distill.ema", self.ema).below(0.0, 1.0)?;
        count("distill.guard_clips", self.guard_clips).at_least(2.0)
    }
}

impl GuidanceForm {
    /// A strength of this form as extra guidance, 0 being conditional only.
    pub fn extra(self, strength: f64) -> f64 {
        match self {
            GuidanceForm::Extra => strength,
            GuidanceForm::HoSalimans => strength - 1.0,
        }
    }
}
