//! The table: every line measured on the same captions and the same noise.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use flg_engine::Precision;
use flg_model::BlockMask;
use flg_model::sampler::Network;
use serde_json::{Map, Value};

use super::lines::{Given, Line, Lines, Networks};
use super::{Demo, Stop, Watch};
use crate::audit::Audit;
use crate::data::{Conditions, Split};
use crate::eval::{Condition, Error as EvalError, EvalNetwork, Evaluator, SamplerSpec};
use crate::report::{Losses, Row, Summary, block_calls};
use crate::{Error, Result};

/// Real held-out clips that the evaluation network itself is judged on.
const NETWORK_CLIPS: usize = 360;

/// The rows, and how good the measure is.
pub(super) struct Table {
    rows: Vec<Row>,
    teacher: String,
    student: String,
    evaluation: Map<String, Value>,
    notes: Vec<String>,
}

/// What all lines are measured with.
struct Bench<'d> {
    evaluator: Evaluator,
    conditions: Conditions,
    demo: &'d Demo<'d>,
}

impl Demo<'_> {
    /// Measures every line.
    pub(super) fn measure(&self, networks: &Networks, watch: &mut dyn Watch) -> Result<Table, Stop> {
        let mut notes = Vec::new();
        let network = self.evaluation_network(&mut notes, watch)?;
        let evaluation = self.describe_network(&network)?;
        let evaluator = Evaluator::new(&self.setup.task, network, &self.config.eval, self.setup.seed)?;
        let conditions = self.card.conditions(self.setup.task.device())?;
        let bench = Bench { evaluator, conditions, demo: self };

        let lines = Lines::new(networks, &self.config)?;
        let mut rows = Vec::new();
        for condition in self.conditions() {
            let real = bench.evaluator.real_rows(condition)?.into_iter();
            rows.extend(real.map(|measured| Row { measured, sampler: String::new(), distilled: false, note: None }));
            rows.push(bench.row(&lines.teacher, condition, watch)?);
            for line in
                lines.controls.iter().filter(|line| line.given == Given::TextAndImage || condition == Condition::Text)
            {
                rows.push(bench.row(line, condition, watch)?);
            }
            if condition == Condition::Text {
                rows.push(bench.best_shift(&lines, watch)?);
            }
            let mut student = bench.row(&lines.student, condition, watch)?;
            student.measured.compare(rows.iter().map(|row| &row.measured));
            rows.push(student);
        }
        let (teacher, student) = (lines.teacher.name, lines.student.name);
        Ok(Table { rows, teacher, student, evaluation, notes })
    }

    /// What lines are measured on: first frames only where the teacher was trained with them.
    fn conditions(&self) -> Vec<Condition> {
        let first_frames = self.config.train.first_frame > 0.0;
        [Condition::Text, Condition::TextImage].into_iter().take(if first_frames { 2 } else { 1 }).collect()
    }

    /// The network that measures: the one that comes with the program, else one trained now.
    fn evaluation_network(&self, notes: &mut Vec<String>, watch: &mut dyn Watch) -> Result<EvalNetwork, Stop> {
        let task = &self.setup.task;
        match EvalNetwork::bundled(task.world("evaluation")?, task.device()) {
            Err(Error::Eval(EvalError::NoNetwork { world })) => {
                let steps = self.config.eval.network_steps;
                notes.push(format!(
                    "No evaluation network comes with the world {world}, so one was trained now, for {steps} updates: \
                     distances compare within this page only."
                ));
                watch.begin("evaluation network", steps);
                Ok(EvalNetwork::train(task, &self.config.eval, self.setup.seed, &mut |done, _| {
                    watch.reach(done);
                    ControlFlow::Continue(())
                })?)
            }
            found => Ok(found?),
        }
    }

    fn describe_network(&self, network: &EvalNetwork) -> Result<Map<String, Value>> {
        let accuracy = network.accuracy(&self.setup.task, Split::HeldOut, NETWORK_CLIPS)?;
        let mut said: Map<String, Value> = accuracy
            .into_iter()
            .map(|head| (format!("{} of real held-out clips read rightly", head.label), head.share.into()))
            .collect();
        said.insert("sha256 of the evaluation network".to_owned(), network.hash().into());
        Ok(said)
    }
}

impl Bench<'_> {
    fn row(&self, line: &Line<'_>, condition: Condition, watch: &mut dyn Watch) -> Result<Row, Stop> {
        self.demo.require_going("the evaluation")?;
        let (wan, weights) = (&line.network.wan, &line.network.weights);
        let mask = BlockMask::all(wan.config().num_layers);
        let network = Network { wan, weights, mask: &mask, precision: Precision::F32 };
        let (name, sampler) = (line.name.clone(), line.sampler.clone());
        let spec = SamplerSpec { name, network, conditions: &self.conditions, sampler };
        let mut begun = false;
        let measured = self.evaluator.row(&spec, condition, &mut |done, total| {
            if !begun {
                watch.begin(&format!("{} ({condition})", line.name), total as u64);
                begun = true;
            }
            watch.reach(done as u64);
            if self.demo.interrupt.is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.demo.require_going("the evaluation")?;
        let (sampler, distilled) = (line.sampler.to_string(), line.is_distilled());
        Ok(Row { measured: measured?.0, sampler, distilled, note: None })
    }

    /// The best of the lines that differ in their shift, by Frechet distance; the others are in its note.
    fn best_shift(&self, lines: &Lines<'_>, watch: &mut dyn Watch) -> Result<Row, Stop> {
        let [(shift, first), others @ ..] = &lines.shifted;
        let mut row = self.row(first, Condition::Text, watch)?;
        let mut list = vec![format!("{shift}: {:.3}", row.measured.figures.frechet)];
        for (shift, line) in others {
            let other = self.row(line, Condition::Text, watch)?;
            list.push(format!("{shift}: {:.3}", other.measured.figures.frechet));
            if other.measured.figures.frechet < row.measured.figures.frechet {
                row = other;
            }
        }
        row.note = Some(format!("the best of these shifts, by Fréchet distance: {}", list.join(", ")));
        Ok(row)
    }
}

impl Table {
    /// The numbers of the demo.
    pub(super) fn summary(
        self,
        demo: &Demo<'_>,
        validation: Losses,
        audit: Audit,
        seconds: BTreeMap<String, f64>,
    ) -> Summary {
        let cost = |name: &str| {
            let rows = self.rows.iter().map(|row| &row.measured);
            rows.filter(|row| row.name == name).find_map(|row| row.cost.clone())
        };
        let pair = cost(&self.teacher).zip(cost(&self.student));
        let ratio = |of: fn(&crate::eval::Cost) -> f64| pair.as_ref().map_or(f64::NAN, |(a, b)| of(a) / of(b));
        Summary {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            preset: demo.name.clone(),
            figures: demo.figures,
            seed: demo.setup.seed,
            sampling_speedup: ratio(|cost| cost.seconds_per_clip),
            sampling_speedup_theory: ratio(|cost| block_calls(cost) as f64),
            parameter_ratio: 1.0 / ratio(|cost| cost.parameters as f64),
            prompts: demo.config.eval.prompts,
            teacher: self.teacher,
            student: self.student,
            rows: self.rows,
            validation,
            audit,
            evaluation: self.evaluation,
            seconds,
            notes: self.notes,
        }
    }
}
