//! The tensors of a CLIP vision encoder: transformers' names, shapes and first values.

use flg_engine::Shape;

use super::config::ClipConfig;
use crate::error::Mismatch;
use crate::parameters::mismatch;
use crate::wan::{Init, Parameter};

/// What names began with up to transformers 4; those of 5 begin behind it.
pub(super) const PREFIX: &str = "vision_model.";
/// A table of 0, 1, 2 and so on that old files hold.
const POSITION_IDS: &str = "embeddings.position_ids";

struct List(Vec<Parameter>);

impl List {
    fn add<const N: usize>(&mut self, name: String, shape: [usize; N], init: Init) {
        self.0.push(Parameter { name, shape: shape.into(), init });
    }

    fn linear(&mut self, name: &str, [out, width]: [usize; 2], init: Init) {
        self.add(format!("{name}.weight"), [out, width], init);
        self.add(format!("{name}.bias"), [out], Init::Zeros);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.add(format!("{name}.weight"), [width], Init::Ones);
        self.add(format!("{name}.bias"), [width], Init::Zeros);
    }
}

impl ClipConfig {
    /// Every tensor of the encoder, in a fixed order, with the names of transformers 5. First values are those of
    /// transformers' class.
    pub fn parameters(&self) -> Vec<Parameter> {
        let (d, ffn, patch) = (self.hidden_size, self.intermediate_size, self.patch_size);
        let root = (d as f64).sqrt().recip();
        // Of what is added to the residual stream, less the more blocks there are.
        let added = Init::Normal(root * (2.0 * self.num_hidden_layers as f64).sqrt().recip());
        let mut list = List(Vec::new());
        list.add("embeddings.class_embedding".to_owned(), [d], Init::Normal(root));
        let patches = [d, self.num_channels, patch, patch];
        list.add("embeddings.patch_embedding.weight".to_owned(), patches, Init::Normal(0.02));
        list.add("embeddings.position_embedding.weight".to_owned(), [self.tokens(), d], Init::Normal(0.02));
        list.norm("pre_layrnorm", d);
        for layer in 0..self.num_hidden_layers {
            let name = |rest: &str| format!("encoder.layers.{layer}.{rest}");
            for part in ["q_proj", "k_proj", "v_proj"] {
                list.linear(&name(&format!("self_attn.{part}")), [d, d], added);
            }
            list.linear(&name("self_attn.out_proj"), [d, d], Init::Normal(root));
            list.norm(&name("layer_norm1"), d);
            list.linear(&name("mlp.fc1"), [ffn, d], Init::Normal((2.0 * d as f64).sqrt().recip()));
            list.linear(&name("mlp.fc2"), [d, ffn], added);
            list.norm(&name("layer_norm2"), d);
        }
        list.norm("post_layernorm", d);
        list.0
    }

    /// Scalars in all parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.shape.elements()).sum()
    }

    /// How tensors of these names and shapes differ from those of this configuration. Names may have the prefix
    /// `vision_model.`, and `position_ids` is not extra.
    pub fn mismatch<'a>(&self, found: impl Iterator<Item = (&'a str, Shape)>) -> Mismatch {
        let found: Vec<_> = found.filter(|(name, _)| !name.ends_with(POSITION_IDS)).collect();
        let prefix = prefix(found.iter().map(|(name, _)| *name));
        let mut parameters = self.parameters();
        for parameter in &mut parameters {
            parameter.name.insert_str(0, prefix);
        }
        mismatch(&parameters, found.into_iter())
    }
}

/// What the names of a file begin with.
pub(super) fn prefix<'a>(mut names: impl Iterator<Item = &'a str>) -> &'static str {
    if names.any(|name| name.starts_with(PREFIX)) { PREFIX } else { "" }
}
