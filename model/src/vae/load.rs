//! Reading an autoencoder from a folder as diffusers lays it out.

use std::path::Path;

use flg_engine::files::read_json;
use flg_engine::safetensors::SafeTensors;
use flg_engine::{Device, ParamStore};

use super::source::Source;
use super::{Decoder, Encoder, Vae, VaeConfig};
use crate::checkpoint::CONFIG;
use crate::{Error, Result};

/// Reads an autoencoder, from a folder that holds its sizes and weights (one file or shards); f32 whatever is stored.
///
/// # Errors
/// A folder that is not one of an autoencoder; a configuration that is not supported; [`Error::Parameters`] with every
/// missing, extra and misshapen tensor. Errors name the file.
pub fn load_vae(folder: impl AsRef<Path>, device: &Device) -> Result<(Vae, ParamStore)> {
    let (config, file) = open(folder.as_ref())?;
    let source = Source::File { file: &file, device };
    let mut weights = ParamStore::new(device);
    for parameter in config.parameters() {
        let value = source.get(&parameter.name)?;
        weights.insert(parameter.name, value)?;
    }
    Ok((Vae::bind(config, &weights)?, weights))
}

/// Reads the decoder only, a tensor at a time: the memory of [`load_vae`] and [`Vae::decoder`] is never needed.
///
/// # Errors
/// As [`load_vae`], also about the encoder's tensors.
pub fn load_decoder(folder: impl AsRef<Path>, device: &Device) -> Result<Decoder> {
    let (config, file) = open(folder.as_ref())?;
    Decoder::new(&config, &Source::File { file: &file, device })
}

/// Reads the encoder only, as [`load_decoder`].
///
/// # Errors
/// As there.
pub fn load_encoder(folder: impl AsRef<Path>, device: &Device) -> Result<Encoder> {
    let (config, file) = open(folder.as_ref())?;
    Encoder::new(&config, &Source::File { file: &file, device })
}

fn open(folder: &Path) -> Result<(VaeConfig, SafeTensors)> {
    let path = folder.join(CONFIG);
    let config = VaeConfig::from_value(read_json(&path)?).map_err(|error| error.in_file(path))?;
    let file = SafeTensors::open_folder(folder)?;
    let mismatch = config.mismatch(file.names().filter_map(|name| Some((name, file.info(name)?.shape))));
    if !mismatch.is_empty() {
        return Err(Error::Parameters(mismatch).in_file(folder));
    }
    Ok((config, file))
}

impl VaeConfig {
    /// Reads the sizes of the autoencoder in a folder.
    ///
    /// # Errors
    /// A configuration that is not there, or not supported. Names the file.
    pub fn read(folder: impl AsRef<Path>) -> Result<VaeConfig> {
        let path = folder.as_ref().join(CONFIG);
        VaeConfig::from_value(read_json(&path)?).map_err(|error| error.in_file(path))
    }
}
