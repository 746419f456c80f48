//! The tensors of a UMT5 encoder: transformers' names, shapes and first values.

use flg_engine::Shape;

use super::config::Umt5Config;
use crate::error::Mismatch;
use crate::parameters::mismatch;
use crate::wan::{Init, Parameter};

/// The embedding table.
pub(super) const TABLE: &str = "shared.weight";
/// The same table under its other name: a file may have either, or both.
pub(super) const TABLE_IN_ENCODER: &str = "encoder.embed_tokens.weight";
pub(super) const FINAL_NORM: &str = "encoder.final_layer_norm.weight";

impl Umt5Config {
    /// Every tensor of the encoder, in a fixed order. First values are those of transformers' class.
    pub fn parameters(&self) -> Vec<Parameter> {
        let (d, inner, ffn) = (self.d_model, self.inner_dim(), self.d_ff);
        let normal = |width: usize| Init::Normal((width as f64).sqrt().recip());
        let mut list = Vec::new();
        let mut add = |name: String, shape: &[usize], init: Init| {
            let shape = Shape::new(shape).unwrap_or_else(|_| unreachable!("no parameter has more than two dimensions"));
            list.push(Parameter { name, shape, init });
        };
        add(TABLE.to_owned(), &[self.vocab_size, d], Init::Normal(1.0));
        for block in 0..self.num_layers {
            let name = |rest: &str| format!("encoder.block.{block}.layer.{rest}.weight");
            add(name("0.layer_norm"), &[d], Init::Ones);
            // Queries are not divided by the root of a head's width: their weights are.
            add(name("0.SelfAttention.q"), &[inner, d], normal(d * self.d_kv));
            add(name("0.SelfAttention.k"), &[inner, d], normal(d));
            add(name("0.SelfAttention.v"), &[inner, d], normal(d));
            add(name("0.SelfAttention.o"), &[d, inner], normal(inner));
            let buckets = [self.relative_attention_num_buckets, self.num_heads];
            add(name("0.SelfAttention.relative_attention_bias"), &buckets, normal(d));
            add(name("1.layer_norm"), &[d], Init::Ones);
            add(name("1.DenseReluDense.wi_0"), &[ffn, d], normal(d));
            add(name("1.DenseReluDense.wi_1"), &[ffn, d], normal(d));
            add(name("1.DenseReluDense.wo"), &[d, ffn], normal(ffn));
        }
        add(FINAL_NORM.to_owned(), &[d], Init::Ones);
        list
    }

    /// Scalars in all parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.shape.elements()).sum()
    }

    /// How tensors of these names and shapes differ from those of this configuration. The embedding table may have either
    /// of its names, or both.
    pub fn mismatch<'a>(&self, found: impl Iterator<Item = (&'a str, Shape)>) -> Mismatch {
        let found: Vec<_> = found.collect();
        let shared = found.iter().any(|(name, _)| *name == TABLE);
        let mut parameters = self.parameters();
        for (name, _) in found.iter().filter(|(name, _)| *name == TABLE_IN_ENCODER) {
            match shared {
                true => parameters.push(Parameter { name: (*name).to_owned(), ..parameters[0].clone() }),
                false => parameters[0].name = (*name).to_owned(),
            }
        }
        mismatch(&parameters, found.into_iter())
    }
}
