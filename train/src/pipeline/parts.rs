//! The parts of a published checkpoint's folder, and what its files say of how to sample.

use std::path::{Path, PathBuf};

use flg_engine::Device;
use flg_engine::files::read_json;
use flg_model::FewStep;
use flg_model::checkpoint::{Checkpoint, INDEX, Keep, PipelineIndex, TRANSFORMER, TRANSFORMER_2};
use flg_model::clip::ImageEncoder;
use flg_model::sampler::Solver;
use flg_model::vae::VaeConfig;
use serde_json::Value;

use super::{Error, Variant};
use crate::Result;

/// A folder with a transformer and an autoencoder; the other parts may be missing.
#[derive(Clone, Debug)]
pub struct Parts {
    root: PathBuf,
    /// What kind of network it holds.
    pub variant: Variant,
    /// The schedule of a distilled network.
    pub few_step: Option<FewStep>,
    /// The shift to sample with, where the checkpoint says.
    pub shift: Option<f64>,
    /// The solver to sample with, where the checkpoint says.
    pub solver: Option<Solver>,
    experts: bool,
}

impl Parts {
    /// Whether a folder holds networks that work on the latents of an autoencoder.
    pub fn are_in(root: &Path) -> bool {
        root.join(INDEX).is_file() && root.join("vae").is_dir()
    }

    /// Reads the configurations of a folder, and the headers of its transformers. No weights are read.
    ///
    /// # Errors
    /// Parts that are missing, not supported, or do not belong together. Names the file.
    pub fn open(root: &Path) -> Result<Parts> {
        let index = PipelineIndex::read(root)?;
        let described = Checkpoint::load_as(root, Keep::Stored, &Device::dry())?;
        let config = described.wan.config().clone();
        let second = root.join(TRANSFORMER_2);
        let experts = index.boundary_ratio.is_some() && second.is_dir();
        if experts {
            check_pair(&described, &second)?;
        } else if index.boundary_ratio.is_some() {
            let reason = "model_index.json has a boundary between two experts, and the second is not there";
            return Err(Error::Part { path: second, reason }.into());
        }
        let vae = VaeConfig::read(root.join("vae"))?;
        if vae.z_dim != config.out_channels {
            let (what, other) = ("the number of latent channels", TRANSFORMER);
            let path = root.join("vae");
            return Err(Error::Apart { path, what, got: vae.z_dim, other, expected: config.out_channels }.into());
        }
        let variant = Variant {
            pixels: vae.spatial_factor(),
            boundary: index.boundary_ratio.filter(|_| experts),
            time_per_token: index.expand_timesteps,
            config,
        };
        let shift = described.shift.map(f64::from);
        let parts =
            Parts { root: root.to_owned(), variant, few_step: described.few_step, shift, solver: None, experts };
        Ok(Parts { solver: parts.read_solver()?, ..parts })
    }

    /// The folders of the networks, the one for high noise first.
    pub fn networks(&self) -> Vec<PathBuf> {
        let second = self.experts.then(|| self.root.join(TRANSFORMER_2));
        [self.root.join(TRANSFORMER)].into_iter().chain(second).collect()
    }

    /// The folder of the autoencoder.
    pub fn vae(&self) -> PathBuf {
        self.root.join("vae")
    }

    /// The folders of the text encoder and its tokenizer.
    ///
    /// # Errors
    /// One that is not there.
    pub fn text(&self) -> Result<[PathBuf; 2]> {
        Ok([self.part("text_encoder", "a prompt needs it")?, self.part("tokenizer", "a prompt needs it")?])
    }

    /// The folder of the image encoder.
    ///
    /// # Errors
    /// It is not there.
    pub fn image_encoder(&self) -> Result<PathBuf> {
        self.part("image_encoder", "this network attends to an image")
    }

    /// Sizes of the autoencoder.
    ///
    /// # Errors
    /// A configuration that is not supported.
    pub fn read_vae(&self) -> Result<VaeConfig> {
        Ok(VaeConfig::read(self.vae())?)
    }

    /// The most bytes that encoding an image holds.
    ///
    /// # Errors
    /// An encoder that is not there or not supported.
    pub fn image_encoder_bytes(&self) -> Result<usize> {
        Ok(ImageEncoder::open(self.image_encoder()?)?.peak_bytes()?)
    }

    /// Rows of the embedding of an image.
    ///
    /// # Errors
    /// An encoder that is not there or not supported.
    pub fn image_rows(&self) -> Result<usize> {
        let encoder = ImageEncoder::open(self.image_encoder()?)?;
        let config = encoder.config();
        Ok((config.image_size / config.patch_size).pow(2) + 1)
    }

    fn part(&self, name: &str, reason: &'static str) -> Result<PathBuf> {
        let path = self.root.join(name);
        if path.is_dir() { Ok(path) } else { Err(Error::Part { path, reason }.into()) }
    }

    fn read_solver(&self) -> Result<Option<Solver>> {
        let path = self.root.join("scheduler/scheduler_config.json");
        if !path.is_file() {
            return Ok(None);
        }
        let config: Value = read_json(&path)?;
        Ok(match config["_class_name"].as_str() {
            Some("FlowMatchEulerDiscreteScheduler") => Some(Solver::DiffusersEuler),
            Some("UniPCMultistepScheduler") => {
                Some(Solver::UniPc { order: config["solver_order"].as_u64().unwrap_or(2) as usize })
            }
            _ => None,
        })
    }
}

/// Whether the second of two experts goes with the first: they may differ in depth, and nothing else.
fn check_pair(first: &Checkpoint, second: &Path) -> Result<()> {
    let other = Checkpoint::load_as(second, Keep::Stored, &Device::dry())?;
    let (mine, mut its) = (first.wan.config(), other.wan.config().clone());
    its.num_layers = mine.num_layers;
    if its != *mine {
        let reason = "its sizes, but for the number of blocks, must be those of transformer";
        return Err(Error::Part { path: second.to_owned(), reason }.into());
    }
    let reason = match (&first.few_step, &other.few_step) {
        (a, b) if a == b => return Ok(()),
        (Some(_), None) => "the expert for high noise was distilled, and this one was not: distill it as well",
        (None, Some(_)) => "this expert was distilled, and the one for high noise was not: distill that as well",
        _ => "the two experts were distilled for different schedules",
    };
    Err(Error::Part { path: second.to_owned(), reason }.into())
}
