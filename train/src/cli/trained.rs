//! The network that a stage starts from, with the data that it was or is going to be trained on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flg_engine::Device;
use flg_model::checkpoint::{Keep, TRANSFORMER, TRANSFORMER_2};

use super::exit::{BadInput, Usage};
use super::input::{Checkpoint, card, checkpoint_folder, identify};
use super::stage::Stage;
use crate::config::{Config, DataConfig};
use crate::data::encoded::{fits, is_encoded};
use crate::data::{Card, DataCard, Encoded, EncodedCard, Error as DataError, Split, TextShape, open};
use crate::export::Pipeline;
use crate::levels::Levels;
use crate::methods::Setup;
use crate::run::Input;
use crate::task::Task;

/// Flags that name it.
#[derive(Debug, clap::Args)]
pub struct TrainedArgs {
    /// The checkpoint to start from (a folder of diffusers' layout), or the run that made it
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Where its data set is now, or the encoded data set to use [default: where it was in training]
    #[arg(long, value_name = "NAME|DIR")]
    pub world: Option<String>,
}

/// A checkpoint and its task.
#[derive(Debug)]
pub struct Trained {
    /// Its folder.
    pub folder: PathBuf,
    /// The network; weights that the files have in bf16 stay so.
    pub checkpoint: Checkpoint,
    /// What it knows of its data.
    pub card: DataCard,
    /// What methods are given.
    pub setup: Setup,
    /// The other parts of the pipeline that it is the transformer of.
    pub pipeline: Option<Pipeline>,
    /// Clips of an encoded data set that training sees.
    pub clips: usize,
}

impl TrainedArgs {
    /// Loads what the flags name, or what the run named when it began.
    ///
    /// # Errors
    /// As [`Trained::open`]; a checkpoint that is named nowhere.
    pub fn open(&self, stage: &Stage<'_>, device: &Device) -> anyhow::Result<Trained> {
        let path = stage.input("model", self.model.as_deref())?;
        let before = stage.earlier_input("data").map(|path| path.to_string_lossy().into_owned());
        Trained::open(&path, self.world.as_deref().or(before.as_deref()), &stage.config, device)
    }
}

impl Trained {
    /// Loads the checkpoint that `path` stands for.
    ///
    /// # Errors
    /// A folder that is no checkpoint; a checkpoint without a data card and no encoded data set for it; another data set
    /// than it was trained on; one that is not for this network.
    pub fn open(path: &Path, world: Option<&str>, config: &Config, device: &Device) -> anyhow::Result<Self> {
        let folder = checkpoint_folder(path)?;
        if let Some(set) = encoded_set(&folder, world, config)? {
            return Trained::on_encoded(folder, set, config, device);
        }
        let mut card = card(&folder)?;
        if let Some(world) = world {
            card.world = world.to_owned();
        }
        let checkpoint = Checkpoint::load(&folder, device)?;
        let setup = setup(&card, config, device)?;
        let card = DataCard::World(card);
        Ok(Trained { folder, checkpoint, card, setup, pipeline: None, clips: 0 })
    }

    fn on_encoded(folder: PathBuf, set: Encoded, config: &Config, device: &Device) -> anyhow::Result<Self> {
        let pipeline = Pipeline::of(&folder)?;
        if pipeline.as_ref().is_some_and(|pipeline| pipeline.has_experts() && pipeline.expert().is_none()) {
            let [high, low] = [TRANSFORMER, TRANSFORMER_2].map(|expert| folder.join(expert));
            let what = "has two experts, and a stage works on one of them: name";
            let (high, low) = (high.display(), low.display());
            let each = format!("`{high}` (for high noise levels) or `{low}` (for low ones)");
            return Err(BadInput(format!("checkpoint `{}` {what} {each}", folder.display())).into());
        }
        let checkpoint = Checkpoint::load_as(&folder, Keep::Stored, device)?;
        let misfit = |cause| DataError::Misfit { folder: set.folder().to_owned(), cause };
        fits(checkpoint.wan.config(), set.form()).map_err(misfit).map_err(crate::Error::from)?;
        let (card, clips) = (DataCard::Encoded(EncodedCard::of(&set)), set.len(Split::Training));
        let task = Task::encoded(device, Arc::new(set));
        let levels = pipeline.as_ref().map_or(Levels::ALL, Pipeline::levels);
        let setup = Setup { task, seed: config.run.seed, precision: config.run.precision.into(), levels };
        Ok(Trained { folder, checkpoint, card, setup, pipeline, clips })
    }

