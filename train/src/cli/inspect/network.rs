//! What kind of network lies somewhere: family, sizes, and the blocks that were taken out.

use std::path::Path;

use flg_model::arch::variant;
use flg_model::checkpoint::{PROVENANCE, Provenance, Sizes, StoredNetwork, TRANSFORMER_2};
use flg_model::{Architecture, Error, WanConfig};
use serde::Serialize;

/// A video transformer as its headers tell it.
#[derive(Serialize)]
pub(super) struct Network {
    /// The published architecture of these sizes, whatever the number of blocks.
    architecture: Option<&'static str>,
    variant: &'static str,
    layout: String,
    /// Whether the sizes are those of the tensors' shapes, for want of a configuration.
    inferred: bool,
    layers: usize,
    /// Blocks of the published architecture.
    published_layers: Option<usize>,
    parameters: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<Provenance>,
    /// Blocks of the network that was pruned first that this one has no more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<usize>,
    config: WanConfig,
}

/// What was found: a network, or what is wrong with one.
pub(super) enum Found {
    Network(Box<Network>),
    Problem(String),
    Other,
}

/// Looks at a folder or a single file, in a checkpoint's folder if there is one.
pub(super) fn look(path: &Path, root: Option<&Path>) -> Found {
    let stored = match StoredNetwork::open(path) {
        Ok(stored) => stored,
        Err(Error::InFile { source, .. }) => {
            return match *source {
                Error::Parameters(_) | Error::Config { .. } => Found::Problem(source.to_string()),
                // Weights of something else: a VAE, an encoder, tensors of any kind.
                _ => Found::Other,
            };
        }
        Err(_) => return Found::Other,
    };
    let config = stored.config();
    let experts = 1 + usize::from(root.is_some_and(|root| root.join(TRANSFORMER_2).is_dir()));
    let architecture = Architecture::of(config, experts);
    let provenance = match provenance(&stored, path, root) {
        Ok(provenance) => provenance,
        Err(error) => return Found::Problem(error.to_string()),
    };
    Found::Network(Box::new(Network {
        architecture: architecture.map(|architecture| architecture.name),
        variant: variant(config),
        layout: stored.layout().to_string(),
        inferred: stored.sizes() == Sizes::Inferred,
        layers: config.num_layers,
        published_layers: architecture.map(Architecture::layers),
        parameters: config.parameter_count(),
        removed: provenance.as_ref().map(Provenance::removed).unwrap_or_default(),
        provenance,
        config: config.clone(),
    }))
}

fn provenance(stored: &StoredNetwork, path: &Path, root: Option<&Path>) -> flg_model::Result<Option<Provenance>> {
    // An expert of a pair has notes of its own.
    match [Some(path), root].into_iter().flatten().map(|folder| folder.join(PROVENANCE)).find(|file| file.is_file()) {
        Some(file) => Provenance::read(&file, stored.config()).map(Some),
        None => Provenance::in_file(stored, path),
    }
}

impl Network {
    /// One or two lines for people.
    pub(super) fn lines(&self, name: &str) -> Vec<String> {
        let architecture = self.architecture.unwrap_or("Wan of no published size");
        let layers = match self.published_layers {
            Some(all) if all != self.layers => format!("{} of {all} blocks", self.layers),
            _ => format!("{} blocks", self.layers),
        };
        let WanConfig { num_attention_heads: heads, attention_head_dim: head, .. } = self.config;
        let told = if self.inferred { ", sizes inferred from shapes" } else { "" };
        let mut lines = vec![format!(
            "{name}: {architecture} ({}), {layers}, {heads} x {head} wide, {} parameters, {} names{told}",
            self.variant, self.parameters, self.layout
        )];
        if let Some(provenance) = &self.provenance {
            let list = self.removed.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            lines.push(format!("{name}: blocks removed of {}: {list}", provenance.parent_layers));
        }
        lines
    }
}
