//! Sizes of a network whose file has no `config.json`, from the shapes of its tensors.

use std::collections::BTreeMap;

use flg_engine::Shape;
use serde_json::Value;

use crate::{Error, Result, WanConfig};

/// Width of a head in every published network. Shapes cannot tell: the norms of queries and keys span all heads.
const HEAD: usize = 128;

/// What no shape tells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    heads: Option<usize>,
    eps: Option<f64>,
}

impl Told {
    /// From the `config.json` of the authors' own code, class `WanModel`.
    pub(super) fn by_authors(config: &Value) -> Told {
        let heads = config["num_heads"].as_u64().and_then(|heads| usize::try_from(heads).ok());
        Told { heads, eps: config["eps"].as_f64() }
    }
}

/// The sizes that give tensors of these shapes, by diffusers' names. They are guesses where tensors are missing or
/// misshapen; comparing all tensors with them then says so.
///
/// # Errors
/// [`Error::NoSizes`] where a telling tensor is not there; what [`WanConfig::validate`] refuses.
pub(super) fn config(shapes: &BTreeMap<String, Shape>, told: Told) -> Result<WanConfig> {
    let extent = |name: &str, dim: usize| shapes.get(name).and_then(|shape| shape.dims().get(dim)).copied();
    let need = |tensor: &'static str, dim| extent(tensor, dim).ok_or(Error::NoSizes { tensor });
    const PATCH: &str = "patch_embedding.weight";
    let width = need(PATCH, 0)?;
    let patch_size = [need(PATCH, 2)?, need(PATCH, 3)?, need(PATCH, 4)?];
    let patch = patch_size.iter().fold(1usize, |n, &extent| n.saturating_mul(extent)).max(1);
    let heads = told.heads.unwrap_or(width / HEAD);
    if heads == 0 || !width.is_multiple_of(heads) || (told.heads.is_none() && !width.is_multiple_of(HEAD)) {
        let value = format!("{heads} for a width of {width}");
        let reason = "heads are taken to be 128 wide, as in every published network, where the file does not say more";
        return Err(Error::Config { key: "num_attention_heads", value, reason });
    }
    let defaults = WanConfig::default();
    let config = WanConfig {
        patch_size,
        num_attention_heads: heads,
        attention_head_dim: width / heads,
        in_channels: need(PATCH, 1)?,
        out_channels: need("proj_out.weight", 0)? / patch,
        text_dim: need("condition_embedder.text_embedder.linear_1.weight", 1)?,
        freq_dim: need("condition_embedder.time_embedder.linear_1.weight", 1)?,
        ffn_dim: need("blocks.0.ffn.net.0.proj.weight", 0)?,
        num_layers: layers(shapes),
        cross_attn_norm: extent("blocks.0.norm2.weight", 0).is_some(),
        image_dim: extent("condition_embedder.image_embedder.norm1.weight", 0),
        added_kv_proj_dim: extent("blocks.0.attn2.add_k_proj.weight", 1),
        pos_embed_seq_len: extent("condition_embedder.image_embedder.pos_embed", 1),
        eps: told.eps.unwrap_or(defaults.eps),
        ..defaults
    };
    config.validate()?;
    Ok(config)
}

fn layers(shapes: &BTreeMap<String, Shape>) -> usize {
    let index = |name: &String| name.strip_prefix("blocks.")?.split_once('.')?.0.parse::<usize>().ok();
    shapes.keys().filter_map(index).max().map_or(0, |last| last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(config: &WanConfig) -> BTreeMap<String, Shape> {
        config.parameters().into_iter().map(|parameter| (parameter.name, parameter.shape)).collect()
    }

    #[test]
    fn shapes_tell_every_size_of_a_published_network() {
        let base = WanConfig { num_attention_heads: 12, ffn_dim: 8960, num_layers: 30, ..WanConfig::default() };
        let wide = WanConfig { in_channels: 48, out_channels: 48, ..base.clone() };
        let bare = WanConfig { cross_attn_norm: false, patch_size: [2, 1, 3], in_channels: 36, ..base.clone() };
        for config in [base, wide, bare, WanConfig::default()] {
            assert_eq!(super::config(&shapes(&config), Told::default()).unwrap(), config);
        }
    }

    #[test]
    fn what_no_shape_tells_is_asked_for() {
        let narrow = WanConfig { num_attention_heads: 3, attention_head_dim: 20, ..WanConfig::default() };
        let mut found = shapes(&narrow);
        let error = config(&found, Told::default()).unwrap_err().to_string();
        assert!(error.contains("num_attention_heads = 0 for a width of 60"), "{error}");
        let told = Told::by_authors(&serde_json::json!({"num_heads": 3, "eps": 1e-5}));
        assert_eq!(config(&found, told).unwrap(), WanConfig { eps: 1e-5, ..narrow });
        let told = Told::by_authors(&serde_json::json!({"num_heads": 7}));
        assert!(config(&found, told).is_err());
        found.remove("proj_out.weight");
        let error = config(&found, Told { heads: Some(3), eps: None }).unwrap_err().to_string();
        assert!(error.contains("proj_out.weight"), "{error}");
    }
}