    /// Refuses a share of clips whose first frame is given, where the network does not know such. `key` is the share's.
    ///
    /// # Errors
    /// [`Usage`].
    pub fn check_first_frame(&self, key: &str, share: f64) -> anyhow::Result<()> {
        if !matches!(self.card, DataCard::Encoded(_)) || share == 0.0 {
            return Ok(());
        }
        let config = self.checkpoint.wan.config();
        // An index of a transformer alone says nothing of the pipeline that it is for.
        let one_time = |pipeline: &Pipeline| pipeline.index().parts.len() > 2 && !pipeline.index().expand_timesteps;
        let why = if config.in_channels > config.out_channels {
            "this network is given frames in channels beside the latents"
        } else if self.pipeline.as_ref().is_some_and(one_time) {
            "this network has one time for all frames (its model_index.json has no expand_timesteps)"
        } else if config.patch_size[0] != 1 {
            "a token of this network spans more than the given frame"
        } else {
            return Ok(());
        };
        Err(Usage(format!("{key} = {share}, but {why}: it must be 0, as in --preset wan")).into())
    }

    /// Its name, where it is one of a pair of experts.
    pub fn expert(&self) -> Option<&'static str> {
        self.pipeline.as_ref().and_then(Pipeline::expert)
    }

    /// What identifies checkpoint and data set.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn inputs(&self) -> anyhow::Result<BTreeMap<String, Input>> {
        let mut inputs = BTreeMap::from([("model".to_owned(), identify(&self.folder)?)]);
        if let DataCard::Encoded(card) = &self.card {
            let input = Input { path: card.folder.clone(), sha256: card.sha256.clone() };
            inputs.insert("data".to_owned(), input);
        }
        Ok(inputs)
    }
}

/// The encoded data set for a checkpoint: the one that is named, else the one that it was made with, else the
/// configuration's, if it is one.
fn encoded_set(folder: &Path, world: Option<&str>, config: &Config) -> anyhow::Result<Option<Encoded>> {
    if let Some(world) = world {
        let set = is_encoded(Path::new(world)).then(|| Encoded::open(Path::new(world)));
        return Ok(set.transpose().map_err(crate::Error::from)?);
    }
    if let Some(card) = EncodedCard::read(folder)? {
        let set = Encoded::open(&card.folder).map_err(crate::Error::from)?;
        if set.sha256() != card.sha256 {
            let (set, network) = (card.folder.display(), folder.display());
            let what =
                format!("data set `{set}` is not the one that `{network}` was made with; name it by --world to use it");
            return Err(BadInput(what).into());
        }
        return Ok(Some(set));
    }
    let configured = Path::new(&config.data.world);
    if Card::read(folder)?.is_none() && is_encoded(configured) {
        return Ok(Some(Encoded::open(configured).map_err(crate::Error::from)?));
    }
    Ok(None)
}

/// What the methods are given for a network with this card.
///
/// # Errors
/// A data set that is not there, or not the one that the card describes.
pub fn setup(card: &Card, config: &Config, device: &Device) -> anyhow::Result<Setup> {
    let world = open(&card.world)?;
    let data = DataConfig { world: card.world.clone(), text_seed: card.text_seed, words: card.words };
    if Card::new(world.as_ref(), &data, card.text_dim)? != *card {
        let differ = "its extents, scale or words differ";
        let what = format!("data set `{}` is not the one that the network was trained on: {differ}", card.world);
        return Err(BadInput(what).into());
    }
    let text = TextShape { words: card.words, dim: card.text_dim };
    let task = Task::new(device, Arc::from(world), card.text_seed, text)?;
    Ok(Setup { task, seed: config.run.seed, precision: config.run.precision.into(), levels: Levels::ALL })
}
