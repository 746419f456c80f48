//! A smaller network from the blocks of a larger one.

use flg_engine::ParamStore;

use crate::config::WanConfig;
use crate::error::Mismatch;
use crate::{BlockMask, Error, Result};

/// The network that a mask leaves: the kept blocks, renumbered, and everything that is no block. Its forward pass equals
/// the masked one bit for bit. Tensors are shared until one side writes to them.
///
/// # Errors
/// A mask for another number of blocks; [`Error::Parameters`] for weights of another network.
pub fn extract(config: &WanConfig, weights: &ParamStore, mask: &BlockMask) -> Result<(WanConfig, ParamStore)> {
    if mask.layers() != config.num_layers {
        return Err(Error::BlockMask { got: mask.layers(), layers: config.num_layers });
    }
    let mismatch = config.mismatch(weights.iter().map(|(_, name, value)| (name, value.shape())));
    if mismatch != Mismatch::default() {
        return Err(Error::Parameters(mismatch));
    }
    let kept = mask.kept();
    let small = WanConfig { num_layers: kept.len(), ..config.clone() };
    let mut store = ParamStore::new(weights.device());
    for parameter in small.parameters() {
        let source = source_name(&parameter.name, &kept);
        let value = weights.get(weights.id(&source)?).clone();
        store.insert(parameter.name, value)?;
    }
    Ok((small, store))
}

/// The name that a tensor of the extracted network has in the larger one.
fn source_name(name: &str, kept: &[usize]) -> String {
    let renumbered = name.strip_prefix("blocks.").and_then(|rest| {
        let (index, rest) = rest.split_once('.')?;
        let block = kept.get(index.parse::<usize>().ok()?)?;
        Some(format!("blocks.{block}.{rest}"))
    });
    renumbered.unwrap_or_else(|| name.to_owned())
}
