//! The lines of the table: which networks, and how each samples.

use flg_model::checkpoint::Provenance;
use flg_model::sampler::{Ode, Solver};
use flg_model::{BlockMask, Checkpoint, FewStep, Guidance, Rule, Wan, extract};

use super::stage::Done;
use crate::Result;
use crate::config::{Config, SolverKind};
use crate::generate::Sampler;
use crate::methods::prune::Choice;

/// Shifts that the best one is sought among for as few steps as the student takes, without distillation.
pub(super) const SHIFTS: [f64; 4] = [0.6, 1.0, 3.0, 5.0];

/// Everything that samples.
#[derive(Debug)]
pub(super) struct Networks {
    /// All blocks.
    pub(super) teacher: Checkpoint,
    /// The teacher without the removed blocks, as it is.
    pub(super) untrained: Checkpoint,
    /// After Stage II, all blocks.
    pub(super) stage2: Checkpoint,
    /// After Stage II, without the removed blocks.
    pub(super) pruned: Checkpoint,
    /// After Stage III.
    pub(super) student: Checkpoint,
    /// Stage III of the teacher itself.
    pub(super) all_blocks: Checkpoint,
}

impl Networks {
    /// Cuts the pruned networks out of the whole ones: what is measured is as small as what would be shipped.
    ///
    /// # Errors
    /// Networks that do not have these blocks.
    pub(super) fn new(
        teacher: Checkpoint,
        stage2: Done,
        choice: &Choice,
        student: Checkpoint,
        all_blocks: Checkpoint,
    ) -> Result<Self> {
        let (untrained, pruned) = (without(&teacher, choice)?, without(&stage2.checkpoint, choice)?);
        Ok(Networks { teacher, untrained, stage2: stage2.checkpoint, pruned, student, all_blocks })
    }
}

fn without(whole: &Checkpoint, choice: &Choice) -> Result<Checkpoint> {
    let mask = BlockMask::without(whole.wan.config().num_layers, &choice.removed)?;
    let (config, weights) = extract(whole.wan.config(), &whole.weights, &mask)?;
    let wan = Wan::bind(config, &weights)?;
    Ok(Checkpoint { wan, weights, shift: whole.shift, few_step: None, provenance: Some(Provenance::of(&mask)) })
}

/// What a line is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// Captions.
    Text,
    /// Captions; and in another line, captions and first frames.
    TextAndImage,
}

/// A network and its sampler.
#[derive(Clone, Debug)]
pub(super) struct Line<'n> {
    pub(super) name: String,
    pub(super) network: &'n Checkpoint,
    pub(super) sampler: Sampler,
    pub(super) given: Given,
}

/// The lines of a demo.
#[derive(Debug)]
pub(super) struct Lines<'n> {
    pub(super) teacher: Line<'n>,
    pub(super) student: Line<'n>,
    /// In the order of the table, which has them between teacher and student.
    pub(super) controls: Vec<Line<'n>>,
    /// The same line with several shifts, of which the table has the best.
    pub(super) shifted: [(f64, Line<'n>); 4],
}

impl<'n> Lines<'n> {
    /// The lines of these networks.
    ///
    /// # Errors
    /// A schedule that cannot be.
    pub(super) fn new(networks: &'n Networks, config: &Config) -> Result<Self> {
        let few = config.distill.student_steps;
        let (many, shift) = (config.sample.steps, config.distill.shift);
        let guidance = Guidance::extra(config.sample.guidance_extra() as f32);
        let solver = match config.sample.solver {
            SolverKind::Euler => Solver::Euler,
            SolverKind::Unipc => Solver::UniPc { order: 2 },
        };
        let full = || Sampler::Ode(Ode { solver, steps: many, shift: config.sample.shift }, guidance);
        let short = |shift, guidance| Sampler::Ode(Ode { solver: Solver::Euler, steps: few, shift }, guidance);
        let renoise = FewStep::new(few, shift as f32, Rule::Renoise)?;
        let own = |student: &Checkpoint| Sampler::FewStep(student.few_step.clone().unwrap_or_else(|| renoise.clone()));
        let with = if guidance.is_active() { " + guidance" } else { "" };
        let text = |name: String, network, sampler| Line { name, network, sampler, given: Given::Text };
        let both = |name: String, network, sampler| Line { name, network, sampler, given: Given::TextAndImage };

        let Networks { teacher, untrained, pruned, student, all_blocks, .. } = networks;
        let mut controls = Vec::new();
        if guidance.is_active() {
            controls.push(text(format!("teacher, {few} steps + guidance"), teacher, short(shift, guidance)));
        }
        controls.push(text(format!("teacher, {few} steps"), teacher, short(shift, Guidance::none())));
        controls.push(text(format!("teacher, {few} steps, re-noise"), teacher, Sampler::FewStep(renoise.clone())));
        let undistilled = Sampler::FewStep(renoise.clone());
        controls.push(text(format!("pruned without training, {few} steps, re-noise"), untrained, undistilled.clone()));
        controls.push(both(format!("pruned, Stage II only, {few} steps, re-noise"), pruned, undistilled));
        controls.push(text(format!("distilled, all blocks, {few} steps"), all_blocks, own(all_blocks)));
        let shifted = SHIFTS.map(|shift| {
            let name = format!("teacher, {few} steps, best shift");
            (shift, text(name, teacher, short(shift, Guidance::none())))
        });
        Ok(Lines {
            teacher: both(format!("teacher, {many} steps{with}"), teacher, full()),
            student: both(format!("student, {few} steps"), student, own(student)),
            controls,
            shifted,
        })
    }
}

impl Line<'_> {
    /// Whether the network was trained for its steps.
    pub(super) fn is_distilled(&self) -> bool {
        self.network.few_step.is_some()
    }
}
