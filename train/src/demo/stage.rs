//! One stage of a demo in its run folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flg_engine::safetensors::WEIGHTS;
use flg_model::Checkpoint;
use flg_model::checkpoint::{INDEX, TRANSFORMER};
use sha2::{Digest, Sha256};

use super::{Demo, Stop, Watch};
use crate::Result;
use crate::method::Method;
use crate::run::{Error as RunError, Input, Record, RunFolder};
use crate::trainer::{Outcome, Plan, Start, Trainer};

/// A network that a stage made, and where it is.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) checkpoint: Checkpoint,
    pub(super) input: Input,
}

/// A stage, its folder open.
#[derive(Debug)]
pub(super) struct Stage<'d> {
    demo: &'d Demo<'d>,
    title: &'static str,
    folder: RunFolder,
}

impl<'d> Stage<'d> {
    /// Opens the folder `name` of the demo for a run of `stage` on `inputs`.
    ///
    /// # Errors
    /// A folder in use, or begun with other inputs; the system's refusals.
    pub(super) fn open(
        demo: &'d Demo<'d>,
        name: &'static str,
        stage: &str,
        inputs: BTreeMap<String, Input>,
    ) -> Result<Self> {
        let folder = RunFolder::open(&demo.out.join(name))?;
        let before = folder.record()?;
        for (input, now) in &inputs {
            let earlier = before.as_ref().and_then(|record| record.inputs.get(input));
            if earlier.is_some_and(|earlier| earlier.sha256 != now.sha256) {
                return Err(RunError::OtherInput { name: input.clone(), path: now.path.clone() }.into());
            }
        }
        folder.describe(&demo.config, &Record { stage: stage.to_owned(), inputs }, &demo.environment())?;
        demo.card.write(folder.root())?;
        Ok(Stage { demo, title: name, folder })
    }

    /// The run folder.
    pub(super) fn root(&self) -> &Path {
        self.folder.root()
    }

    /// Where the finished network goes.
    pub(super) fn model(&self) -> PathBuf {
        self.folder.model()
    }

    /// The network, if the stage was finished before.
    ///
    /// # Errors
    /// A checkpoint that is damaged.
    pub(super) fn done(&self) -> Result<Option<Done>> {
        let model = self.model();
        if !model.join(INDEX).is_file() {
            return Ok(None);
        }
        let checkpoint = Checkpoint::load(&model, self.demo.setup.task.device())?.for_sampling()?;
        Ok(Some(Done { checkpoint, input: identified(&model)? }))
    }

    /// [`Stage::done`] of a stage that has just saved its network.
    ///
    /// # Errors
    /// As there.
    pub(super) fn made(&self) -> Result<Done> {
        let missing = || flg_model::Error::NoCheckpoint { path: self.model(), reason: "the stage saved nothing" };
        Ok(self.done()?.ok_or_else(missing)?)
    }

    /// Runs `method` to the end of `steps`, from its latest checkpoint if there is one.
    ///
    /// # Errors
    /// [`Stop`].
    pub(super) fn train(&self, method: &mut dyn Method, steps: u64, watch: &mut dyn Watch) -> Result<(), Stop> {
        let latest = self.folder.checkpoints().latest().map_err(crate::Error::from)?;
        let start = latest.as_deref().map_or(Start::Fresh, Start::Checkpoint);
        let plan = Plan::new(&self.demo.config.run, steps);
        let trainer = Trainer { folder: &self.folder, plan, interrupt: self.demo.interrupt };
        watch.begin(self.title, steps);
        match trainer.run(method, start, &mut |event| watch.event(&event))? {
            Outcome::Finished => Ok(()),
            Outcome::Interrupted { step } => Err(Stop::Interrupted { stage: self.title.to_owned(), step }),
        }
    }
}

/// A checkpoint as an input: its weights identify it.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn identified(folder: &Path) -> Result<Input> {
    let path = folder.join(TRANSFORMER).join(WEIGHTS);
    let bytes = fs::read(&path).map_err(RunError::io("read", &path))?;
    let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Input { path: folder.to_owned(), sha256 })
}
