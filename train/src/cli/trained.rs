//! The network that a stage starts from, with the data that it was trained on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flg_engine::Device;

use super::exit::BadInput;
use super::input::{Checkpoint, card, checkpoint_folder};
use crate::config::{Config, DataConfig};
use crate::data::{Card, TextShape, open};
use crate::methods::Setup;
use crate::task::Task;

/// Flags that name it.
#[derive(Debug, clap::Args)]
pub struct TrainedArgs {
    /// The checkpoint to start from, or the run that made it
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Where its data set is now [default: where it was in training]
    #[arg(long, value_name = "NAME|DIR")]
    pub world: Option<String>,
}

/// A checkpoint and its task.
#[derive(Debug)]
pub struct Trained {
    /// Its folder.
    pub folder: PathBuf,
    /// The network.
    pub checkpoint: Checkpoint,
    /// What it knows of its data.
    pub card: Card,
    /// What methods are given.
    pub setup: Setup,
}

impl Trained {
    /// Loads the checkpoint that `path` stands for.
    ///
    /// # Errors
    /// A folder that is no checkpoint; a checkpoint without a data card; another data set than it was trained on.
    pub fn open(path: &Path, world: Option<&str>, config: &Config, device: &Device) -> anyhow::Result<Self> {
        let folder = checkpoint_folder(path)?;
        let mut card = card(&folder)?;
        if let Some(world) = world {
            card.world = world.to_owned();
        }
        let checkpoint = Checkpoint::load(&folder, device)?;
        let setup = setup(&card, config, device)?;
        Ok(Trained { folder, checkpoint, card, setup })
    }
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
    Ok(Setup { task, seed: config.run.seed, precision: config.run.precision.into() })
}
