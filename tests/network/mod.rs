//! A network for tests of the program: made in an instant, and run in no more.

use std::path::{Path, PathBuf};

use flg_engine::{Device, Key, ParamStore};
use flg_model::checkpoint::{self, Parts};
use flg_model::{FewStep, Wan, WanConfig};
use flg_train::config::DataConfig;
use flg_train::data::{Card, preset};

/// An untrained network of the digits world in a folder of `dir`: `teacher`, or `student` where it takes few steps.
pub fn network(few_step: Option<&FewStep>, dir: &Path) -> PathBuf {
    let config = WanConfig {
        patch_size: [1, 4, 4],
        num_attention_heads: 2,
        attention_head_dim: 6,
        in_channels: 1,
        out_channels: 1,
        text_dim: 8,
        freq_dim: 16,
        ffn_dim: 16,
        num_layers: 2,
        ..WanConfig::default()
    };
    let mut weights = ParamStore::new(&Device::cpu());
    Wan::init(config.clone(), &mut weights, Key::new(1)).unwrap();
    let folder = dir.join(if few_step.is_some() { "student" } else { "teacher" });
    checkpoint::save(
        &folder,
        &Parts { config: &config, weights: &weights, shift: Some(5.0), few_step, provenance: None, expert: None },
    )
    .unwrap();
    let world = preset("digits").unwrap();
    Card::new(world.as_ref(), &DataConfig::default(), config.text_dim).unwrap().write(&folder).unwrap();
    folder
}
