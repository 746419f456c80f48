//! The tensors of a Wan transformer: names, shapes and how a fresh network draws them. Loading, saving, counting,
//! initialising and extracting all read this one list.

use flg_engine::Shape;

use crate::config::WanConfig;

/// A tensor of the network.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// diffusers' tensor name.
    pub name: String,
    /// Its shape; linear weights are `[out, in]`.
    pub shape: Shape,
    /// What a fresh network holds.
    pub init: Init,
}

/// The first values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform within `sqrt(6 / (in + out))`; a convolution counts as the linear layer over its patch.
    XavierUniform,
    /// Normal with this deviation.
    Normal(f64),
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
}

struct List(Vec<Parameter>);

impl List {
    fn add<const N: usize>(&mut self, name: String, shape: [usize; N], init: Init) {
        self.0.push(Parameter { name, shape: shape.into(), init });
    }

    fn linear(&mut self, name: &str, out: usize, width: usize, init: Init) {
        self.add(format!("{name}.weight"), [out, width], init);
        self.add(format!("{name}.bias"), [out], Init::Zeros);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.add(format!("{name}.weight"), [width], Init::Ones);
        self.add(format!("{name}.bias"), [width], Init::Zeros);
    }

    fn image_embedder(&mut self, width: usize, d: usize, positions: Option<usize>) {
        let name = "condition_embedder.image_embedder";
        self.norm(&format!("{name}.norm1"), width);
        self.linear(&format!("{name}.ff.net.0.proj"), width, width, Init::XavierUniform);
        self.linear(&format!("{name}.ff.net.2"), d, width, Init::XavierUniform);
        self.norm(&format!("{name}.norm2"), d);
        if let Some(rows) = positions {
            self.add(format!("{name}.pos_embed"), [1, rows, width], Init::Zeros);
        }
    }

    fn block(&mut self, config: &WanConfig, index: usize) {
        let (d, ffn) = (config.inner_dim(), config.ffn_dim);
        let block = format!("blocks.{index}");
        self.add(format!("{block}.scale_shift_table"), [1, 6, d], Init::Normal((d as f64).sqrt().recip()));
        for attention in ["attn1", "attn2"] {
            for norm in ["norm_q", "norm_k"] {
                self.add(format!("{block}.{attention}.{norm}.weight"), [d], Init::Ones);
            }
            for projection in ["to_q", "to_k", "to_v", "to_out.0"] {
                self.linear(&format!("{block}.{attention}.{projection}"), d, d, Init::XavierUniform);
            }
        }
        if config.image_dim.is_some() {
            for projection in ["add_k_proj", "add_v_proj"] {
                self.linear(&format!("{block}.attn2.{projection}"), d, d, Init::XavierUniform);
            }
            self.add(format!("{block}.attn2.norm_added_k.weight"), [d], Init::Ones);
        }
        if config.cross_attn_norm {
            self.norm(&format!("{block}.norm2"), d);
        }
        self.linear(&format!("{block}.ffn.net.0.proj"), ffn, d, Init::XavierUniform);
        self.linear(&format!("{block}.ffn.net.2"), d, ffn, Init::XavierUniform);
    }
}

impl WanConfig {
    /// Every tensor of the network, in a fixed order.
    pub fn parameters(&self) -> Vec<Parameter> {
        let d = self.inner_dim();
        let [pt, ph, pw] = self.patch_size;
        let mut list = List(Vec::new());
        list.add("patch_embedding.weight".to_owned(), [d, self.in_channels, pt, ph, pw], Init::XavierUniform);
        list.add("patch_embedding.bias".to_owned(), [d], Init::Zeros);
        let time = Init::Normal(0.02);
        list.linear("condition_embedder.time_embedder.linear_1", d, self.freq_dim, time);
        list.linear("condition_embedder.time_embedder.linear_2", d, d, time);
        list.linear("condition_embedder.time_proj", 6 * d, d, Init::XavierUniform);
        list.linear("condition_embedder.text_embedder.linear_1", d, self.text_dim, Init::XavierUniform);
        list.linear("condition_embedder.text_embedder.linear_2", d, d, Init::XavierUniform);
        if let Some(width) = self.image_dim {
            list.image_embedder(width, d, self.pos_embed_seq_len);
        }
        for index in 0..self.num_layers {
            list.block(self, index);
        }
        list.add("scale_shift_table".to_owned(), [1, 2, d], Init::Normal((d as f64).sqrt().recip()));
        list.linear("proj_out", self.out_channels * self.patch_elements(), d, Init::Zeros);
        list.0
    }

    /// Scalars in all parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.shape.elements()).sum()
    }
}

/// Whether mixed precision reads a bf16 copy of this parameter. As diffusers, it keeps f32 for the time embedder, the
/// modulation tables and the layer norms.
pub fn reads_low_precision(name: &str) -> bool {
    const KEPT: [&str; 5] = ["time_embedder", "scale_shift_table", "norm1", "norm2", "norm3"];
    !name.split('.').any(|part| KEPT.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts of the published networks (12 x 128 wide with 30 blocks; 40 x 128 with 40 blocks).
    #[test]
    fn the_published_sizes_are_met() {
        let small = WanConfig { num_attention_heads: 12, ffn_dim: 8960, num_layers: 30, ..WanConfig::default() };
        assert_eq!((small.parameters().len(), small.parameter_count()), (825, 1_418_996_800));
        let large = WanConfig::default();
        assert_eq!((large.parameters().len(), large.parameter_count()), (1095, 14_288_491_584));
        let wide = WanConfig { num_attention_heads: 24, ffn_dim: 14336, num_layers: 30, ..WanConfig::default() };
        let wide = WanConfig { in_channels: 48, out_channels: 48, ..wide };
        assert_eq!((wide.parameters().len(), wide.parameter_count()), (825, 4_999_787_712));
        let image = WanConfig { image_dim: Some(1280), added_kv_proj_dim: Some(5120), in_channels: 36, ..large };
        assert_eq!((image.parameters().len(), image.parameter_count()), (1303, 16_394_878_784));
        let two = WanConfig { pos_embed_seq_len: Some(514), ..image };
        assert_eq!((two.parameters().len(), two.parameter_count()), (1304, 16_395_536_704));
    }

    #[test]
    fn mixed_precision_keeps_what_diffusers_keeps() {
        let kept = ["blocks.3.norm2.bias", "condition_embedder.time_embedder.linear_1.weight", "scale_shift_table"];
        assert!(kept.iter().all(|name| !reads_low_precision(name)));
        let low = ["blocks.3.attn1.norm_q.weight", "condition_embedder.time_proj.weight", "proj_out.bias"];
        assert!(low.iter().all(|name| reads_low_precision(name)));
    }
}
