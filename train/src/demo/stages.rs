//! The stages, as a demo runs them.

use std::collections::BTreeMap;
use std::fs;

use flg_engine::ParamStore;
use flg_engine::files::{read_json, write_atomic, write_json};
use flg_model::{BlockMask, Checkpoint, Wan};

use super::lines::Networks;
use super::stage::{Done, Stage};
use super::{Demo, Stop, Teacher, Watch};
use crate::audit::{self, Audit};
use crate::export::{Made, lineage, write_choice};
use crate::methods::prune::Choice;
use crate::methods::validation::Validation;
use crate::methods::{Distill, FlowMatching, Prune};
use crate::report::{Losses, curves};
use crate::run::{Error as RunError, Input};
use crate::{Error, Result};

impl Demo<'_> {
    /// The teacher: as given, or trained.
    pub(super) fn teacher(&self, watch: &mut dyn Watch) -> Result<(Checkpoint, Input), Stop> {
        let model = match &self.teacher {
            Teacher::Given { checkpoint, input } => return Ok((checkpoint.as_ref().clone(), input.clone())),
            Teacher::FromScratch(model) => model,
        };
        let stage = Stage::open(self, "train", "train", BTreeMap::new())?;
        if stage.done()?.is_none() {
            let config = &self.config.train;
            let mut method = FlowMatching::new(self.setup.clone(), model.clone(), config.clone())?;
            stage.train(&mut method, config.steps, watch)?;
            let (wan, weights) = method.averaged();
            self.made(wan, weights, Some(config.shift)).save(&stage.model())?;
        }
        let Done { checkpoint, input } = stage.made()?;
        Ok((checkpoint, input))
    }

    /// Stage I.
    pub(super) fn audit(&self, teacher: (&Checkpoint, &Input), watch: &mut dyn Watch) -> Result<Audit, Stop> {
        let (Checkpoint { wan, weights, .. }, input) = teacher;
        let stage = Stage::open(self, "audit", "audit", one("model", input))?;
        let folder = stage.root().join("audit");
        let path = folder.join("importance.json");
        if path.is_file() {
            return Ok(read_json(path).map_err(Error::from)?);
        }
        let mut begun = false;
        let found = audit::audit(&self.setup, (wan, weights), &self.config.audit, &mut |done, total| {
            if !begun {
                watch.begin("audit", total);
                begun = true;
            }
            watch.reach(done);
        })?;
        let picture = audit::plot::svg(&found).map_err(|cause| Error::Drawing { cause })?;
        let write = || {
            fs::create_dir_all(&folder).map_err(RunError::io("make", &folder))?;
            write_atomic(folder.join("importance.svg"), |out| out.write_all(picture.as_bytes()))?;
            Ok::<_, Error>(write_json(path, &found)?)
        };
        write()?;
        self.require_going("audit")?;
        Ok(found)
    }

    /// Stage II.
    pub(super) fn prune(
        &self,
        teacher: (&Checkpoint, &Input),
        audit: &Audit,
        watch: &mut dyn Watch,
    ) -> Result<(Done, Choice), Stop> {
        let (Checkpoint { wan, weights, .. }, input) = teacher;
        let choice = Choice { ranked: audit.ranked.clone(), removed: audit.removed.clone() };
        let stage = Stage::open(self, "prune", "prune", one("model", input))?;
        if stage.done()?.is_none() {
            let config = &self.config.prune;
            let network = (wan.clone(), copy(weights)?);
            let mut method = Prune::new(self.setup.clone(), network, &choice, config.clone())?;
            stage.train(&mut method, config.steps(), watch)?;
            let (wan, weights) = method.averaged();
            let made = self.made(wan, weights, Some(config.shift));
            made.save_pruned(method.end(), &stage.root().join("pruned"))?;
            write_choice(stage.root(), &choice)?;
            made.save(&stage.model())?;
            write_choice(&stage.model(), &choice)?;
        }
        Ok((stage.made()?, choice))
    }

    /// Stage III of the pruned network.
    pub(super) fn distill(&self, pruned: &Done, choice: &Choice, watch: &mut dyn Watch) -> Result<Checkpoint, Stop> {
        self.distilled("distill", (&pruned.checkpoint, &pruned.input), &choice.removed, watch)
    }

    /// The control: Stage III of the teacher itself, which keeps all blocks.
    pub(super) fn distill_all(
        &self,
        teacher: (&Checkpoint, &Input),
        watch: &mut dyn Watch,
    ) -> Result<Checkpoint, Stop> {
        self.distilled("distill-all-blocks", teacher, &[], watch)
    }

    fn distilled(
        &self,
        name: &'static str,
        (from, input): (&Checkpoint, &Input),
        removed: &[usize],
        watch: &mut dyn Watch,
    ) -> Result<Checkpoint, Stop> {
        let stage = Stage::open(self, name, "distill", one("model", input))?;
        if stage.done()?.is_none() {
            let layers = from.wan.config().num_layers;
            let mask = BlockMask::without(layers, removed).map_err(Error::from)?;
            let network = (from.wan.clone(), copy(&from.weights)?);
            let config = &self.config.distill;
            let mut method = Distill::new(self.setup.clone(), network, mask.clone(), config.clone())?;
            stage.train(&mut method, config.steps, watch)?;
            let (wan, weights, schedule) = method.best();
            let provenance = lineage(from.provenance.as_ref(), &mask)?;
            let made = self.made(wan, weights, None);
            Made { few_step: Some(schedule), provenance: Some(&provenance), ..made }.save(&stage.model())?;
        }
        Ok(stage.made()?.checkpoint)
    }

    /// The held-out loss before, during and after Stage II.
    pub(super) fn validation(&self, networks: &Networks, choice: &Choice) -> Result<Losses> {
        let config = &self.config.prune;
        let validation = Validation::new(&self.setup, config.validation_clips, config.shift, config.first_frame)?;
        let loss = |checkpoint: &Checkpoint, removed: &[usize]| {
            let mask = BlockMask::without(checkpoint.wan.config().num_layers, removed)?;
            validation.loss(&checkpoint.wan, &checkpoint.weights, &mask)
        };
        let path = self.out.join("prune/metrics.jsonl");
        let lines = fs::read_to_string(&path).map_err(RunError::io("read", &path))?;
        Ok(Losses {
            teacher: loss(&networks.teacher, &[])?,
            untrained: loss(&networks.teacher, &choice.removed)?,
            random_masks: curves::logged(&lines, "validation_pruned", config.random_steps),
            pruned: loss(&networks.stage2, &choice.removed)?,
        })
    }

    /// A network without provenance, to be saved.
    fn made<'n>(&'n self, wan: &'n Wan, weights: &'n ParamStore, shift: Option<f64>) -> Made<'n> {
        let shift = shift.map(|shift| shift as f32);
        Made { wan, weights, card: (&self.card).into(), shift, few_step: None, provenance: None, expert: None }
    }
}

fn one(name: &str, input: &Input) -> BTreeMap<String, Input> {
    BTreeMap::from([(name.to_owned(), input.clone())])
}

/// Weights that a stage may change.
fn copy(weights: &ParamStore) -> Result<ParamStore> {
    Ok(weights.deep_copy()?)
}
